"""A real broker with rights for a test, which is skipped without Java."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from scripts.brokers import guarded
from scripts.brokers.guarded import PASSWORD, USER, Guarded
from tests.support.java import need_java

__all__ = ["PASSWORD", "USER", "Guarded", "guarded_broker"]


@contextmanager
def guarded_broker(settings: Mapping[str, object], listeners: Mapping[str, int]) -> Iterator[Guarded]:
    """Run the broker of `scripts/brokers/guarded.py`. Skips the test, or fails it, as `need_java` does."""
    need_java()
    with guarded.guarded_broker(settings, listeners) as broker:
        yield broker
