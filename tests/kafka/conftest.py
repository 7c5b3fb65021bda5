"""With FIRNLINE_TEST_READER=messages the tests of Kafka read Message objects, as on a machine where columns are not proven."""

import os
from collections.abc import Iterator

import pytest

from actors.sources.kafka.source import KafkaSource


@pytest.fixture(autouse=True, scope="session")
def chosen_reader() -> Iterator[None]:
    """Make the reader of FIRNLINE_TEST_READER the default of sources and of services."""
    with pytest.MonkeyPatch.context() as patched:
        if how := os.environ.get("FIRNLINE_TEST_READER"):
            patched.setitem(KafkaSource.__init__.__kwdefaults__ or {}, "how", how)
            patched.setenv("FIRNLINE_KAFKA__READER", how)
        yield
