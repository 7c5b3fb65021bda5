"""The right answers of a chaos run, computed from the records themselves. Shares no code with the product.

The verifier uses it. Each truth takes in every record in the order of its partition, and can give the right answers at any
time. `expected` has the same keys and the same form as what the verifier reads from the service.
"""

import heapq
import json
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from random import Random
from typing import Any

from scripts.lab.chaos.makers import STEPS, WITHIN_MS
from scripts.lab.truth import GRANULARITIES, Batches, Matching, period, ranked, sequences

Span = tuple[int, int]
"""A half-open range, in the unit of the view's requests."""

_EVENT = re.compile(rb"([RGB])_([0-9]{1,18})")
_UPSERT = re.compile(rb"([^_]+)_(-?[0-9]{1,18})")
_SET = b'{"r":{"name":"red","timestamp":%d},"g":{"name":"green","timestamp":%d},"b":{"name":"blue","timestamp":%d}}\n'
_SEGMENTS = 10


class Truth:
    """The right answers of one view."""

    def __init__(self) -> None:
        self.records = 0
        """Records taken in or kept apart."""
        self.events = 0
        """Those of the records that are events of the view."""
        self.apart: list[tuple[int, bytes]] = []
        """Events whose time has not come: the time, in ms since 1970, and the record. A heap."""

    def keep_apart(self, time_ms: int, value: bytes) -> None:
        """Count a record whose event must be in no answer before its time."""
        self.records += 1
        self.events += 1
        heapq.heappush(self.apart, (time_ms, value))

    def admit(self, now_ms: int) -> None:
        """Take in the events that were kept apart, and whose time has come."""
        while self.apart and self.apart[0][0] <= now_ms:
            _, value = heapq.heappop(self.apart)
            self.records -= 1  # `take` counts the record again
            self.events -= 1
            self.take(value)

    def take(self, value: bytes) -> None:
        """Take in the next record of a partition."""
        raise NotImplementedError

    def settle(self, until: int) -> None:
        """Decide what is before `until`: no later record may be that early."""

    def choose(self, chance: Random) -> Span:
        """Return a range of which some part has answers."""
        raise NotImplementedError

    def expected(self, span: Span) -> dict[str, Any]:
        """Return the right answer to each question; questions with a range use `span`."""
        raise NotImplementedError


class SetsTruth(Truth):
    """Sets, first in, first out: events in order of time, of equal times R before G before B."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[int, int]] = []
        """Events that are not matched yet, because earlier ones may follow: time and step."""
        self._matching = Matching(3)
        self._reds: list[int] = []
        self._lines: list[bytes] = []
        self._body = bytearray()

    def take(self, value: bytes) -> None:
        """Take in a record. Records may come in any order, but no event may be earlier than the last `settle`."""
        self.records += 1
        if found := _EVENT.fullmatch(value):
            self.events += 1
            self.waiting.append((int(found[2]), b"RGB".index(found[1])))

    def settle(self, until: int) -> None:
        """Match the events before `until`. No later record may be that early. Cost: a sort, and 1 us an event."""
        self.waiting.sort()
        cut = bisect_left(self.waiting, (until,))
        for time, step in self.waiting[:cut]:
            if (made := self._matching.take(time, step)) is not None:
                self._reds.append(made[0])
                self._lines.append(_SET % made)
                self._body += self._lines[-1]
        del self.waiting[:cut]

    def choose(self, chance: Random) -> Span:
        """Return a range of at most some thousand sets."""
        if not self._reds:
            return 0, 1
        place = chance.randrange(len(self._reds))
        return self._reds[place], self._reds[min(place + chance.randrange(3_000), len(self._reds) - 1)] + chance.randrange(2)

    def expected(self, span: Span) -> dict[str, Any]:
        """Return all sets, those of a range, and the counts."""
        low, high = (bisect_left(self._reds, bound) for bound in span)
        return {
            "all sets": bytes(self._body),
            "sets of a range, page by page": b"".join(self._lines[low:high]),
            "how many sets": len(self._reds),
            "the bound": len(self._reds),
        }


class TopTruth(Truth):
    """The last value of each id. An id must keep to one partition."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[bytes, int] = {}

    def take(self, value: bytes) -> None:
        """Take in a record."""
        self.records += 1
        if found := _UPSERT.fullmatch(value):
            self.events += 1
            self._values[found[1]] = int(found[2])

    def clear(self, partitions: int) -> None:
        """Forget everything, as a DELETE does by a record in each partition."""
        self.records += partitions
        self.events += partitions
        self._values.clear()

    def choose(self, chance: Random) -> Span:
        """Return how many of the first ids to ask for, as the end of a span."""
        return 0, 1 + chance.randrange(1 + len(self._values))

    def expected(self, span: Span) -> dict[str, Any]:
        """Return the ids in order of rank."""
        names = [name.decode() for name in ranked(self._values)]
        return {"all ids": names, "the first ids": names[: span[1]], "how many ids": len(names)}


class SegmentsTruth(Truth):
    """Batches of ten segments. If a segment is repeated, the first one counts."""

    def __init__(self) -> None:
        super().__init__()
        self._batches = Batches(_SEGMENTS)
        self._lines: dict[int, bytes] = {}
        self._numbers: dict[int, list[int]] = {}

    def take(self, value: bytes) -> None:
        """Take in a record."""
        self.records += 1
        try:
            record = json.loads(value)
            batch, place, data = record["batch_id"], record["segment_id"], record["data"]
        except ValueError:
            return
        self.events += 1
        numbers = self._batches.take(batch, place, data)
        if numbers is not None:
            self._lines[batch] = ", ".join(map(str, numbers)).encode()
            self._numbers[batch] = [len(numbers), numbers[0], numbers[-1]]

    def choose(self, chance: Random) -> Span:
        """Return some finished batches."""
        first = chance.choice(sorted(self._lines)) if self._lines else 0
        return first, first + 3

    def expected(self, span: Span) -> dict[str, Any]:
        """Return the rows, the pending batches, some lines by HTTP, and all lines of the file and the topic, once each."""
        finished = sorted(self._lines)
        lines = sorted(self._lines.values())
        return {
            "finished batches": [[batch, *self._numbers[batch]] for batch in finished],
            "orders of completion": list(range(1, 1 + len(finished))),
            "pending batches": [[batch, self._batches.missing(batch)] for batch in sorted(self._batches.pending)],
            "lines by batch": [self._lines.get(batch) for batch in range(*span)],
            "lines of the file": lines,
            "lines of the topic": lines,
        }


class UniquesTruth(Truth):
    """Users and frames of each period, in UTC."""

    def __init__(self) -> None:
        super().__init__()
        self._users: dict[str, dict[int, set[str]]] = {name: defaultdict(set) for name in GRANULARITIES}
        self._frames: dict[str, Counter[int]] = {name: Counter() for name in GRANULARITIES}
        self._ends: dict[tuple[str, int], int] = {}

    def take(self, value: bytes) -> None:
        """Take in a record."""
        self.records += 1
        try:
            frame = json.loads(value)
        except ValueError:
            return
        self.events += 1
        for name in GRANULARITIES:
            start, end = period(name, int(frame["ts"]) // 60 * 60)
            self._ends[name, start] = end
            self._users[name][start].add(frame["uid"])
            self._frames[name][start] += 1

    def choose(self, chance: Random) -> Span:
        """Return a range of some minutes."""
        starts = sorted(self._users["minute"]) or [0]
        first = chance.choice(starts)
        return first, first + 60 * chance.randrange(1, 100)

    def expected(self, span: Span) -> dict[str, Any]:
        """Return the rows of each granularity, those of a range of minutes, and the last row of each period in the topic."""
        rows = {name: self._rows(name, (-(1 << 62), 1 << 62)) for name in GRANULARITIES}
        return {
            **{f"rows by {name}": found for name, found in rows.items()},
            "rows of a range": self._rows("minute", span),
            "last rows of the topic": {name: found for name, found in rows.items() if found},
            "rows that the topic holds twice": [],
        }

    def _rows(self, name: str, span: Span) -> list[list[int]]:
        return [
            [start, self._ends[name, start], len(users), self._frames[name][start]]
            for start, users in sorted(self._users[name].items())
            if span[0] <= start < span[1]
        ]


class WordsTruth(Truth):
    """Counts of types and words, by second."""

    def __init__(self) -> None:
        super().__init__()
        self._types: dict[int, Counter[str]] = defaultdict(Counter)
        self._words: dict[int, Counter[str]] = defaultdict(Counter)

    def take(self, value: bytes) -> None:
        """Take in a record."""
        self.records += 1
        try:
            event = json.loads(value)
        except ValueError:
            return
        self.events += 1
        self._types[int(event["timestamp"])][event["event_type"]] += 1
        self._words[int(event["timestamp"])].update(event["data"].split())

    def choose(self, chance: Random) -> Span:
        """Return a range of seconds."""
        first = chance.choice(sorted(self._types) or [0])
        return first, first + chance.randrange(1, 1_000)

    def expected(self, span: Span) -> dict[str, Any]:
        """Return the counts over all time, and over a range."""
        ever = (-(1 << 62), 1 << 62)
        return {
            "all types": _sum(self._types, ever),
            "all words": _sum(self._words, ever),
            "types of a range": _sum(self._types, span),
            "words of a range": _sum(self._words, span),
        }


class FunnelTruth(Truth):
    """Sequences of orders. Those that begin before `until` are final."""

    def __init__(self) -> None:
        super().__init__()
        self.until = 0
        self.key = ""
        """A key whose story is asked for."""
        self._events: list[tuple[str, int, int]] = []
        self._rows: list[list[Any]] = []

    def take(self, value: bytes) -> None:
        """Take in a record. No event may be earlier than the last `settle`."""
        self.records += 1
        try:
            order = json.loads(value)
        except ValueError:
            return
        self.events += 1
        self._events.append((order["id"], order["at"], STEPS.index(order["type"])))

    def settle(self, until: int) -> None:
        """Match the events before `until`. All events of their keys must be here."""
        self.until = until
        found = sequences([event for event in self._events if event[1] < until], len(STEPS), WITHIN_MS)
        self._rows = sorted((_row_of(key, times) for key, times in found), key=str)

    def choose(self, chance: Random) -> Span:
        """Return a range of some sequences, and choose a key."""
        firsts = sorted(row[2] for row in self._rows) or [0]
        self.key = str(chance.choice(self._rows)[0]) if self._rows else ""
        place = chance.randrange(len(firsts))
        return firsts[place], firsts[min(place + chance.randrange(1_000), len(firsts) - 1)]

    def expected(self, span: Span) -> dict[str, Any]:
        """Return the sequences, how many there are of each step, and the lines of the topic, once each."""
        reached = [sum(row[2 + step] is not None for row in self._rows) for step in range(len(STEPS))]
        minutes = Counter(row[2] // 60_000 * 60_000 for row in self._rows)
        return {
            "all sequences": self._rows,
            "sequences of a range, page by page": [row for row in self._rows if span[0] <= row[2] < span[1]],
            "lapsed sequences": [row for row in self._rows if row[1] == "lapsed"],
            "how many reached each step": [*reached, reached[-1], 0, reached[0] - reached[-1]],
            "times between steps": [self._spent(step) for step in range(1, len(STEPS))],
            "sequences by minute": [list(each) for each in sorted(minutes.items())],
            "the story of a key": sorted([at, STEPS[step]] for key, at, step in self._events if key == self.key),
            "lines of the topic": self._rows,
        }

    def _spent(self, step: int) -> list[float | None]:
        """Return the median, the 95th percentile and the largest of the seconds from the step before."""
        gaps = sorted((row[2 + step] - row[1 + step]) / 1_000 for row in self._rows if row[2 + step] is not None)
        return [gaps[-(-len(gaps) * percent // 100) - 1] for percent in (50, 95, 100)] if gaps else [None] * 3


def _row_of(key: str | int, times: tuple[int, ...]) -> list[Any]:
    """Return the key, the state, the time of each step, and until when a lapsed sequence could have gone on."""
    complete = len(times) == len(STEPS)
    lacking = [None] * (len(STEPS) - len(times))
    return [key, "complete" if complete else "lapsed", *times, *lacking, None if complete else times[0] + WITHIN_MS]


def _sum(counts: Mapping[int, Counter[str]], span: Span) -> dict[str, int]:
    found: Counter[str] = Counter()
    for second, own in counts.items():
        if span[0] <= second < span[1]:
            found.update(own)
    return dict(found)


TRUTHS: dict[str, type[SetsTruth | TopTruth | SegmentsTruth | UniquesTruth | WordsTruth | FunnelTruth]] = {
    "sets": SetsTruth,
    "top": TopTruth,
    "segments": SegmentsTruth,
    "uniques": UniquesTruth,
    "words": WordsTruth,
    "funnel": FunnelTruth,
}
"""The class of each view's truth."""
