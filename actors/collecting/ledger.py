"""The manager's counts of events and records that were dropped, lost or never arrived, with their times.

Coverage is computed from them. They are part of a checkpoint.
"""

from collections import Counter, deque
from functools import reduce
from typing import Any

from actors.columns.snapshot import State
from actors.messages import EventsLost, RecordsMissing
from actors.replies import Pruned
from actors.timeline.span import EVER, Span
from actors.views.view import Meta, View

_MOST_MISSING = 100
"""Spans that are listed one by one. Further spans are reported as one, and merged as soon as their ends are final."""

_MOST_PRUNED = 64
"""Dropped generations that are listed one by one."""


class Ledger:
    """The dropped data of one stream. The dropped events and the events in the slices add up to all events."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.gone: Any = view.nothing()
        self.dropped: Counter[str] = Counter()
        self.generations: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.complete_from: int | None = None
        self._pruned: deque[Pruned] = deque(maxlen=_MOST_PRUNED)
        self._missing: dict[str, tuple[str, Span, int]] = {}

    @property
    def missing(self) -> tuple[Span, ...]:
        """The spans of time for which answers may lack events, unordered."""
        spans = list(dict.fromkeys(span for _, span, _ in self._missing.values()))
        few, rest = spans[: _MOST_MISSING - 1], spans[_MOST_MISSING - 1 :]
        return (*few, reduce(Span.hull, rest)) if rest else tuple(few)

    @property
    def pruned(self) -> tuple[Pruned, ...]:
        """The newest dropped generations, newest first."""
        return tuple(reversed(self._pruned))

    def counted(self) -> dict[str, int]:
        """Return the counts by name and reason, such as `dropped memory`."""
        counts = {"dropped": self.dropped, "generations": self.generations, "missed": self.missed}
        return {f"{name} {reason}": count for name, counter in counts.items() for reason, count in counter.items()}

    def state(self) -> State:
        """Return the state for `restore`."""
        return {
            "gone": self.gone.state(),
            "dropped": dict(self.dropped),
            "generations": dict(self.generations),
            "missed": dict(self.missed),
            "complete_from": self.complete_from,
            "missing": {key: (reason, span.start, span.end, count) for key, (reason, span, count) in self._missing.items()},
            "pruned": [_row(each) for each in self._pruned],
        }

    def restore(self, state: State) -> None:
        """Replace all counts by those in `state`. Raises as `View.revive` does."""
        self.gone = self._view.summary(state["gone"])
        self.dropped, self.generations = Counter(state["dropped"]), Counter(state["generations"])
        self.missed = Counter(state["missed"])
        self.complete_from = state["complete_from"]
        self._missing = {
            key: (reason, Span(start, end), count) for key, (reason, start, end, count) in state["missing"].items()
        }
        self._pruned = deque(map(_pruned, state.get("pruned", ())), _MOST_PRUNED)  # earlier versions did not write them

    def drop(self, number: int, meta: Meta, reason: str, at: float) -> None:
        """Count the oldest generation as dropped, `at` seconds since 1970."""
        self.gone = self.gone.then(meta.summary)
        self.dropped[reason] += meta.events
        self.generations[reason] += 1
        self.advance(meta.span.end if meta.span else None)
        self._pruned.append(Pruned(number, meta.span, meta.events, meta.nbytes, reason, at))

    def lose(self, number: int, span: Span | None, events: int, at: float) -> None:
        """Count a generation as unreadable; its span is missing."""
        self.dropped["unreadable"] += events
        self.generations["unreadable"] += 1
        self._pruned.append(Pruned(number, span, events, 0, "unreadable", at))
        if span is not None:
            self._put(f"generation {number}", "unreadable", span, events)

    def forget(self, message: EventsLost) -> None:
        """Count events that a slice has dropped."""
        self.dropped.update(message.events)
        self.advance(message.complete_from)

    def miss(self, message: RecordsMissing) -> None:
        """Count records that never arrived, or correct an earlier report with the same key."""
        _, _, counted = self._missing.get(message.key, (message.reason, message.span, 0))
        self.missed[message.reason] += message.count - counted
        self._put(message.key, message.reason, message.span, message.count)

    def advance(self, complete_from: int | None) -> None:
        """Note that answers are incomplete before `complete_from`."""
        times = [time for time in (self.complete_from, complete_from) if time is not None]
        self.complete_from = max(times, default=None)

    def _put(self, key: str, reason: str, span: Span, count: int) -> None:
        self._missing[key] = (reason, span, count)
        if len(self._missing) > _MOST_MISSING:
            # A span without an end will be corrected by its key; there is at most one for each partition and reason.
            ended = [name for name, (_, span, _) in self._missing.items() if span.end < EVER.end][:2]
            if len(ended) > 1:
                first, second = ended
                _, one, few = self._missing.pop(first)
                why, other, more = self._missing[second]
                self._missing[second] = (why, one.hull(other), few + more)

    def reasons(self) -> tuple[tuple[str, Span, int], ...]:
        """Return each missing span as (reason, span, records or events); the number is 0 if it is unknown."""
        return tuple(self._missing.values())


_Row = tuple[int, int | None, int | None, int, int, str, float]


def _row(pruned: Pruned) -> _Row:
    start, end = (pruned.span.start, pruned.span.end) if pruned.span is not None else (None, None)
    return (pruned.number, start, end, pruned.events, pruned.nbytes, pruned.reason, pruned.at)


def _pruned(row: _Row) -> Pruned:
    number, start, end, events, nbytes, reason, at = row
    return Pruned(number, None if start is None or end is None else Span(start, end), events, nbytes, reason, at)
