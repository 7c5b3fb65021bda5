"""Values of ids for the view `top`, some in any partition, some deleted, and the right dataset."""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from actors.replies import Answer, Stats
from actors.timeline.span import EVER
from actors.views.top.arguments import Top
from actors.views.top.slices import cleared_to
from actors.views.top.view import TopView
from actors.views.view import View
from gateway.api.formats import write
from scripts.lab.truth import last_values, ranked
from tests.simulation.feed import JUNK, Feed, assert_named
from tests.simulation.topic import Record

_CLEAR = (b"firnline-clear", b"cleared")
_MOST_PARTITIONS = 5
_NO_VALUES: tuple[tuple[bytes, bytes | None], ...] = (
    (b"cleared", None),
    (b"cleared", b"firnline-cleared"),
    (b"clear", b"firnline-clear"),
    (b"id7_1_2", None),
    (b"id7_ten", None),
    (b"id7_9223372036854775808", None),
    (b"\xff_7", None),
)
"""Records that are no event of this view, each with its key."""


class Upsert(NamedTuple):
    """An id's new value. `logged` sets time, partition and offset."""

    name: str
    value: int
    time: int = 0
    partition: int = 0
    offset: int = 0


class Clear(NamedTuple):
    """A record that deletes everything before it in its partition, and everything of earlier lives of the topic."""

    partition: int
    offset: int = 0
    time: int = 0


class Tombstone(NamedTuple):
    """A record that deletes an id before it in its partition, and of earlier lives of the topic."""

    partition: int
    offset: int
    name: str
    time: int = 0


Event = Upsert | Clear | Tombstone


class TopFeed(Feed):
    """Either each id keeps to its partition, or an id may be in any partition, with times of clocks that differ.

    Sometimes a DELETE clears all partitions, or some. Tombstones delete ids; `deletes` decides how many and which.
    """

    questions = ((EVER, Top()), (EVER, Top(3)))

    def __init__(self, chance: random.Random, *, orderly: bool, deletes: random.Random) -> None:
        self._deletes = deletes
        self._deleted = deletes.choice([0.0, 0.05, 0.3])
        self._roaming = not orderly and chance.random() < 0.7
        self.budgets = (1 << 40,) if self._roaming else (78_000, 81_500)
        self._slow_ms = chance.choice([0, 1_500, 3_000]) if self._roaming else 0
        self._jumbled = chance.choice([0.5, 0.95])
        self._ahead = chance.choice([0.0, 0.02])
        self._ids = chance.choice([20, 60, 150] if self._roaming else [3, 40, 400])
        self._values = chance.choice([4, 1_000_000])

    def view(self) -> View:
        return TopView()

    def holds(self, batch: Any, event: Event) -> bool:
        if not isinstance(event, Upsert):
            places = batch.clears if isinstance(event, Clear) else batch.tombstones.places
            return (event.partition << 40) + event.offset in (places & (1 << 56) - 1).tolist()  # in any life of the topic
        names = batch.ids.take(np.arange(batch.values.size))
        return (event.name.encode(), event.value) in zip(names, batch.values.tolist(), strict=True)

    def alike(self, one: Event, other: Event) -> bool:
        return type(one) is type(other) and one[:2] == other[:2]

    def records(self, chance: random.Random, count: int, since: float, until: float) -> list[Record]:
        made: list[Record] = []
        for at in sorted(chance.uniform(since, until) for _ in range(count)):
            kind = chance.random()
            if kind < 0.03:
                value, key = chance.choice([*((each, None) for each in JUNK), *_NO_VALUES])
                made.append(Record(at, value, None, key=key))
            elif kind < 0.04:
                numbers = chance.sample(range(_MOST_PARTITIONS), chance.choice([_MOST_PARTITIONS] * 3 + [2]))
                made += [Record(at, _CLEAR[1], Clear(number), key=_CLEAR[0]) for number in numbers]
            else:
                made.append(self._upsert(chance, at))
                if self._deletes.random() < self._deleted:
                    made[-1] = self._tombstone(at, made)
        return made

    def shard(self, record: Record, partitions: int, chance: random.Random) -> int:
        event = record.truth
        if isinstance(event, Clear):
            return event.partition % partitions
        if event is None or self._roaming:
            return chance.randrange(partitions)
        return crc32(event.name.encode()) % partitions

    def logged(self, partition: int, records: list[Record]) -> list[Record]:
        """Return a partition's records, each event with its place and its time."""

        def placed(offset: int, record: Record) -> Record:
            if record.truth is None:
                return record
            time = record.time - partition * self._slow_ms
            return record._replace(stamp=time, truth=record.truth._replace(time=time, partition=partition, offset=offset))

        return [placed(offset, record) for offset, record in enumerate(records)]

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        shown = _values(answer)
        written = {(event.name, event.value) for life in given for event in life if isinstance(event, Upsert)}
        assert written >= set(shown.items()), f"values that were never written: {set(shown.items()) - written}"
        if self._roaming or len(given) != 1 or answer.arguments.limit is not None:
            return
        if answer.coverage.missing:
            return
        until = answer.coverage.complete_to if self.punctual and not stats.progress.late else None
        logs: dict[int, list[Event]] = defaultdict(list)
        for event in given[0]:
            logs[event.partition].append(event)
        due = [event for event in expected if until is not None and event.time < until]
        for event in due:
            assert event in logs[event.partition], f"complete to {until}, and {event} was not read by then"
        homes = {event.name: event.partition for event in given[0] if isinstance(event, Upsert)}
        cleared = cleared_to(answer.partial)
        for number, log in logs.items():
            mine = {name: value for name, value in shown.items() if homes[name] == number}
            least = sum(event.partition == number for event in due)
            short = stats.memory.budget_bytes < 1 << 40
            assert _was(log, least, mine, cleared.get(number), short=short), (
                f"partition {number} never had these values: {mine}"
            )

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        if self.punctual:
            assert_named(answer, [event.time for event in lost])
        right, cleared = _dataset(events)
        assert cleared_to(answer.partial) == cleared, "the offsets of the last clears"
        forgotten = stats.active.summary.lowest_forgotten
        shown, limit = _values(answer), answer.arguments.limit
        if forgotten is None:
            assert _ids(answer) == ranked(right)[:limit]
            assert limit is not None or shown == right
        else:
            above = [name for name in ranked(right) if right[name] > forgotten][:limit]
            assert _ids(answer)[: len(above)] == above, f"every id above {forgotten} is listed"
            assert set(shown.items()) <= set(right.items()), f"not the last values: {set(shown.items()) - set(right.items())}"

    def _upsert(self, chance: random.Random, at: float) -> Record:
        name = chance.choice(["", "ä", "id"]) + f"{chance.randrange(self._ids)}"
        value = chance.randint(-self._values, self._values)
        late = self._roaming and chance.random() < self._jumbled
        stamp = int(1000 * at) - chance.randrange(chance.choice([500, 8_000])) if late else None
        if stamp is not None and chance.random() < self._ahead:
            stamp += 1_800_000
        text = f"{name}_{value}" if value % 8 else f" {name}\u2003_ {value}\t"  # white space around an id counts for nothing
        return Record(at, text.encode(), Upsert(name, value), stamp=stamp)

    def _tombstone(self, at: float, made: Sequence[Record]) -> Record:
        """Return the tombstone of an id that is in use, or of the one in the newest record."""
        written = [record.truth.name for record in made[-20:] if isinstance(record.truth, Upsert)]
        name = self._deletes.choice(written)
        return Record(at, None, Tombstone(0, 0, name), key=name.encode())


def _was(log: Sequence[Event], least: int, mine: dict[str, int], cleared: int | None, *, short: bool) -> bool:
    """Whether a partition had the values `mine` after `least` events or more. If memory is `short`, it may have had more values."""
    held: dict[str, int] = {}
    last = None
    for count in range(len(log) + 1):
        if count >= least and last == cleared and (held == mine or (short and mine.items() <= held.items())):
            return True
        if count < len(log):
            event = log[count]
            if isinstance(event, Clear):
                held, last = {}, event.offset
            elif isinstance(event, Tombstone):
                held.pop(event.name, None)
            else:
                held[event.name] = event.value
    return False


def _dataset(lives: Iterable[Sequence[Event]]) -> tuple[dict[str, int], dict[int, int]]:
    """Return the last value of each id, and the last clear of each partition."""
    logs: dict[tuple[int, int], list[tuple[str, int | None, int] | None]] = defaultdict(list)
    cleared: dict[int, int] = {}
    for life, events in enumerate(lives):
        for event in events:
            if isinstance(event, Clear):
                cleared[event.partition] = event.offset
                logs[life, event.partition].append(None)
            else:
                value = event.value if isinstance(event, Upsert) else None
                logs[life, event.partition].append((event.name, value, event.time))
    return last_values(logs), cleared


def _ids(answer: Answer) -> list[str]:
    text = b"".join(write(answer, "json", {}))
    found: list[str] = json.loads(text)["data"]
    return found


def _values(answer: Answer) -> dict[str, int]:
    found = [
        (name.decode(), value)
        for piece in answer.partial
        for name, value in zip(piece.ids.take(np.arange(piece.values.size)), piece.values.tolist(), strict=True)
    ]
    assert len(dict(found)) == len(found), "an id is there twice"
    return dict(found)
