"""What a shard knew, and when: its earlier watermarks. Parts of answers have them, because they are made at several moments."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any

from actors.cluster.messages import Consult, Known
from actors.manager import Manager as StreamManager
from actors.messages import Grown, Loaded
from actors.replies import Query

_STEP_S = 0.02
_MOST = 512
_AGES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2, 6.4)


class Past:
    """The watermarks of the last ten seconds or more, each with the time by which it was known. Not thread-safe.

    >>> past = Past()
    >>> past.note(10, 100.0)
    >>> past.note(20, 101.0)
    >>> past.note(30, 101.5)
    >>> past.at(101.6)
    ((101.5, 30), (101.0, 20), (100.0, 10))
    """

    def __init__(self) -> None:
        self._before: deque[tuple[float, int]] = deque(maxlen=_MOST)
        self._newest: tuple[float, int] | None = None

    def note(self, watermark: int | None, now: float) -> None:
        """Note the present watermark. Cost: O(1)."""
        newest = self._newest
        if newest is not None and newest[1] == watermark:
            return
        if watermark is None or newest is None or watermark < newest[1]:  # what was thought before does not hold
            self._before.clear()
        elif not self._before or newest[0] - self._before[-1][0] >= _STEP_S:
            self._before.append(newest)
        self._newest = None if watermark is None else (now, watermark)

    def at(self, now: float) -> tuple[tuple[float, int], ...]:
        """Return the present watermark, and some earlier ones, the newest first: dense for the last moments, sparse before.

        Cost: O(noted), at most some microseconds.
        """
        if self._newest is None:
            return ()
        known = [*self._before, self._newest]
        places = [len(known) - 1, *(bisect_right(known, now - age_s, key=lambda each: each[0]) - 1 for age_s in _AGES_S)]
        return tuple(known[place] for place in dict.fromkeys(places) if place >= 0)


class Manager(StreamManager):
    """The manager of a shard: that of a stream, which also knows its earlier watermarks. Metrics know both by one name."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._past = Past()

    def _begin_round(self, loaded: Loaded) -> None:
        self._past = Past()
        super()._begin_round(loaded)
        self._past.note(self._watermark, self.system.dispatcher.now())

    def _grown(self, message: Grown) -> None:
        super()._grown(message)
        self._past.note(self._watermark, self.system.dispatcher.now())

    def _ask(self, query: Query, partials: Sequence[Any] = (), *, publishes: bool = False) -> None:
        if isinstance(query, Consult):
            past = self._past.at(self.system.dispatcher.now())
            query.known(Known(self._progress, len(self._ledger.missing), past))
        super()._ask(query, partials, publishes=publishes)
