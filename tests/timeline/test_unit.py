"""The unit of times: the first plausible time decides, however the times come in parts, and no other time changes it."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX
from actors.timeline.unit import UNITS, TimeUnit, Unit, plausible, unit_of

INT64 = st.integers(-(2**63), INT64_MAX)
PLAUSIBLE = st.sampled_from(sorted(UNITS)).flatmap(lambda unit: st.integers(plausible(unit).start, plausible(unit).stop - 1))
TIMES = st.lists(st.one_of(st.integers(0, 10**6), INT64, PLAUSIBLE), max_size=30)


def begun(given_unit: str | None = None) -> TimeUnit:
    unit = TimeUnit(given_unit)
    unit.begin(None, ())
    return unit


def column(times: list[int]) -> Any:
    return np.array(times, np.int64)


def read(unit: TimeUnit, times: list[int]) -> list[int]:
    """Offer a part of the times. Return the accepted ones."""
    place = unit.deciding(column(times))
    if place is not None:
        unit.decide(times[place], "here")
    strange = unit.strange(column(times))
    return times if strange is None else [time for time, other in zip(times, strange.tolist(), strict=True) if not other]


def test_no_time_is_plausible_in_two_units():
    spans = sorted((plausible(unit) for unit in UNITS), key=lambda span: span.start)
    assert all(earlier.stop <= later.start for earlier, later in pairwise(spans))


@given(TIMES, st.lists(st.integers(0, 30), max_size=5))
def test_the_first_plausible_time_decides_in_any_parts(times: list[int], cuts: list[int]):
    wanted = next((found for found in map(unit_of, times) if found is not None), None)
    whole, parts = begun(), begun()
    accepted = read(whole, times)
    bounds = [0, *sorted(min(cut, len(times)) for cut in cuts), len(times)]
    assert [time for low, high in pairwise(bounds) for time in read(parts, times[low:high])] == accepted
    assert parts.now == whole.now
    assert (whole.name, whole.now.basis) == ((wanted, "decided") if wanted else ("ms", "assumed"))
    assert accepted == [time for time in times if unit_of(time) in {None, wanted}]


@given(TIMES, st.sampled_from(sorted(UNITS)))
def test_a_given_unit_is_never_changed_and_refuses_no_time(times: list[int], name: str):
    unit = begun(name)
    assert read(unit, times) == times
    assert unit.now == Unit(name, "given")


@given(TIMES)
def test_a_unit_that_is_not_strict_refuses_no_time(times: list[int]):
    unit, strict = TimeUnit(None, strict=False), begun()
    unit.begin(None, ())
    read(strict, times)
    assert (read(unit, times), unit.now) == (times, strict.now)


@given(TIMES, st.integers(0, 30))
def test_a_restart_changes_nothing(times: list[int], cut: int):
    whole, before, after = begun(), begun(), TimeUnit(None)
    wanted = read(whole, times)
    accepted = read(before, times[:cut])
    after.begin(before.state(), ())
    assert accepted + read(after, times[cut:]) == wanted
    assert after.now == whole.now


@pytest.mark.parametrize("state", [None, Unit("ms", "given")._asdict(), Unit("ms", "assumed")._asdict()])
def test_a_checkpoint_without_a_decision_is_decided_by_its_newest_times(state: Any):
    unit = TimeUnit(None)
    unit.begin(state, [column([]), column([7, 1_685_695_916])])
    assert (unit.name, unit.now.basis) == ("s", "decided")
    unit.begin(state, [column([7])])
    assert unit.now == Unit("ms", "assumed")


def test_lengths_of_the_settings_are_converted():
    unit = begun()
    assert [unit.scaled(value) for value in (500, 3_600_000)] == [500, 3_600_000]
    for time, wanted in ((1_685_695_916, [1, 3_600]), (1_685_695_916_000_000, [500_000, 3_600_000_000])):
        unit = begun()
        unit.decide(time, "here")
        assert [unit.scaled(value) for value in (500, 3_600_000)] == wanted


def test_no_age_is_too_old_before_the_unit_of_the_checkpoint_is_looked_up():
    unit = TimeUnit(None)
    assert unit.age(3_600_000) is None
    unit.begin(Unit("us", "decided", "why")._asdict(), ())
    assert (unit.age(3_600_000), unit.age(None)) == (3_600_000_000, None)


def test_a_decision_is_reported_once():
    unit, told = TimeUnit(None), []
    unit.on_decided = told.append
    for _ in range(2):  # a failure, and the same records again
        unit.begin(None, ())
        read(unit, [5, 1_685_695_916, 1_685_695_917])
    (only,) = told
    assert only.because == "1685695916, the first plausible time, is 2023-06-02T08:51:56Z in seconds (here)"
