"""The topic of the generations of a matcher, on a real broker: what is written, read, refused, and no longer there."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from actors.cluster.shelves.messages import Put, Reached
from actors.views.sets.arguments import Page
from actors.views.sets.parcel import matcher, shelf_of
from actors.views.sets.parcel.slips import NamedSets
from actors.views.sets.view import SetsView
from scripts.service.cluster.checkpoints.copies import Topic
from scripts.service.cluster.generations import outbox as module
from scripts.service.cluster.generations.outbox import Outbox
from scripts.service.cluster.generations.shelf import ShelfReader
from scripts.service.cluster.generations.topic import ensure_generations
from tests.support.batches import batch
from tests.support.waiting import until

SECRET = b"the secret of this cluster"
SHARDS, PIECE = 3, 900
VIEW = SetsView(steps="abc", max_sets=4)


class Inbox:
    """The address of a shelf, which keeps what is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, message: Any) -> None:
        self.told.append(message)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.told if isinstance(each, Put)]


@dataclass
class World:
    """A topic of generations, and the group of its cluster."""

    bootstrap: str
    topic: Topic
    troubles: list[str] = field(default_factory=list)

    @property
    def kafka(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.bootstrap}

    def held(self) -> Any:
        """Return the metadata of a group without members, which Kafka accepts."""
        with closing(Consumer({**self.kafka, "group.id": self.topic.group})) as consumer:
            return consumer.consumer_group_metadata()

    @contextmanager
    def outbox(self, claim: Callable[[], Any] | None = None, secret: bytes = SECRET) -> Iterator[Outbox]:
        topic = Topic(self.topic.name, self.topic.group, PIECE, secret)
        made = Outbox(
            self.kafka,
            topic,
            claim or self.held,
            shelf_of=partial(shelf_of, shards=SHARDS),
            log=lambda *_, **__: None,
            complain=self.troubles.append,
        )
        made.start()
        try:
            yield made
        finally:
            made.close()
            made._thread.join()

    @contextmanager
    def shelf(self, shard: int) -> Iterator[tuple[Inbox, ShelfReader]]:
        inbox = Inbox()
        reader = ShelfReader(self.kafka, self.topic, shard, VIEW, inbox, self.troubles.append)  # type: ignore[arg-type]
        reader.start()
        try:
            yield inbox, reader
        finally:
            reader.stop()

    def read(self, shard: int) -> Inbox:
        """Return what a shelf has read when it has reached the end."""
        with self.shelf(shard) as (inbox, reader):
            until(lambda: reader.caught_up_at() is not None, timeout_s=60)
        return inbox


@pytest.fixture
def world(broker: str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "_PATIENCE_S", 600.0)  # a slow broker is no trouble here
    name = f"generations-{uuid.uuid4().hex}"
    ensure_generations({"bootstrap.servers": broker}, name, SHARDS, None)
    return World(broker, Topic(name, f"{name}-leases", PIECE, SECRET))


def generations(count: int, outbox: Any) -> list[NamedSets]:
    """Return frozen slices of four sets."""
    view = matcher(VIEW, outbox)
    live, found = view.open(None), []
    for number in range(count):
        live.add(batch([(100 * number + 10 * at + step, step) for at in range(4) for step in range(3)]), None)
        frozen, carry = live.freeze()
        while frozen.settle():
            pass
        found.append(frozen)
        live = view.open(carry)
    assert all(isinstance(each, NamedSets) for each in found)
    return found  # type: ignore[return-value]  # see the line before


def test_each_shelf_reads_its_generations_and_the_matcher_may_forget_them(world: World):
    with world.outbox() as outbox, world.shelf(1) as (first, _):
        made = generations(5, outbox)
        for number, each in enumerate(made):
            assert not outbox.has(f"f{number}")
            outbox.take(f"f{number}", each.state())
            assert outbox.comes(f"f{number}") or outbox.has(f"f{number}")
        until(lambda: all(outbox.has(f"f{number}") for number in range(5)), timeout_s=60)
        assert not outbox.comes("f0")
        until(lambda: len(first.names) == 3, timeout_s=60)
        assert first.names == [made[at].name for at in (0, 2, 4)]
        second = world.read(2)
        assert second.names == [made[1].name, made[3].name]
        put = next(each for each in second.told if isinstance(each, Put))
        assert (put.number, put.at) == (1, outbox.place_of(made[1].name))
        before = made[1].read(made[1].meta().span, Page())  # type: ignore[arg-type]  # it has sets
        assert [piece.count for piece in put.frozen.read(made[1].meta().span, Page())] == [piece.count for piece in before]
        reached = [each for each in second.told if isinstance(each, Reached)]
        assert reached[-1].until > put.at
        made[1].coarsen()
        assert made[1].read(made[1].meta().span, Page())[0].name == made[1].name  # type: ignore[arg-type]
        made[1].coarsen()  # a second time changes nothing
    assert not world.troubles


def test_a_new_matcher_knows_what_is_there_and_writes_it_no_second_time(world: World):
    with world.outbox() as outbox:
        made = generations(3, outbox)
        for number, each in enumerate(made[:2]):
            outbox.take(f"f{number}", each.state())
        until(lambda: outbox.has("f0") and outbox.has("f1"), timeout_s=60)
    with world.outbox() as other:
        for number, each in enumerate(made):
            other.take(f"f{number}", each.state())
        until(lambda: other.has("f2"), timeout_s=60)
        assert other.has("f0")
        assert other.place_of(made[0].name) == outbox.place_of(made[0].name)
    assert [name for shard in (1, 2) for name in world.read(shard).names] == [made[0].name, made[2].name, made[1].name]


def test_a_matcher_that_has_lost_its_shard_publishes_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
    with world.outbox(lambda: None) as outbox:
        (made,) = generations(1, outbox)
        outbox.take("f0", made.state())
        until(lambda: world.troubles, timeout_s=60)
        assert "moved to another process" in world.troubles[0]
        assert not outbox.has("f0")
        assert not outbox.comes("f0")
        made.coarsen()
        assert made.state()["slip"] is None
    assert not world.read(1).names


def test_a_matcher_that_was_frozen_publishes_nothing_beside_its_replacement(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_AGAIN_S", 5.0)
    group = {**world.kafka, "group.id": world.topic.group, "session.timeout.ms": 6_000}
    one, two = Consumer(group), Consumer(group)
    try:
        one.subscribe([world.topic.name])
        until(lambda: one.poll(0.1) is not None or one.assignment(), timeout_s=60)
        frozen = one.consumer_group_metadata()
        with world.outbox(lambda: frozen) as old:
            made = generations(3, old)
            old.take("f0", made[0].state())
            until(lambda: old.has("f0"), timeout_s=60)
            one.close()
            two.subscribe([world.topic.name])
            until(lambda: two.poll(0.1) is not None or two.assignment(), timeout_s=60)
            old.take("f1", made[1].state())
            with world.outbox(two.consumer_group_metadata) as new:
                new.take("f2", made[2].state())
                until(lambda: new.has("f2"), timeout_s=120)
            assert not old.has("f1")
    finally:
        two.close()
    assert world.read(1).names == [made[0].name, made[2].name]
    assert not world.read(2).names


def test_records_of_others_and_parts_of_generations_are_not_taken(world: World):
    with world.outbox(secret=b"another secret of this") as outbox:
        (made,) = generations(1, outbox)
        outbox.take("f0", made.state())
        until(lambda: outbox.has("f0"), timeout_s=60)
    assert not world.read(1).names
    assert "no process with the secret" in world.troubles[0]
    world.troubles.clear()
    with world.outbox() as outbox:
        outbox.take("f0", made.state())
        until(lambda: outbox.has("f0"), timeout_s=60)
        at = outbox.place_of(made.name)
    assert at is not None
    with closing(Consumer({**world.kafka, "group.id": "any", "isolation.level": "read_committed"})) as consumer:
        consumer.assign([TopicPartition(world.topic.name, 1, at)])
        entry = until(lambda: consumer.poll(1), timeout_s=60)
    producer = Producer(world.kafka)
    producer.produce(world.topic.name, entry.value(), entry.key(), partition=1)  # its pieces are not before it
    producer.flush(10)
    assert world.read(1).names == [made.name]
    assert "cannot be read from the topic" in world.troubles[-1]


def test_what_the_topic_has_no_longer_is_gone_for_the_matcher_and_its_shelf(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.1)
    with world.outbox() as outbox:
        made = generations(3, outbox)
        for number, each in enumerate(made):
            outbox.take(f"f{number}", each.state())
        until(lambda: all(outbox.has(f"f{number}") for number in range(3)), timeout_s=60)
        made[0].coarsen()
        outbox.take("slip", made[0].state())
        at = outbox.place_of(made[0].name)
        assert at is not None
        assert not outbox.gone("slip")
        admin = AdminClient(world.kafka)
        place = TopicPartition(world.topic.name, 1, at + 1)
        admin.delete_records([place])[TopicPartition(world.topic.name, 1)].result(20)
        until(lambda: outbox.gone("slip"), timeout_s=60)
        assert not outbox.has("f0")
        assert outbox.has("f1")
        assert outbox.has("f2")
        outbox.forget(["slip"])
        assert not outbox.gone("slip")
    first = world.read(1)
    assert first.names == [made[2].name]
    assert next(each for each in first.told if isinstance(each, Reached)).since == at + 1


def test_a_topic_with_other_shards_is_refused(world: World):
    with pytest.raises(ValueError, match="expected 4 partitions"):
        ensure_generations(world.kafka, world.topic.name, 4, None)
