"""The actor that publishes for all shards: nothing while a shard is absent, each row once whatever fails, nothing without a lease."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.cluster import issuing
from actors.cluster.issuing import Issuer
from actors.cluster.parcels import parcel_of
from actors.messages import Delayed
from actors.protocol import Busy
from actors.replies import Answer, Coverage, Query
from actors.runtime.actor import Actor, System, start
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.timeline.span import EVER
from actors.views.uniques.arguments import Counts
from actors.views.uniques.view import UniquesView
from tests.support.polled import polled
from tests.support.waiting import until

NOON = 1_468_238_400


class Book:
    """An outlet in memory. `fails` has the errors of the next calls to `write`; a true value is raised after the write."""

    def __init__(self) -> None:
        self.rows: list[tuple[bytes, bytes]] = []
        self.epoch: int | None = 1
        self.begun: list[int] = []
        self.fails: list[bool] = []

    def lease(self) -> int | None:
        return self.epoch

    def begin(self, epoch: int, take: Callable[[bytes], None]) -> None:
        self.begun.append(epoch)
        for line in dict(self.rows).values():
            take(line)

    def write(self, lines: Sequence[tuple[bytes, bytes]]) -> None:
        assert self.begun[-1] == self.epoch
        written = self.fails.pop() if self.fails else None
        if written is not False:
            self.rows += lines
        if written is not None:
            raise OSError("Kafka does not answer")

    def close(self) -> None:
        pass

    def seen(self, granularity: str = "minute") -> list[tuple[int, int, int]]:
        found = [json.loads(line) for _, line in self.rows]
        return [(row["start"] - NOON, row["frames"], row["revision"]) for row in found if row["granularity"] == granularity]


@dataclass
class World:
    """One shard, what the gatherer says of the others, and how often it was asked. A shard that `flips` is absent at every other look."""

    view: UniquesView = field(default_factory=lambda: UniquesView(granularities=("minute",)))
    absent: tuple[str, ...] = ()
    busy: bool = False
    flips: bool = False
    passed: int = NOON
    looks: int = 0
    counts: int = 0
    fail_at: int = 0
    problems: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.live = self.view.open(None)

    def put(self, *seconds: int) -> None:
        values = [json.dumps({"ts": NOON + second, "uid": f"u{second}"}).encode() for second in seconds]
        with self.lock:
            self.live.add(self.view.decode(polled(values)).batch, None)

    def answer(self, query: Query) -> Answer | Busy:
        self.looks += 1
        if self.busy:
            return Busy("the gatherer is busy")
        with self.lock:
            own = self.live.read(EVER, query.arguments)
        joined: Any = parcel_of("uniques").joined(
            self.view,
            [own],
            until=self.passed * 1_000,
            idle=False,
            clock=None,
            span=EVER,
            arguments=query.arguments,
        )
        if self.looks == self.fail_at:
            joined = "no look"
        self.counts += isinstance(query.arguments, Counts)
        flipped = self.flips and isinstance(query.arguments, Counts) and self.counts % 2
        absent = ("u 3",) if flipped else self.absent
        return Answer(self.view, joined, query.span, query.arguments, Coverage(None, None, None, (), absent))


class Gatherer(Actor[Query | Delayed]):
    """Answers by the world, and notes the problems that the issuer reports."""

    def __init__(self, system: System, *, world: World) -> None:
        super().__init__(system, stream="u")
        self._world = world

    def receive(self, message: Query | Delayed) -> None:
        if isinstance(message, Delayed):
            self._world.problems.append(message.problem)
            return
        assert not message.counts
        message.reply_to(self._world.answer(message))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def book(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    monkeypatch.setattr(issuing, "_LOOK_S", 0.01)
    monkeypatch.setattr(issuing, "_SHARE", 1)
    system, book = System(Dispatcher()), Book()
    system.guardian = start(Guardian, system, log=lambda *_, **__: None)
    gatherer = start(Gatherer, system, world=world)
    issuer = start(
        Issuer, system, stream="u", name="uniques", view=world.view, gatherer=gatherer, outlet=book, on_trouble=lambda _: None
    )
    yield book
    issuer.stop()
    gatherer.stop()
    system.dispatcher.close()


def looked(world: World, times: int = 6) -> None:
    """Wait for some more looks."""
    target = world.looks + times
    until(lambda: world.looks >= target)


def test_nothing_is_published_while_a_shard_is_absent_and_all_of_it_once_it_is_back(world: World, book: Book):
    world.absent = ("u 1",)
    world.put(1, 2, 61)
    world.passed = NOON + 60
    looked(world)
    world.busy = True
    looked(world)
    assert book.rows == []
    world.busy, world.absent, world.flips = False, (), True
    looked(world)
    assert book.rows == [], "a shard that is back is looked at twice"
    world.flips = False
    until(lambda: book.seen() == [(0, 2, 1)])
    world.absent = ("u 2",)
    looked(world)
    world.passed = NOON + 120
    looked(world)
    assert book.seen() == [(0, 2, 1)]
    world.absent = ()
    until(lambda: book.seen() == [(0, 2, 1), (60, 1, 1)])


def test_a_write_that_fails_is_decided_anew_by_what_readers_see(world: World, book: Book):
    book.fails = [True, False, False]
    world.put(1, 2)
    world.passed = NOON + 60
    until(lambda: not book.fails)
    looked(world)
    assert book.seen() == [(0, 2, 1)], "the third write came, although its outcome was unknown"
    assert book.begun == [1] * 4
    assert world.problems == ["Kafka does not answer", None], "reported once, and withdrawn after a look at what readers see"
    world.fail_at = world.looks + 3
    looked(world, 10)
    world.put(3, 61)
    world.passed = NOON + 120
    until(lambda: len(book.seen()) == 3)
    assert book.seen() == [(0, 2, 1), (0, 3, 2), (60, 1, 1)]


def test_a_process_publishes_by_its_lease_and_reads_what_another_one_has_published(world: World, book: Book):
    book.epoch = None
    world.put(1)
    world.passed = NOON + 60
    assert (world.looks, book.begun) == (0, [])
    book.epoch = 3
    until(lambda: book.seen() == [(0, 1, 1)])
    book.epoch, book.fails = None, [False]
    world.put(2, 61)
    book.rows.append((b"minute/%d" % NOON, b'{"granularity":"minute","start":%d,"frames":2,"final":true,"revision":2}' % NOON))
    world.passed = NOON + 120
    book.epoch = 5
    until(lambda: len(book.seen()) == 3)
    looked(world)
    assert book.seen() == [(0, 1, 1), (0, 2, 2), (60, 1, 1)]
    assert book.begun == [3, 5, 5]
    assert world.problems == ["Kafka does not answer", None]
