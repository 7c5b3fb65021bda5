"""Processes without a common folder: a shard that moves takes its state from the checkpoint topic, and nothing is lost or wrong."""

import itertools
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.cluster.test_cluster import PARTITIONS, QUESTIONS, SHARDS, Cluster, absent, cluster, lines, shown, spread, whole
from tests.conftest import Send
from tests.support.service import Service
from tests.support.waiting import until

__all__ = ["cluster"]

TAKEN = "checkpoint taken from the topic"


@dataclass
class Apart(Cluster):
    """A cluster whose processes have a folder of their own each, and a checkpoint topic."""

    folders: Iterator[int] = field(default_factory=itertools.count)

    @property
    def checkpoints(self) -> str:
        return f"firnline-{self.name}-checkpoints"

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap})

    @contextmanager
    def process(self, *more: str, **options: Any) -> Iterator[Service]:
        """Run one more process, in a folder that no other one has, unless `more` names one."""
        own = f"data_dir={self.data / str(next(self.folders))}"
        with super().process(own, "cluster.checkpoints=topic", *more, **options) as running:
            yield running

    def ends(self, level: IsolationLevel) -> dict[int, int]:
        """Return where each partition of the checkpoint topic ends, with or without what is not committed."""
        asked = {TopicPartition(self.checkpoints, shard): OffsetSpec.latest() for shard in range(SHARDS)}
        found = self.admin.list_offsets(asked, isolation_level=level)
        return {place.partition: answer.result().offset for place, answer in found.items()}

    def writing(self) -> bool:
        """Whether a process is in the middle of a transaction in the checkpoint topic."""
        after = self.ends(IsolationLevel.READ_COMMITTED)
        return any(end > after[shard] for shard, end in self.ends(IsolationLevel.READ_UNCOMMITTED).items())

    def delete(self) -> None:
        """Have Kafka delete every record of the streams."""
        for topic in (self.topic, self.frames, self.ids, self.paid):
            places = [TopicPartition(topic, number, -1) for number in range(PARTITIONS)]
            for answer in self.admin.delete_records(places).values():
                answer.result(20)


def alike(alone: Service, processes: Sequence[Service]) -> None:
    """Wait until each process answers as the one that is alone. The revision of a period depends on the order of reading."""

    def seen(each: Service, question: str) -> tuple[Any, ...]:
        status, kept, body = shown(each, question)
        return status, kept, re.sub(rb'"revision":[0-9]+', b"", body)

    for question, each in itertools.product(QUESTIONS, processes):
        if "hour&format=csv" not in question:  # it has the revision too
            until(lambda: seen(each, question) == seen(alone, question))  # noqa: B023  # called at once


@pytest.fixture
def apart(cluster: Cluster) -> Apart:
    return Apart(**{each.name: getattr(cluster, each.name) for each in fields(cluster)})


def test_a_shard_that_moves_is_taken_from_the_topic_although_kafka_has_no_record_any_more(apart: Apart):
    with ExitStack() as around:
        alone = around.enter_context(apart.alone())
        one = around.enter_context(apart.process())
        whole([alone, one], 6_000)
        alike(alone, [one])
        two = around.enter_context(apart.process())
        spread([one, two])
        whole([one, two], 6_000)
        apart.delete()
        code, printed = one.stop()
        assert code == 0, printed
        assert "not in the checkpoint topic" not in printed, "a shard that was given back was copied too"
        whole([two], 6_000)
        alike(alone, [two])
        code, printed = two.stop()
        assert printed.count(TAKEN) >= SHARDS, printed
        assert "not in the checkpoint topic" not in printed


@pytest.mark.long
def test_a_process_that_is_killed_while_it_writes_or_takes_a_checkpoint_loses_nothing(apart: Apart, send: Send):
    with ExitStack() as around:
        alone = around.enter_context(apart.alone())
        running = [around.enter_context(apart.process()) for _ in range(2)]
        whole([alone, *running], 6_000)
        sent = 6_000
        for number in range(2):
            spread(running)
            records = lines(2_000, number)
            send(apart.bootstrap, apart.topic, records, [at % PARTITIONS for at in range(2_000)])
            sent += 2_000
            until(apart.writing)
            running[0].process.send_signal(signal.SIGKILL)
            running[0].process.wait()
            whole(running[1:], sent)
            folder = apart.data / f"killed-{number}"
            with apart.process(f"data_dir={folder}") as killed:
                until(lambda: [*folder.rglob("*.firn.tmp"), *folder.rglob("*.firn")])  # noqa: B023  # called at once
                killed.process.send_signal(signal.SIGKILL)
                killed.process.wait()
            running = [running[1], around.enter_context(apart.process(f"data_dir={folder}"))]
            whole([alone, *running], sent)
            alike(alone, running)


@pytest.mark.long
def test_a_process_that_is_frozen_while_it_writes_a_checkpoint_and_wakes_beside_its_replacement_changes_nothing(
    apart: Apart, send: Send
):
    with ExitStack() as around:
        alone = around.enter_context(apart.alone())
        running = [around.enter_context(apart.process()) for _ in range(2)]
        whole([alone, *running], 6_000)
        sent = 6_000
        for number in range(2):
            spread(running)
            frozen, other = running[number % 2], running[1 - number % 2]
            records = lines(2_000, number)
            send(apart.bootstrap, apart.topic, records, [at % PARTITIONS for at in range(2_000)])
            sent += 2_000
            until(apart.writing)
            frozen.process.send_signal(signal.SIGSTOP)
            until(lambda: absent(other))  # noqa: B023  # called at once
            whole([other], sent)
            send(apart.bootstrap, apart.topic, lines(500, 7), [at % PARTITIONS for at in range(500)])
            sent += 500
            whole([alone, other], sent)
            frozen.process.send_signal(signal.SIGCONT)
            whole(running, sent)
            alike(alone, running)
        apart.delete()
        assert running[0].stop()[0] == 0
        whole(running[1:], sent)
        alike(alone, running[1:])
