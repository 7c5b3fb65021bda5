"""A topic by key in memory: whatever forwarder or reader begins anew, each shard gets the records of its keys once, in order.

The answers of the shards, and how far they are in time, are those of one process that reads the topic itself.
"""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.rekeyed import dealing
from actors.cluster.rekeyed import source as by_key
from actors.cluster.rekeyed.blocks import block_bytes, block_of, standing_of
from actors.cluster.rekeyed.dealing import Dealer, LostError
from actors.cluster.rekeyed.forwarder import Forwarding
from actors.cluster.rekeyed.source import BLOCK, RekeyedSource
from actors.columns.values import Values
from actors.messages import Dead
from actors.reading.intake import Intake
from actors.reading.pace import Pace
from actors.replies import Trouble
from actors.sources.polled import Gap, Place, Polled
from actors.timeline.horizon import Ahead, Horizon
from actors.views.funnel.arguments import Listing, Totals
from tests.support.samples import FUNNEL
from tests.support.trees import kept
from tests.views.test_funnel_shards import PARCEL, SHARDS, Slices, alike, shards_of, view_of

PARTITIONS = 4
LATENESS, IDLE_S = 5, 1.0
WALL = 0.1
"""The clock, s: an event after 100 ms is ahead of it."""

QUESTIONS = [Totals(), Listing()]

Row = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
"""The value, the key and the headers of a record."""


@dataclass
class Topic:
    """The topic of the records. Some offsets have none, as after a compaction."""

    rows: dict[int, dict[int, Row]] = field(default_factory=lambda: {number: {} for number in range(PARTITIONS)})
    ends: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    lows: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    identity: str = "one"

    def put(self, partition: int, row: Row | None) -> None:
        """Write a record; None: an offset without one."""
        if row is not None:
            self.rows[partition][self.ends[partition]] = row
        self.ends[partition] += 1


def polled_of(found: Sequence[tuple[int, int, Row]], **more: Any) -> Polled:
    return Polled(
        Values.of([row[0] for _, _, row in found]),
        np.array([partition for partition, _, _ in found], np.uint8),
        lambda: np.array([offset for _, offset, _ in found], np.int64),
        lambda: np.array([1_000 + offset for _, offset, _ in found], np.int64),
        lambda index: found[index][2][1],
        lambda index: found[index][2][2],
        **more,
    )


class Reader:
    """A source of the partitions of a topic that `reads` accepts."""

    finished, endless = False, True

    def __init__(self, topic: Topic, chance: random.Random, reads: Callable[[int], bool] = lambda _: True) -> None:
        self.topic = topic
        self.chance = chance
        self.reads = reads
        self.next: dict[int, int] = {}
        self.found: list[Gap] = []
        self.epoch = 0

    def open(self, place: Place) -> bool:
        self.epoch = int(place.identity not in {None, self.topic.identity})
        self.next = {
            number: place.offsets.get(number, self.topic.lows[number]) for number in self.topic.ends if self.reads(number)
        }
        for number, low in self.topic.lows.items():
            if self.next.get(number, low) < low:
                self.found.append(Gap(number, low - self.next[number], "deleted"))
                self.next[number] = low
        return True

    def poll(self, count: int, timeout_s: float = 0.0) -> Polled:  # the contract's
        found = []
        for number in self.chance.sample(sorted(self.next), len(self.next)):
            until = min(self.topic.ends[number], self.next[number] + self.chance.randrange(count))
            found += [
                (number, offset, self.topic.rows[number][offset])
                for offset in range(self.next[number], until)
                if offset in self.topic.rows[number]
            ]
            self.next[number] = until
        return polled_of(found, ended=frozenset(number for number, at in self.next.items() if at == self.topic.ends[number]))

    def place(self) -> Place:
        return Place(dict(self.next), self.topic.identity, self.epoch)

    def gaps(self) -> list[Gap]:
        found, self.found = self.found, []
        return found

    def extend(self) -> bool:
        return True

    def rest(self, timeout_s: float) -> None:
        pass

    def trouble(self) -> Trouble | None:
        return None

    def only(self, partition: int | None) -> None:
        pass

    def lag(self) -> dict[int, int]:
        return {}

    def commit(self) -> None:
        pass

    def close(self) -> None:
        pass


class Carrier(Reader):
    """A source of one partition of the topic by key."""

    def __init__(self, log: Topic, chance: random.Random, shard: int) -> None:
        super().__init__(log, chance, lambda number: number == shard)

    def poll(self, count: int, timeout_s: float = 0.0) -> Polled:
        return super().poll(min(count, 4), timeout_s)


class Ends:
    """What the leaders say of the topic: once a second, or if they are asked to hurry."""

    def __init__(self, topic: Topic, clock: Callable[[], float]) -> None:
        self.topic = topic
        self.clock = clock
        self.partitions: Sequence[int] = range(PARTITIONS)
        self.known_at = -math.inf
        self.known: dict[int, int] = {}

    @property
    def identity(self) -> str | None:
        return self.topic.identity

    def open(self) -> bool:
        return True

    def extend(self) -> bool:
        return True

    def ends(self, now: float) -> tuple[float, Mapping[int, int]]:
        if now - self.known_at >= 1:
            self.known_at, self.known = self.clock(), dict(self.topic.ends)
        return self.known_at, self.known

    def hurry(self) -> None:
        self.known_at, self.known = self.clock(), dict(self.topic.ends)

    def trouble(self) -> Trouble | None:
        return None

    def close(self) -> None:
        pass


class Engine:
    """The intake and the slices of one process or of one shard, over a source."""

    def __init__(self, slices: Slices, source: Any) -> None:
        self.slices = slices
        self.source = source
        self.intake = self.fresh()
        self.dead: list[Dead] = []
        self.seen: list[tuple[int, int, bytes | None, bytes | None, tuple[Any, ...], int]] = []
        self.gaps: list[Gap] = []
        self.saved: tuple[Any, ...] = ()
        self.begin()

    def fresh(self) -> Intake:
        horizon = Horizon(Ahead(0, waits=False))
        return Intake(view=self.slices.view, lateness=LATENESS, idle_s=IDLE_S, pace=Pace(), keeps_dead=True, horizon=horizon)

    def begin(self) -> None:
        self.source.open(self.intake.place)
        self.intake.opened(self.source.place(), self.source.gaps(), 0.0, unreadable=False)

    def save(self) -> None:
        slices = [each.state() for each in (*self.slices.aged, self.slices.live)]
        counts = list(self.dead), list(self.seen), list(self.gaps)
        self.saved = kept(self.intake.state()), [kept(each) for each in slices], counts

    def go_back(self) -> None:
        """Begin again from the newest checkpoint."""
        if not self.saved:
            return
        intake, (*aged, live), (dead, seen, gaps) = self.saved
        self.intake = self.intake.anew(intake, 0.0)
        self.slices.aged = [self.slices.view.thaw(each) for each in aged]
        self.slices.live = self.slices.view.revive(live)
        self.dead, self.seen, self.gaps = list(dead), list(seen), list(gaps)
        self.begin()

    def step(self, count: int, now: float = 0.0) -> int:
        """Read once, and return how many records came."""
        self.intake.prepare(0.0, now, WALL)
        polled = self.source.poll(count, 0.0)
        gaps = self.source.gaps()
        if gaps:
            self.gaps += gaps
            self.intake.skip(gaps, self.source.place().before(polled))
        if polled.values:
            offsets, stamps = polled.offsets(), polled.timestamps()
            for index, value in enumerate(polled.values.listed):
                self.seen.append(
                    (
                        int(polled.partitions[index]),
                        int(offsets[index]),
                        value,
                        polled.key_of(index),
                        tuple(polled.headers_of(index)),
                        int(stamps[index]),
                    )
                )
            self.dead += self.intake.take(polled, self.source.place(), now, WALL).dead
        self.intake.ended(polled, now)
        for piece in self.intake.release(now, everything=False):
            self.slices.live.add(piece.events, piece.until)
            self.slices.close(piece.until, None)
        return len(polled.values)


class World:
    """A topic, a forwarder for each shard, and the shards. `moment` is the time of all clocks.

    If it is `labelled`, keys and headers are forwarded with all records.
    """

    def __init__(self, chance: random.Random, *, labelled: bool = False) -> None:
        self.chance = chance
        self.labelled = labelled
        self.topic = Topic()
        self.log = Topic(
            {number: {} for number in range(SHARDS)}, dict.fromkeys(range(SHARDS), 0), dict.fromkeys(range(SHARDS), 0)
        )
        self.moment = 0.0
        self.complaints: list[str] = []
        self.standings: dict[int, bytes] = {}
        self.forwarders: dict[int, tuple[Dealer, Reader]] = {}
        self.whole = Engine(Slices(view_of()), Reader(self.topic, chance))
        self.shards = [Engine(slices, self.source(shard)) for shard, slices in enumerate(shards_of(SHARDS, self.complaints))]

    def now(self) -> float:
        """Return the moment. Each look at the clock is later than the one before."""
        self.moment += 1e-3
        return self.moment

    def source(self, shard: int) -> RekeyedSource:
        return RekeyedSource(
            Carrier(self.log, self.chance, shard),
            Ends(self.topic, self.now),
            Forwarding(),
            shard=shard,
            shards=SHARDS,
            complain=self.complaints.append,
            now=self.now,
        )

    def forward(self, shard: int, count: int = 8, lose: str = "") -> bool:
        """Have a forwarder take a step. What it writes is lost (`all`), or its standing is (`standing`), if it ends then.

        Returns whether there was something to forward.
        """
        if shard not in self.forwarders:
            told = self.standings.get(shard)
            stands, identity = ({}, None) if told is None else standing_of(told)
            reader = Reader(self.topic, self.chance, lambda number: number % SHARDS == shard)
            reader.open(Place({number: stand.next for number, stand in stands.items()}, identity))
            dealer = Dealer("t", view_of(), PARCEL.homes, shards=SHARDS, ahead=Ahead(0, waits=False), labelled=self.labelled)
            dealer.begin(stands, reader.gaps(), reader.place())
            self.forwarders[shard] = dealer, reader
        dealer, reader = self.forwarders[shard]
        polled = reader.poll(count)
        blocks = dealer.deal(polled, reader.gaps(), reader.place(), self.moment, WALL)
        if lose:
            del self.forwarders[shard]
        if lose == "all":
            return bool(blocks)
        for each in blocks:
            for target, block in enumerate(each):
                self.log.put(target, (block, BLOCK, ()))
                if self.chance.random() < 0.2:
                    self.log.put(target, None)  # a marker of a transaction
        if blocks and lose != "standing":
            self.standings[shard] = dealer.standing
            self.log.put(shard, (b"", b"standing", ()))
        return bool(blocks)

    def drain(self) -> None:
        """Forward and read everything."""
        self.moment += 1
        for shard in range(SHARDS):
            while self.forward(shard, 50) or self.forwarders[shard][1].place().offsets.items() - self.topic.ends.items():
                pass  # a poll may have given nothing although there was more
        for engine in (self.whole, *self.shards):
            for _ in range(2_000):
                engine.step(50)
                at = engine.source.place()
                if at.offsets == self.topic.ends and (at.carrier is None or self.at_end(at.carrier)):
                    break
            else:
                raise AssertionError("it comes to no end")
        self.moment += 1  # the leaders answer once more
        for engine in (self.whole, *self.shards):
            engine.step(1)

    def at_end(self, carrier: Place) -> bool:
        """Whether no block lies behind a place in the topic by key."""
        return all(
            row[1] != BLOCK
            for number, at in carrier.offsets.items()
            for offset, row in self.log.rows[number].items()
            if offset >= at
        )


def home_of(world: World, row: Row, partition: int) -> int:
    decoded = view_of().decode(polled_of([(partition, 0, row)]))
    return int(PARCEL.homes(decoded.batch, SHARDS)[0]) if decoded.times.size else partition % SHARDS


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[int, Row | None]]:
    """Draw partitions and records: events, records of no interest, and refused ones, with keys and headers or without."""
    found: list[tuple[int, Row | None]] = []
    at = 0
    for kind in draw(st.lists(st.sampled_from("eeeeeeeoxna-"), min_size=draw(st.sampled_from([0, 40])), max_size=60)):
        partition = draw(st.integers(0, PARTITIONS - 1))
        at += draw(st.integers(0, 2))
        key = draw(st.sampled_from([*range(5), "a", "ä5", "5"]))
        step = draw(st.sampled_from(FUNNEL["steps"]))
        time = 100_000 if kind == "a" else at
        value = json.dumps({"order": key, "type": "other" if kind == "o" else step, "at": time}).encode()
        whole: Row = (
            None if kind == "n" else b"no json" if kind == "x" else value,
            draw(st.sampled_from([None, b"", b"k"])),
            draw(st.sampled_from([(), (("h", None), ("h", b"\xff"))])),
        )
        found.append((partition, None if kind == "-" else whole))
    return found


STEPS: list[Callable[[World, int], object]] = [
    *[World.forward] * 3,
    lambda world, shard: world.forward(shard, lose="all"),
    lambda world, shard: world.forward(shard, lose="standing"),
    lambda world, shard: world.forward(shard, lose="nothing"),
    *[lambda world, shard: world.shards[shard].step(8)] * 4,
    lambda world, shard: world.shards[shard].save(),
    lambda world, shard: world.shards[shard].go_back(),
    lambda world, _: world.whole.step(8),
]
"""What may happen, to one shard. Most of these are a forwarder or a reader that goes on; each may begin anew."""


@given(rows(), st.integers(0, 1 << 30).map(random.Random))
def test_each_record_comes_once_to_the_shard_of_its_key_and_answers_are_those_of_one_process(
    given_rows: list[tuple[int, Row | None]], chance: random.Random
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealing, "_BLOCK_BYTES", 300)
        patch.setattr(by_key, "_HURRY_S", 0.0)
        patch.setattr("tests.views.test_funnel_shards.QUESTIONS", QUESTIONS)
        world = World(chance, labelled=chance.random() < 0.5)
        for partition, row in given_rows:
            world.topic.put(partition, row)
            for step in chance.choices(STEPS, k=chance.randrange(4)):
                step(world, chance.randrange(SHARDS))
        world.drain()
        compare(world, given_rows)


def compare(world: World, given_rows: list[tuple[int, Row | None]]) -> None:
    """Compare the shards with one process that has read the same."""
    whole, shards = world.whole, world.shards

    def shown(seen: Sequence[Any]) -> list[Any]:
        """Return records in one order, without keys and headers if events have none."""
        own = [each if world.labelled else (*each[:3], each[5]) for each in seen]
        return sorted(own, key=lambda each: each[:2])

    assert shown([each for shard in shards for each in shard.seen]) == shown(whole.seen), "once each, unchanged"
    for number, shard in enumerate(shards):
        assert all(home_of(world, (value, key, ()), partition) == number for partition, _, value, key, _, _ in shard.seen)
        for partition in range(PARTITIONS):
            offsets = [each[1] for each in shard.seen if each[0] == partition]
            assert offsets == sorted(offsets), "in the order of the partition"
        assert shard.gaps == []
        assert shard.intake.place.offsets.keys() == set(range(PARTITIONS))
    reports = [engine.intake.report(0.0) for engine in shards]
    right = whole.intake.report(0.0)
    for name in ("records", "events", "other", "ahead"):
        assert sum(getattr(each, name) for each in reports) == getattr(right, name), name

    def letters(dead: list[Dead]) -> list[Any]:
        return sorted((each.partition, each.offset, each.reason, each.value, each.key, tuple(each.headers)) for each in dead)

    assert letters([each for shard in shards for each in shard.dead]) == letters(whole.dead)
    for now in (0.0, 2 * IDLE_S):
        assert {engine.intake.watermark(now) for engine in shards} == {whole.intake.watermark(now)}, "as far in time"
        assert {engine.intake.idle(now) for engine in shards} == {whole.intake.idle(now)}
    assert all(engine.source.caught_up() for engine in shards)
    if right.late or any(each.late for each in reports):
        return  # which events are late depends on how far each partition was read
    clock = whole.intake.watermark(2 * IDLE_S)
    for engine in (whole, *shards):
        engine.slices.close(clock, None)
    if clock is not None:
        alike(whole.slices, [shard.slices for shard in shards], clock, [True] * SHARDS)
    assert world.complaints == []
    assert len(given_rows) >= right.records


def test_a_partition_whose_forwarder_is_absent_holds_the_others_back_although_it_was_idle():
    world = World(random.Random(1))
    for at in range(80):
        world.topic.put(at % PARTITIONS, (b'{"order":%d,"type":"paid","at":%d}' % (at, at // 16), None, ()))
    world.drain()
    world.moment += 1
    for shard in world.shards:
        shard.step(50, 2 * IDLE_S)
        assert shard.intake.watermark(2 * IDLE_S) == 4 - LATENESS
    for number in range(PARTITIONS):
        for key in range(20):
            at = 8 if number in {1, 2} else 2  # behind the others by more than the lateness
            world.topic.put(number, (b'{"order":%d,"type":"paid","at":%d}' % (key, at), None, ()))
    for other in (1, 2):  # the forwarder of partitions 0 and 3 is absent
        world.forward(other, 50)
    for shard in world.shards:
        for _ in range(20):
            shard.step(50, 2 * IDLE_S)
            assert shard.intake.watermark(2 * IDLE_S) == 4 - LATENESS, "partition 0 has come to 4"
        assert shard.intake.watermark(4 * IDLE_S) == 4 - LATENESS
        assert not shard.intake.idle(4 * IDLE_S)
    world.drain()
    assert sum(len(shard.seen) for shard in world.shards) == 160
    for shard in world.shards:
        assert shard.intake.watermark(8 * IDLE_S) == 8 - LATENESS
        assert shard.intake.report(0.0).late == 0


def test_records_that_retention_has_deleted_before_they_were_read_are_a_gap_that_one_shard_counts():
    world = World(random.Random(2))
    for at in range(12):
        world.topic.put(1, (b'{"order":%d,"type":"paid","at":%d}' % (at, at), None, ()))
    world.drain()
    for at in range(10):
        world.topic.put(1, (b'{"order":%d,"type":"paid","at":%d}' % (at, 20 + at), None, ()))
    world.forwarders.clear()
    world.topic.lows[1] = 17
    world.drain()
    gaps = [gap for shard in world.shards for gap in shard.gaps]
    assert sorted((gap.partition, gap.count, gap.reason) for gap in gaps) == [
        (1, 0, "deleted"),
        (1, 0, "deleted"),
        (1, 5, "deleted"),
    ]
    assert sum(len(shard.seen) for shard in world.shards) == 17


def test_a_topic_that_was_created_again_is_refused():
    world = World(random.Random(3))
    world.topic.put(0, (b"x", None, ()))
    world.drain()
    world.topic.identity = "two"
    world.forwarders.clear()
    with pytest.raises(LostError, match="deleted and created again"):
        world.forward(0)
    block = block_bytes(polled_of([]), np.empty(0, np.int64), [], "two")
    world.log.put(0, (block, BLOCK, ()))
    world.shards[0].step(1)
    for _ in range(20):
        world.shards[0].step(8)
    found = world.shards[0].source.trouble()
    assert found is not None
    assert "deleted and created again" in found.reasons[0]


def test_a_record_that_is_no_block_stops_the_shard_with_the_reason():
    world = World(random.Random(4))
    world.log.put(1, (b"anything", BLOCK, ()))
    for _ in range(20):
        world.shards[1].step(8)
    found = world.shards[1].source.trouble()
    assert found is not None
    assert "the record at offset 0 of the topic by key is no block" in found.reasons[0]


def test_a_view_that_fails_at_a_record_sends_this_one_to_the_shard_of_its_partition():
    class Fragile:
        def decode(self, polled: Polled) -> Any:
            if b"bad" in polled.values.listed:
                raise ZeroDivisionError
            return view_of().decode(polled)

    good = [(1, at, (b'{"order":%d,"type":"paid","at":%d}' % (at, at), None, ())) for at in range(6)]
    polled = polled_of([*good[:3], (1, 6, (b"bad", None, ())), *good[3:]])
    dealer = Dealer("t", Fragile(), PARCEL.homes, shards=SHARDS, ahead=Ahead(), labelled=False)  # type: ignore[arg-type]  # its decoder alone
    dealer.begin({}, [], Place({1: 0}))
    (blocks,) = dealer.deal(polled, [], Place({1: 7}), 0.0, WALL)
    for shard, data in enumerate(blocks):
        block = block_of(data)
        assert (6 in block.offsets.tolist()) == (shard == 1)
    assert sum(block_of(data).offsets.size for data in blocks) == 7


def test_a_block_that_was_changed_on_its_way_is_refused():
    polled = polled_of([(0, 0, (b"value of a record", b"key", ()))])
    data = block_bytes(polled, np.arange(1), [], None)
    assert block_of(data).key_of(0) == b"key"
    for place in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"."):
            block_of(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
