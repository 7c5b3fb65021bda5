"""A real schema registry, and the reader of Kafka that the tests take.

With FIRNLINE_TEST_READER=messages the tests of Kafka read Message objects, as on a machine where columns are not proven."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from actors.sources.kafka.source import KafkaSource
from scripts.brokers.registry import real_registry
from scripts.checkout import ROOT


@pytest.fixture(autouse=True, scope="session")
def chosen_reader() -> Iterator[None]:
    """Make the reader of FIRNLINE_TEST_READER the default of sources and of services."""
    with pytest.MonkeyPatch.context() as patched:
        if how := os.environ.get("FIRNLINE_TEST_READER"):
            patched.setitem(KafkaSource.__init__.__kwdefaults__ or {}, "how", how)
            patched.setenv("FIRNLINE_KAFKA__READER", how)
        yield


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """Yield the URL of a real registry: FIRNLINE_TEST_REGISTRY, or one that is started here.

    If none can be had, the test is skipped, unless a registry is required.
    """
    if given := os.environ.get("FIRNLINE_TEST_REGISTRY"):
        yield given
        return
    with ExitStack() as around:
        try:
            url = around.enter_context(real_registry(ROOT / ".firnline" / "registry"))
        except OSError as error:
            assert not os.environ.get("FIRNLINE_REQUIRE_REGISTRY"), error
            pytest.skip(str(error))
        yield url
