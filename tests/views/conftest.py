"""Slices of every sample, for the laws that all views keep."""

import pytest

from tests.support.samples import VARIANTS, Run, fed, patch_constants

CASES = [(name, seed) for name in VARIANTS for seed in range(2)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} {case[1]}".replace(" ", "-"))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Return the name of a sample, whose constants are patched, and a seed."""
    patch_constants(request.param[0], monkeypatch)
    return request.param


@pytest.fixture
def run(case: tuple[str, int]) -> Run:
    """Return a view after a random stream, with its slices."""
    return fed(*case)
