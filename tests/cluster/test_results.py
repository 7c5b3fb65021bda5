"""One process of a cluster publishes the rows of all shards, each once, whoever is killed or frozen."""

import copy
import json
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.cluster.test_cluster import PARTITIONS, SECRET, SHARDS, created
from tests.conftest import Send
from tests.support.service import Service, service
from tests.support.sinks import committed_values
from tests.support.waiting import until

ROUNDS = int(os.environ.get("FIRNLINE_TEST_ROUNDS", "5"))
NOON = 1_468_238_400
Frame = tuple[int, str]


def frames_of(chance: random.Random, start: int, minutes: int, each: int) -> list[Frame]:
    """Return frames of some minutes, in order of time."""
    return sorted(
        (NOON + 60 * (start + at // each) + chance.randrange(60), f"u{chance.randrange(40)}") for at in range(minutes * each)
    )


def written(frames: Sequence[Frame]) -> list[bytes]:
    return [json.dumps({"ts": second, "uid": user}).encode() for second, user in frames]


def truth(frames: Sequence[Frame], seconds: int) -> dict[int, tuple[int, int]]:
    """Return users and frames of each period, by start."""
    users: dict[int, set[str]] = {}
    counts: dict[int, int] = {}
    for second, user in frames:
        start = second - second % seconds
        users.setdefault(start, set()).add(user)
        counts[start] = counts.get(start, 0) + 1
    return {start: (len(users[start]), counts[start]) for start in users}


class Stream:
    """A topic of frames, and the topic of the results."""

    def __init__(self, bootstrap: str, send: Send, folder: Path) -> None:
        self.bootstrap, self.send = bootstrap, send
        self.frames, self.name = created(bootstrap, PARTITIONS), f"c{uuid.uuid4().hex[:12]}"
        self.output = created(bootstrap, 1)
        self.sent: list[Frame] = []
        self.data = folder / "data"

    def put(self, frames: Sequence[Frame]) -> None:
        chance = random.Random(len(self.sent))
        self.sent += frames
        self.send(self.bootstrap, self.frames, written(frames), [chance.randrange(PARTITIONS) for _ in frames])

    def process(self, *, alone: bool = False) -> AbstractContextManager[Service]:
        """Run a process of the cluster, or one `alone` without a cluster."""
        file = self.data.with_suffix(".yaml")
        file.write_text(
            "streams: {uniques: {view: uniques, idle_ms: 200, granularities: [minute, hour], source: {topic: x}, "
            f"output: {{topic: {self.output}}}}}}}\n"
        )
        own = () if alone else (f"cluster.name={self.name}", f"cluster.shards={SHARDS}")
        return service(
            self.bootstrap,
            self.frames,
            *own,
            f"data_dir={self.data}",
            "checkpoint.every_ms=500",
            stream="uniques",
            also=("--config", str(file)),
            FIRNLINE_CLUSTER_SECRET=SECRET,
        )

    @classmethod
    def beside(cls, other: "Stream") -> "Stream":
        """Return the same topic of frames with another topic of results."""
        made = copy.copy(other)
        made.output = created(other.bootstrap, 1)
        made.data = other.data.with_suffix(".alone")
        return made

    def end(self) -> int:
        """Return the end of the topic of the results, with what is not committed."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "t", "isolation.level": "read_uncommitted"})
        _, end = consumer.get_watermark_offsets(TopicPartition(self.output, 0), timeout=10)
        consumer.close()
        return int(end)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that readers of committed records see. No period has a revision twice, or one left out."""
        rows = [json.loads(line) for line in committed_values(self.bootstrap, self.output)]
        last: dict[tuple[str, int], int] = {}
        for row in rows:
            key = row["granularity"], row["start"]
            assert row["revision"] == last.get(key, 0) + 1, (key, row["revision"], last.get(key))
            last[key] = row["revision"]
        return rows

    def newest(self, granularity: str) -> dict[int, tuple[int, int]]:
        return {row["start"]: (row["unique"], row["frames"]) for row in self.rows() if row["granularity"] == granularity}

    def complete(self) -> bool:
        return self.newest("minute") == truth(self.sent, 60) and self.newest("hour") == truth(self.sent, 3_600)

    def settle(self) -> None:
        until(self.complete, timeout_s=90)


@pytest.fixture
def stream(broker: str, send: Send, tmp_path: Path) -> Stream:
    return Stream(broker, send, tmp_path)


def spread(processes: Sequence[Service]) -> None:
    """Wait until each process has a shard."""

    def look() -> bool:
        shards = [each.get("/streams/uniques")["shards"] for each in processes]
        return all({shard["state"] for shard in own} == {"here", "elsewhere"} for own in shards)

    until(look, timeout_s=60)


def publisher(processes: Sequence[Service]) -> Service:
    """Return the process that has shard 0."""

    def look() -> list[Service]:
        return [each for each in processes if each.get("/streams/uniques")["shards"][0]["state"] == "here"]

    return until(look, timeout_s=60)[0]


def test_the_rows_of_all_shards_come_once_and_late_frames_correct_them(stream: Stream):
    chance = random.Random(1)
    stream.put(frames_of(chance, 0, 5, 40))
    with stream.process():
        stream.settle()
        stream.put(frames_of(chance, 5, 2, 40))
        stream.put(frames_of(chance, 1, 1, 5))
        stream.settle()
    check_revisions(stream)


def check_revisions(stream: Stream) -> None:
    """The second minute has late frames, and its neighbours have not."""
    last = {row["start"]: row["revision"] for row in stream.rows() if row["granularity"] == "minute"}
    assert [last[NOON + 60 * minute] for minute in range(4)] == [1, 2, 1, 1]


@pytest.mark.long
def test_one_process_publishes_for_all_and_another_one_goes_on(stream: Stream):
    chance = random.Random(1)
    stream.put(frames_of(chance, 0, 5, 80))
    with stream.process() as one:
        stream.settle()
        with stream.process() as other:
            until(lambda: any(each["state"] == "here" for each in other.get("/streams/uniques")["shards"]), timeout_s=60)
            assert one.stop()[0] == 0
            stream.put(frames_of(chance, 5, 4, 80))
            stream.put(frames_of(chance, 1, 1, 5))
            stream.settle()
            assert other.stop()[0] == 0
    check_revisions(stream)


def values(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the last row of each period, without its revision, and whether it was final."""
    return {(row["granularity"], row["start"]): {**row, "revision": None, "final": None} for row in rows}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1))
def test_kills_and_freezes_of_the_process_that_publishes_repeat_and_lose_no_row(stream: Stream, seed: int):
    chance, minute = random.Random(seed), 0
    took: dict[str, list[float]] = {"kill": [], "freeze": []}
    with ExitStack() as around:
        running = [around.enter_context(stream.process()) for _ in range(2)]
        for number in range(ROUNDS):
            spread(running)
            victim = publisher(running)
            known = stream.end()
            count = chance.choice([20, 3_000])
            stream.put(frames_of(chance, minute, count, 2))
            stream.put(frames_of(chance, chance.randrange(minute + 1), 1, 3))
            minute += count
            if chance.random() < 0.7:
                until(lambda: stream.end() > known, timeout_s=60)  # noqa: B023  # called at once
            time.sleep(chance.random() / 5)  # in the middle of whatever it does then
            kind, began = chance.choice(["kill", "freeze"]), time.monotonic()
            victim.process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
            if kind == "kill":
                running.remove(victim)
                running.append(around.enter_context(stream.process()))
            stream.settle()
            took[kind].append(round(time.monotonic() - began, 1))
            victim.process.send_signal(signal.SIGCONT)
            sys.stdout.write(f"{number} {kind} {took[kind][-1]} s, {len(stream.rows())} rows\n")
        stream.put(frames_of(chance, minute, 3, 50))
        stream.settle()
        whole = stream.rows()
    alone = Stream.beside(stream)
    with alone.process(alone=True):
        until(lambda: values(alone.rows()) == values(whole), timeout_s=90)
    sys.stdout.write(f"complete after {took} s; {len(whole)} rows\n")
