"""A new holder of a shard has the files of the newest checkpoint in the topic, whole, and a holder that was fenced off changes none."""

import dataclasses
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec.structs import replace

from actors.durability.copied import CopiedStore
from actors.durability.disk import Disk
from actors.durability.store import number_of
from scripts.service.cluster.checkpoints.copies import ShardCopies, Topic
from scripts.service.cluster.checkpoints.fence import Writer
from scripts.service.cluster.checkpoints.manifest import CLAIM, Manifest, is_manifest
from scripts.service.cluster.checkpoints.topic import ensure_checkpoints
from tests.support.waiting import PATIENCE_S, until

SECRET = b"the secret of this cluster"
STREAM = "words-1234abcd"
SHARD, SHARDS, PIECE = 1, 3, 700


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than the product does. On a busy machine a broker may answer later, and a copy is late then, without a fault."""
    for module in ("fence", "reader"):
        monkeypatch.setattr(f"scripts.service.cluster.checkpoints.{module}._TIMEOUT_S", PATIENCE_S)


@dataclass
class World:
    """A checkpoint topic and the group of its cluster."""

    bootstrap: str
    topic: Topic
    troubles: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    @property
    def kafka(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.bootstrap}

    def held(self) -> Any:
        """Return the metadata of a group without members, which Kafka accepts."""
        with closing(Consumer({**self.kafka, "group.id": self.topic.group})) as consumer:
            return consumer.consumer_group_metadata()

    @contextmanager
    def holder(
        self, folder: Path, claim: Callable[[], Any] | None = None, secret: bytes = SECRET, most_bytes: int = 1 << 20
    ) -> Iterator["Holder"]:
        """Hold the shard with the files in `folder`."""
        topic = Topic(self.topic.name, self.topic.group, PIECE, secret)
        copies = ShardCopies(
            self.kafka,
            topic,
            SHARD,
            7,
            claim or self.held,
            lambda event, **_: self.events.append(event),
            most_bytes=most_bytes,
        )
        store = CopiedStore(folder / STREAM, Disk(), copies.of(STREAM, self.troubles.append))
        try:
            yield Holder(store)
        finally:
            copies.close()

    def records(self) -> list[tuple[bytes, bytes | None]]:
        """Return the committed records of the shard as compaction leaves them: the last one of each key."""
        own = {"group.id": uuid.uuid4().hex, "isolation.level": "read_committed", "enable.partition.eof": True}
        with closing(Consumer({**self.kafka, **own})) as consumer:
            consumer.assign([TopicPartition(self.topic.name, SHARD, 0)])
            found: dict[bytes, bytes | None] = {}
            while True:
                message = consumer.poll(1)
                if message is None:
                    continue
                if message.error() is not None:
                    return [(key, value) for key, value in found.items() if value is not None]
                found[bytes(message.key() or b"")] = message.value()

    def manifest(self) -> Manifest:
        """Return the newest manifest."""
        found = [Manifest.of(SHARD, value or b"", SECRET) for key, value in self.records() if is_manifest(key)]
        return max((each for each in found if each is not None), key=lambda each: each.turn)

    def write(self, key: bytes, value: bytes) -> None:
        """Write one record behind the back of the cluster."""
        producer = Producer(self.kafka)
        producer.produce(self.topic.name, value, key, partition=SHARD)
        assert producer.flush(20) == 0

    def member(self) -> Consumer:
        """Return a consumer that can join the group of the cluster."""
        return Consumer({**self.kafka, "group.id": self.topic.group, "enable.auto.commit": False, "session.timeout.ms": 6_000})


@dataclass
class Holder:
    """A store whose copies are in the topic, with the generations that its next checkpoint names."""

    store: CopiedStore
    named: list[str] = field(default_factory=list)

    def open(self) -> "Holder":
        self.store.open()
        for number in self.store.checkpoints()[:1]:
            self.named = [row[1] for row in self.store.read_checkpoint(number)["aged"]]
        return self

    def keep(self, size: int) -> None:
        """Write a generation of about `size` bytes that no other one equals."""
        content = np.frombuffer(random.randbytes(size), np.uint8)
        self.named.append(self.store.write_generation({"column": content})[0])

    def save(self) -> dict[str, bytes]:
        """Write a checkpoint; return the files that a new holder must have."""
        rows = [[number, name] for number, name in enumerate(self.named)]
        number, _ = self.store.write_checkpoint({"aged": rows, "live": random.randbytes(2_000)})
        names = [*self.named, f"checkpoint-{number:010}.firn"]
        saved = {name: bytes(self.store.content(name)) for name in names}
        self.store.sweep(self.named)
        return saved

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.store.folder.iterdir()}


@pytest.fixture
def world(broker: str) -> World:
    name = f"firnline-{uuid.uuid4().hex[:12]}-checkpoints"
    world = World(broker, Topic(name, f"{name}-group", PIECE, SECRET))
    assert ensure_checkpoints(world.kafka, name, SHARDS) > 100_000
    with pytest.raises(ValueError, match=r"cluster\.checkpoints"):
        ensure_checkpoints(world.kafka, name, SHARDS + 1)
    return world


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)])
def test_each_new_holder_has_the_newest_checkpoint_and_the_topic_has_two(world: World, tmp_path: Path, seed: int):
    random.seed(seed)
    saved: dict[str, bytes] = {}
    for lease in range(4):
        with world.holder(tmp_path / str(lease), most_bytes=random.choice([1_000, 1 << 20])) as holder:
            holder.open()
            assert holder.files == saved
            names = {number_of(name) for name in saved}
            for _ in range(random.randrange(1, 4)):
                for _ in range(random.randrange(3)):
                    holder.keep(random.randrange(1, 5 * PIECE))
                if holder.named and random.random() < 0.5:
                    holder.named.pop(0)
                saved = holder.save()
            assert max(filter(None, map(number_of, saved))) not in names, "a number is used twice"
        held = world.manifest()
        assert {part.name for part in held.parts if part.newest} == saved.keys()
        assert {key for key, _ in world.records() if key != CLAIM and not is_manifest(key)} == {
            key for part in held.parts for key in part.keys
        }
    assert world.troubles == []
    with world.holder(tmp_path / "3") as holder:  # the last one again, with its own files
        holder.open()
        assert saved.items() <= holder.files.items()
    assert world.events[-1] == "checkpoint is here"
    forgotten = dataclasses.replace(world, topic=dataclasses.replace(world.topic, group=uuid.uuid4().hex))
    with forgotten.holder(
        tmp_path / "4"
    ) as holder:  # Kafka forgets the offset of a group that nothing has committed for a week
        assert holder.open().files == saved


@pytest.mark.parametrize(
    ("checkpoints", "harm", "seen"),
    [
        (1, {"sha256": "0" * 64}, "the checkpoint before is taken"),
        pytest.param(1, {"nbytes": 5}, "the checkpoint before is taken", marks=pytest.mark.long),
        (2, {"at": 1}, "all records are read again"),
        pytest.param(2, {"name": "../generation-0000000001.firn"}, "all records are read again", marks=pytest.mark.long),
    ],
    ids=["bytes", "length", "place", "name"],
)
def test_a_checkpoint_that_is_not_whole_is_replaced_by_the_one_before_or_by_reading_again(
    world: World, tmp_path: Path, checkpoints: int, harm: dict[str, Any], seen: str
):
    with world.holder(tmp_path / "a") as holder:
        holder.open().keep(3 * PIECE)
        before = holder.save()
        holder.keep(3 * PIECE)
        holder.save()
    held = world.manifest()
    harmed = {max(part.name for part in parts) for parts in held.of_stream(STREAM)[:checkpoints]}
    parts = tuple(replace(part, **harm) if part.name in harmed else part for part in held.parts)
    key, value = Manifest(SHARD, 8, held.turn + 1, parts).record(SECRET)
    world.write(key, value)
    with world.holder(tmp_path / "b") as holder:
        holder.open()
        assert holder.files == (before if checkpoints == 1 else {})
        assert seen in world.troubles[-1]
        assert len(world.troubles) == checkpoints
        holder.keep(10)
        saved = holder.save()
    assert not (tmp_path / "b" / "generation-0000000001.firn").exists()
    with world.holder(tmp_path / "c") as holder:
        assert holder.open().files == saved


def test_taking_a_checkpoint_is_seen_in_the_log_and_ends_when_the_shard_does(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with world.holder(tmp_path / "a") as holder:
        holder.open().keep(3 * PIECE)
        saved = holder.save()
    monkeypatch.setattr("scripts.service.cluster.checkpoints.copies._SHOWN_S", -1.0)  # each piece is shown
    closing: list[ShardCopies] = []

    def close(event: str, **_: Any) -> None:
        if event == "checkpoint is read from the topic":
            closing[0].close()

    copies = ShardCopies(world.kafka, world.topic, SHARD, 8, world.held, close)
    closing.append(copies)
    store = CopiedStore(tmp_path / "b" / STREAM, Disk(), copies.of(STREAM, world.troubles.append))
    with pytest.raises(OSError, match="ends"):
        store.open()
    assert list(store.folder.iterdir()) == []
    with world.holder(tmp_path / "b") as holder:
        assert holder.open().files == saved
    assert world.events.count("checkpoint is read from the topic") > len(saved)
    assert world.troubles == []


def test_a_manifest_without_the_proof_of_the_cluster_does_not_count(world: World, tmp_path: Path):
    with world.holder(tmp_path / "a") as holder:
        holder.open().keep(PIECE)
        saved = holder.save()
    with world.holder(tmp_path / "b", secret=SECRET[::-1]) as holder:
        assert holder.open().files == {}
    assert world.events[-1] == "checkpoint not trusted"
    with world.holder(tmp_path / "c") as holder:
        assert holder.open().files == saved


def test_what_a_process_was_writing_when_it_was_killed_is_ended_by_the_next_holder(world: World, tmp_path: Path):
    with world.holder(tmp_path / "a") as holder:
        holder.open().keep(PIECE)
        saved = holder.save()
    killed = Writer(world.kafka, world.topic.name, SHARD, world.held, lambda: False)
    killed.begin()
    killed.write(f"{STREAM}/generation-0000000009.firn/0".encode(), b"a piece")
    killed.flush()
    began = time.monotonic()
    with world.holder(tmp_path / "b") as holder:
        assert holder.open().files == saved
    assert time.monotonic() - began < 60, "the open transaction would last 300 s"
    with pytest.raises(OSError, match="commit"):
        killed.commit(0)
    assert not [key for key, _ in world.records() if b"0000000009" in key]


def test_a_copy_that_fails_costs_no_checkpoint_and_the_next_one_has_all(world: World, tmp_path: Path):
    claims = [world.held()]
    with world.holder(tmp_path / "a", claim=lambda: claims[-1]) as holder:
        holder.open().keep(PIECE)
        copied = holder.save()
        claims.append(None)
        holder.keep(PIECE)
        saved = holder.save()
        assert saved.items() <= holder.files.items()
        assert {part.name for part in world.manifest().parts if part.newest} == copied.keys()
        assert "not in the checkpoint topic" in world.troubles[-1]
        assert holder.store.copy_problem == world.troubles[-1]
        claims.pop()
        saved = holder.save()
        assert len(world.troubles) == 1
        assert holder.store.copy_problem is None
    with world.holder(tmp_path / "b") as holder:
        assert holder.open().files == saved


def test_a_copy_during_which_the_group_gets_a_new_generation_is_written_again(world: World, tmp_path: Path):
    one, two = world.member(), world.member()
    try:
        one.subscribe([world.topic.name])
        until(lambda: one.poll(0.1) is not None or one.assignment())
        claims = [one.consumer_group_metadata()]
        with world.holder(tmp_path / "a", claim=lambda: claims.pop() if len(claims) > 1 else claims[0]) as holder:
            holder.open().keep(PIECE)
            two.subscribe([world.topic.name])

            def joined() -> bool:
                one.poll(0.1)
                two.poll(0.1)
                return bool(one.assignment() and two.assignment())

            until(joined)
            claims = [one.consumer_group_metadata(), claims[0]]
            saved = holder.save()
            assert len(claims) == 1, "the first commit was by the old generation"
            assert world.troubles == []
            assert {part.name for part in world.manifest().parts if part.newest} == saved.keys()
        with world.holder(tmp_path / "b") as holder:
            assert holder.open().files == saved
    finally:
        one.close()
        two.close()


def test_a_holder_whose_group_has_moved_on_changes_nothing_and_the_new_one_goes_on(world: World, tmp_path: Path):
    one, two = world.member(), world.member()
    try:
        one.subscribe([world.topic.name])
        until(lambda: one.poll(0.1) is not None or one.assignment())
        frozen = one.consumer_group_metadata()
        with world.holder(tmp_path / "a", claim=lambda: frozen) as old:
            old.open().keep(PIECE)
            saved = old.save()
            one.close()
            two.subscribe([world.topic.name])
            until(lambda: two.poll(0.1) is not None or two.assignment())
            with world.holder(tmp_path / "b", claim=two.consumer_group_metadata) as new:
                assert new.open().files == saved
                old.save()  # its producer is fenced off by the new holder
                assert "fenced by a newer instance" in world.troubles[-1]
                assert {part.name for part in world.manifest().parts if part.newest} == saved.keys()
                old.save()  # it connects again, and so fences off the new holder; its generation is refused
                assert len(world.troubles) == 2
                assert "commit: " in world.troubles[-1]
                new.save()
                assert len(world.troubles) == 3
                saved = new.save()
                assert len(world.troubles) == 3
        with world.holder(tmp_path / "c", claim=two.consumer_group_metadata) as last:
            assert last.open().files == saved
        with world.holder(tmp_path / "d", claim=lambda: None) as lost, pytest.raises(OSError, match="moved to another process"):
            lost.open()
    finally:
        two.close()
