"""A stream of real actors over a list of records, without a broker."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from actors.replies import Answer, Query, Stats
from actors.sources.polled import Gap, Place, Polled
from actors.timeline.span import EVER
from gateway.api.formats import write
from tests.support.polled import polled
from tests.support.running import Stream, placed, stream
from tests.support.waiting import until


class ListedSource:
    """Reads `values`, a list that may grow, as the one partition of a topic that always exists."""

    finished = False
    endless = True

    def __init__(self, values: list[bytes]) -> None:
        self._values = values
        self._next = 0

    def open(self, place: Place) -> bool:
        assert place.identity in {None, "listed"}
        assert not place.epoch
        self._next = place.offsets.get(0, 0)
        return True

    def extend(self) -> bool:
        return True

    def poll(self, count: int, timeout_s: float) -> Polled:
        values = self._values[self._next : self._next + count]
        poll = polled(values, first=self._next)
        self._next += len(values)
        return poll

    def rest(self, timeout_s: float) -> None:
        pass

    def trouble(self) -> None:
        return None

    def gaps(self) -> list[Gap]:
        return []

    def only(self, partition: int | None) -> None:
        pass

    def place(self) -> Place:
        return Place({0: self._next}, "listed")

    def lag(self) -> dict[int, int]:
        return {0: len(self._values) - self._next}

    def commit(self) -> None:
        pass

    def close(self) -> None:
        pass


class Listed:
    """A running stream over a list."""

    def __init__(self, running: Stream, values: list[bytes]) -> None:
        self.running = running
        self.values = values

    def settled(self) -> Stats:
        """Return the stats once all records of the list are in their slices."""

        def look() -> Stats | None:
            stats = self.running.stats()
            here = not stats.starting and stats.progress.records == len(self.values)
            quiet = here and not stats.progress.buffered and not stats.progress.in_flight
            return stats if quiet and placed(stats) == stats.progress.events else None

        return until(look)

    def saved(self) -> None:
        """Wait until a checkpoint has been saved, or until the stream has started from one."""
        until(lambda: (found := self.running.stats().durability) and (found.saved or found.recovered_from))

    def answer(self, arguments: Any) -> Answer:
        """Return the answer to a query over all time."""
        return self.running.ask(self.running.running.manager, lambda reply_to: Query(EVER, arguments, 10.0, reply_to))

    def shown(self, arguments: Any) -> str:
        """Return an answer as JSON."""
        found = self.answer(arguments)
        return b"".join(write(found, "json")).decode()


def over(values: list[bytes], **how: Any) -> AbstractContextManager[Stream]:
    """Run a stream over `values`, a list that may grow. `how` are the parameters of `stream`."""
    return stream("", "listed", source=lambda *_, **__: ListedSource(values), **how)


@contextmanager
def listed(view: Any, values: list[bytes], *, folder: Path | None = None, **how: Any) -> Iterator[Listed]:
    """Run a stream of `view` over `values`. It is drained and saved at the end."""
    with over(values, view=view, folder=folder, **how) as running:
        yield Listed(running, values)
