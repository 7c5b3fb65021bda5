"""The right answers, by means so plain that they are surely right. Imports nothing of the product.

Each view's rule stands here once. Chaos runs, the simulator and the tests compare the product with these functions.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from typing import AnyStr, NamedTuple

Event = tuple[int, int]
"""A time and a step, numbered from 0."""

GRANULARITIES = ("minute", "hour", "day", "week", "month", "year")


class Matching:
    """Forms sets first in, first out, from events in order of time; of equal times the earlier step comes first."""

    def __init__(self, steps: int) -> None:
        self._last = steps - 1
        self._queues: list[deque[tuple[int, ...]]] = [deque() for _ in range(steps - 1)]

    def take(self, time: int, step: int) -> tuple[int, ...] | None:
        """Take the next event. Return the set that it completes, or None."""
        if step == 0:
            self._queues[0].append((time,))
        elif self._queues[step - 1]:
            begun = (*self._queues[step - 1].popleft(), time)
            if step == self._last:
                return begun
            self._queues[step].append(begun)
        return None


def greedy(events: Sequence[Event], steps: int) -> list[tuple[int, ...]]:
    """Return the sets that first in, first out forms of the events, in order of their first times."""
    matching = Matching(steps)
    return sorted(made for time, step in sorted(events) if (made := matching.take(time, step)) is not None)


def brute(events: Sequence[Event], steps: int) -> int:
    """Return the largest number of disjoint sets, by trying every way to use or leave each event. For a dozen events."""
    ordered = sorted(events)

    @cache
    def best(place: int, waiting: tuple[int, ...]) -> int:
        if place == len(ordered):
            return 0
        _, step = ordered[place]
        left = best(place + 1, waiting)
        if step == 0:
            return max(left, best(place + 1, (waiting[0] + 1, *waiting[1:])))
        if not waiting[step - 1]:
            return left
        taken = list(waiting)
        taken[step - 1] -= 1
        if step == steps - 1:
            return max(left, 1 + best(place + 1, tuple(taken)))
        taken[step] += 1
        return max(left, best(place + 1, tuple(taken)))

    return best(0, (0,) * (steps - 1))


def most(events: Sequence[Event], steps: int, within: int) -> int:
    """Return the largest number of disjoint sets that last at most `within`, by trying all choices. For a dozen events."""

    @cache
    def best(left: tuple[Event, ...]) -> int:
        if not left:
            return 0
        (first, step), rest = left[0], left[1:]
        found = best(rest)
        if step == 0:
            for remaining in chosen(rest, 1, first):
                found = max(found, 1 + best(remaining))
        return found

    def chosen(left: tuple[Event, ...], step: int, first: int) -> set[tuple[Event, ...]]:
        if step == steps:
            return {left}
        options: set[tuple[Event, ...]] = set()
        for place, (time, own) in enumerate(left):
            if own == step and time - first <= within:
                for later in chosen(left[place + 1 :], step + 1, first):
                    options.add(tuple(sorted((*left[:place], *later))))
        return options

    return best(tuple(sorted(events)))


def limited(events: Sequence[Event], steps: int, within: int) -> list[tuple[int, ...]]:
    """Return sets that last at most `within`: the smallest possible one, or without its first event if that is too long.

    `most` proves that no choice has more.
    """
    columns = [sorted(time for time, own in events if own == step) for step in range(steps)]
    places, found = [0] * steps, list[tuple[int, ...]]()
    while True:
        made: list[int] = []
        for step, column in enumerate(columns):
            while places[step] < len(column) and made and column[places[step]] < made[-1]:
                places[step] += 1
            if places[step] == len(column):
                return found
            made.append(column[places[step]])
        if made[-1] - made[0] <= within:
            found.append(tuple(made))
            places = [place + 1 for place in places]
        else:
            places[0] += 1


def min_cut(events: Sequence[Event]) -> int:
    """Return the minimum over a <= b of #R(t <= a) + #G(a < t <= b) + #B(t > b), for three steps, as the formula is written."""
    cuts = [-1, *sorted({time for time, _ in events})]
    return min(
        sum(1 for t, s in events if (s == 0 and t <= a) or (s == 1 and a < t <= b) or (s == 2 and t > b))
        for a in cuts
        for b in cuts
        if a <= b
    )


def ranked(values: Mapping[AnyStr, int]) -> list[AnyStr]:
    """Return the ids of a dataset: the largest value first, of equal values the larger id by bytes."""

    def rank(name: AnyStr) -> tuple[int, bytes]:
        return values[name], name if isinstance(name, bytes) else name.encode()

    return sorted(values, key=rank, reverse=True)


Written = tuple[AnyStr, int | None, int]
"""A record of a dataset: an id, its value, and a time. Without a value it is a tombstone."""


def last_values(logs: Mapping[tuple[int, int], Sequence[Written[AnyStr] | None]]) -> dict[AnyStr, int]:
    """Return the last value of each id. `logs` has the records of each (epoch, partition); None is a clear.

    The last record of an id in each partition is compared: the latest time counts, and of equal times the latest place.
    """
    held: dict[tuple[int, int], dict[AnyStr, tuple[int, tuple[int, int], int, int]]] = {}
    for (epoch, partition), log in sorted(logs.items()):
        own = held[epoch, partition] = {}
        for offset, record in enumerate(log):
            if record is None:
                own.clear()
                held = {owner: values for owner, values in held.items() if owner[0] == epoch}
                continue
            name, value, time = record
            if value is None:
                for owner, values in held.items():
                    if owner[0] < epoch or owner == (epoch, partition):
                        values.pop(name, None)
            else:
                own[name] = (time, (epoch, partition), offset, value)
    best: dict[AnyStr, tuple[int, tuple[int, int], int, int]] = {}
    for values in held.values():
        for name, rank in values.items():
            best[name] = max(rank, best.get(name, rank))
    return {name: rank[-1] for name, rank in best.items()}


class Batches:
    """Merges batches of `segments` segments. If a segment comes again, the first one counts."""

    def __init__(self, segments: int) -> None:
        self._segments = segments
        self._finished: set[int] = set()
        self.pending: dict[int, dict[int, Sequence[int]]] = defaultdict(dict)
        """The segments of each batch that is not whole, by place."""

    def take(self, batch: int, place: int, data: Sequence[int]) -> list[int] | None:
        """Take a segment. Return the numbers of its batch, ascending, if this segment completes the batch."""
        if batch in self._finished:
            return None
        held = self.pending[batch]
        held.setdefault(place, data)
        if len(held) < self._segments:
            return None
        del self.pending[batch]
        self._finished.add(batch)
        return sorted(number for each in held.values() for number in each)

    def missing(self, batch: int) -> list[int]:
        """Return the places of a pending batch that have no segment yet."""
        return [place for place in range(self._segments) if place not in self.pending[batch]]


@lru_cache(10_000)
def period(granularity: str, second: int, zone: tzinfo = UTC) -> tuple[int, int]:
    """Return the start and the end of the period that a second lies in, as the clocks of `zone` show them; in seconds.

    >>> period("hour", 1468244384)
    (1468242000, 1468245600)
    """
    minute = second // 60 * 60
    if granularity == "minute":
        return minute, minute + 60
    shown = datetime.fromtimestamp(minute, zone)
    if granularity == "hour":  # an hour may come twice, when clocks are put back
        start = minute - 60 * shown.minute
        return start, start + 3_600
    day = shown.replace(hour=0, minute=0, fold=0)
    month = day.replace(day=1)
    first, following = {
        "day": (day, day + timedelta(days=1)),
        "week": (day - timedelta(days=day.weekday()), day + timedelta(days=7 - day.weekday())),
        "month": (month, (month + timedelta(days=31)).replace(day=1)),
        "year": (month.replace(month=1), month.replace(month=1, year=day.year + 1)),
    }[granularity]
    return int(first.timestamp()), int(following.timestamp())


class Found(NamedTuple):
    """The key of a sequence, and the times of the steps that it has."""

    key: str | int
    times: tuple[int, ...]


def sequences(events: Iterable[tuple[str | int, int, int]], steps: int, within: int) -> list[Found]:
    """Return the sequences of events, which are keys, times and numbers of steps."""
    by_key: defaultdict[str | int, list[tuple[int, int]]] = defaultdict(list)
    for key, time, step in events:
        by_key[key].append((time, step))
    return [Found(key, times) for key, own in by_key.items() for times in _of_key(sorted(own), steps, within)]


def _of_key(left: Sequence[tuple[int, int]], steps: int, within: int) -> Iterable[tuple[int, ...]]:
    for length in range(steps, 0, -1):
        numbered = [(*event, number) for number, event in enumerate(left) if event[1] < length]
        used: Counter[tuple[int, int]] = Counter()
        floor = [(-1, -1, -1)] * length  # the last event of each step that is taken
        for first in [event for event in numbered if event[1] == 0]:
            row = [first]
            for step in range(1, length):
                later = [each for each in numbered if each[1] == step and each > row[-1] and each > floor[step]]
                if not later:
                    break
                row.append(later[0])
            if len(row) == length and row[-1][0] - first[0] <= within:
                floor = row
                used.update(event[:2] for event in row)
                yield tuple(event[0] for event in row)
        left = sorted((Counter(left) - used).elements())
