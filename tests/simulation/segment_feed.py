"""Segments of the view `segments`, some repeated, some with other numbers, and the right lines."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from actors.replies import Answer, Stats
from actors.timeline.span import EVER
from actors.views.segments.arguments import Listing
from actors.views.segments.view import SegmentsView
from actors.views.view import View
from gateway.api.formats import write
from scripts.lab.truth import Batches
from tests.simulation.feed import JUNK, Feed
from tests.simulation.topic import Record

SEGMENTS = 3
Segment = tuple[int, int, tuple[int, ...]]


class MemorySpool:
    """A spool that needs no disk."""

    def put(self, data: bytes) -> bytes:
        return data

    def get(self, handle: bytes) -> bytes:
        return handle

    def free(self, handle: bytes) -> None:
        pass


class SegmentFeed(Feed):
    """Batches of three segments. Repeated segments go to one partition, so that the first one is certain."""

    questions = ((EVER, Listing()),)
    publishes = True
    budgets = (12_000, 30_000)

    def __init__(self, chance: random.Random, *, max_batches: int) -> None:
        self._max_batches = max_batches
        self._spill_bytes = chance.choice([0, 200, 1 << 20])
        self._salt = chance.randrange(1_000)

    def view(self) -> View:
        return SegmentsView(
            segments=SEGMENTS, max_batches=self._max_batches, spool=MemorySpool(), spill_bytes=self._spill_bytes
        )

    def holds(self, batch: Any, event: Any) -> bool:
        places = zip(batch.batch_ids.tolist(), batch.segment_ids, strict=True)
        return any((number, place) == event[:2] for number, place in places)

    def alike(self, one: Any, other: Any) -> bool:
        return bool(one[:2] == other[:2])

    def records(self, chance: random.Random, count: int, since: float, until: float) -> list[Record]:
        made = []
        batches = max(1, count // SEGMENTS)
        for number in range(batches * SEGMENTS):
            if chance.random() < 0.02:
                made.append(Record(chance.uniform(since, until), chance.choice(JUNK), None))
            batch, place = divmod(number, SEGMENTS)
            at = since + (until - since) * min(1.0, (batch / batches + 0.2 * chance.random()))
            if chance.random() < 0.02:
                continue
            for _ in range(chance.choice([1] * 12 + [2, 3])):
                data = tuple(sorted(chance.randrange(1_000) for _ in range(chance.randrange(4))))
                made += [_record(at + 0.1 * chance.random(), batch, place, data)] * chance.choice([1] * 8 + [2])
        return sorted(made, key=lambda record: record.at)

    def shard(self, record: Record, partitions: int, chance: random.Random) -> int:
        if record.truth is None:
            return chance.randrange(partitions)
        return int(7 * record.truth[0] + 3 * record.truth[1] + self._salt) % partitions

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        orders = sorted(row["order"] for row in _listed(answer))
        assert len(set(orders)) == len(orders), "two batches have the same order"

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        listed = _listed(answer)
        found = [(row["batch"], row["count"]) for row in listed]
        right = [(batch, len(numbers)) for part in events for batch, numbers in _whole(part)]
        lacking, extra = Counter(right) - Counter(found), Counter(found) - Counter(right)
        assert not extra, f"batches that were never complete, or appear twice: {extra}"
        if not stats.dropped_generations:
            assert not lacking, f"batches are lacking: {lacking}"
            assert sorted(row["order"] for row in listed) == list(range(1, len(right) + 1)), "orders without a gap"

    def published(
        self,
        records: Sequence[bytes],
        events: Sequence[Sequence[Any]],
        answers: Sequence[Answer],
        stats: Stats,
        *,
        repeated: bool,
    ) -> None:
        right = Counter(", ".join(map(str, numbers)).encode() for part in events for _, numbers in _whole(part))
        found = Counter(records)
        if repeated:  # and some results are of records that Kafka has deleted since
            found &= right
        assert found == right, f"results: {len(right - found)} lacking, {list((found - right).elements())[:3]} too many"


def _record(at: float, batch: int, place: int, data: tuple[int, ...]) -> Record:
    value = msgspec.json.encode({"batch_id": batch, "segment_id": place, "data": data})
    return Record(at, value, (batch, place, data))


def _whole(segments: Sequence[Segment]) -> list[tuple[int, list[int]]]:
    """Return the complete batches with their numbers. If a segment is repeated, the first one counts."""
    batches = Batches(SEGMENTS)
    return [(batch, numbers) for batch, *rest in segments if (numbers := batches.take(batch, *rest)) is not None]


def _listed(answer: Answer) -> list[dict[str, Any]]:
    text = b"".join(write(answer, "json", {}))
    listed: list[dict[str, Any]] = json.loads(text)["segments"]
    return listed
