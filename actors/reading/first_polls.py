"""The first polls of a stream whose events decide the unit of their times: they wait until every partition has shown a time.

So the order in which a client gets the partitions decides nothing. The front end owns it. Reads no clock and sends no message.
"""

from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from actors.sources.polled import Place, Polled
from actors.timeline.unit import TimeUnit, first_plausible
from actors.views.view import View

_MOST_BYTES = 8 << 20
"""Bytes of values at which no further poll waits. Of a backlog of sets, that is half a million records."""

_LOOKED_AT = 1_000
"""Events of each partition among which a plausible time is searched."""


class First(NamedTuple):
    """The first plausible time of a partition. The earliest timestamp in Kafka (ms) decides, then the lowest partition."""

    timestamp: int
    partition: int
    offset: int
    time: int


class FirstPolls:
    """Polls that wait, with the place after each. Without a unit to be decided, or with one partition, no poll waits.

    `fresh`: no record of the stream was read before. `decide` gets the time that decides, and where it was found.
    """

    def __init__(self, view: View, unit: TimeUnit, decide: Callable[[int, str], None], *, fresh: bool) -> None:
        self._view = view
        self._decide = decide
        self.open = fresh and unit.now.basis == "assumed"
        """Whether polls wait."""
        self._waiting: list[tuple[Polled, Place]] = []
        self._nbytes = 0
        self._firsts: dict[int, First] = {}
        self._silent: set[int] = set()
        self._looked_at: Counter[int] = Counter()

    @property
    def empty(self) -> bool:
        """Whether no poll waits now."""
        return not self._waiting

    def offer(self, polled: Polled, place: Place, partitions: Collection[int], *, at_once: bool) -> list[tuple[Polled, Place]]:
        """Return the polls to take in now, in order: all if every one of the `partitions` has shown a time or its end.

        A partition whose first 1,000 events have no plausible time has no say. `at_once`: a partition cannot be read, so no
        poll may wait for it.
        """
        self._waiting.append((polled, place))
        if not self.open or len(partitions) == 1:
            return self.end()
        self._nbytes += polled.values.nbytes
        at_once = at_once or self._nbytes > _MOST_BYTES or not self._look(polled)
        unknown = {*partitions} - self._firsts.keys() - self._silent - polled.held.keys()
        if at_once or not unknown:
            return self.end()
        self._waiting[-1] = polled.kept(), place
        return []

    def end(self) -> list[tuple[Polled, Place]]:
        """Decide by the plausible times so far, if there are any. Returns the polls that wait; no poll waits from now on."""
        if self.open and self._firsts:
            first = min(self._firsts.values())
            self._decide(first.time, f"partition {first.partition}, offset {first.offset}")
        self.open = False
        waiting, self._waiting = self._waiting, []
        return waiting

    def _look(self, polled: Polled) -> bool:
        """Search the first plausible time of each partition. Returns False if the poll cannot be decoded."""
        try:
            decoded = self._view.decode(polled)
        except Exception:  # noqa: BLE001  # the intake meets the same error, and handles it
            return False
        events = np.arange(len(polled.values)) if decoded.accepted is None else np.flatnonzero(decoded.accepted)
        partitions = polled.partitions[events]
        for number in {*np.unique(partitions).tolist()} - self._firsts.keys():
            own = np.flatnonzero(partitions == number)[: _LOOKED_AT - self._looked_at[number]]
            place = first_plausible(decoded.times[own])
            if place is not None:
                record = int(events[own[place]])
                where = int(polled.timestamps()[record]), number, int(polled.offsets()[record])
                self._firsts[number] = First(*where, int(decoded.times[own[place]]))
            self._looked_at[number] += own.size
            if self._looked_at[number] == _LOOKED_AT:
                self._silent.add(number)
        self._silent |= polled.ended
        return True
