"""What it costs to keep a shard's checkpoints in a topic, and how fast another process has the shard: by topic, folder, replay.

`python -m scripts.lab.cluster.moving --records 1000000`. One shard with a stream of words and one of uniques, each with half
of the records. Times are from the start of the new process until it answers for all records. Processor time is that of all
threads.
"""

import json
import os
import secrets
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from confluent_kafka import Consumer, Producer, TopicPartition

from scripts.lab.measure.runs import Client, measuring, service
from scripts.lab.topics import temporary_topics
from scripts.lab.waiting import until

_PARTITIONS = 4
_BEGIN = 1_700_000_000
_EVENTS_A_SECOND = 500
_PATIENCE_S = 1_800.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """A cluster of one shard over two topics of `half` records each."""

    bootstrap: str
    name: str
    words: str
    uniques: str
    half: int

    @contextmanager
    def process(self, folder: Path, checkpoints: str, every_ms: int = 5_000) -> Iterator[tuple[psutil.Process, Client]]:
        """Run a process of the cluster."""
        with service(
            "words",
            self.bootstrap,
            self.words,
            "2GiB",
            "streams.words.view=words",
            "streams.uniques.view=uniques",
            f"streams.uniques.source.topic={self.uniques}",
            f"cluster.name={self.name}",
            "cluster.shards=1",
            f"cluster.checkpoints={checkpoints}",
            f"checkpoint.every_ms={every_ms}",
            data_dir=folder,
            config="../deploy/cluster/three",
            others=["uniques"],
        ) as running:
            yield running

    def whole(self, client: Client, more: int = 0) -> bool:
        """Whether the process answers for all records."""
        counted = client.get("/words/CountByEventType?detail=1")
        seen = client.get("/uniques?granularity=year&coverage=1")
        return (
            "absent" not in counted["coverage"]
            and sum(counted["counts"].values()) == self.half + more
            and "absent" not in seen["coverage"]
            and sum(year["frames"] for year in seen["uniques"]) == self.half + more
        )

    def newest(self) -> dict[str, Any]:
        """Return the newest manifest in the topic."""
        own = {"bootstrap.servers": self.bootstrap, "group.id": uuid.uuid4().hex, "enable.partition.eof": True}
        consumer = Consumer({**own, "isolation.level": "read_committed"})
        found: dict[str, Any] = {}
        try:
            consumer.assign([TopicPartition(f"firnline-{self.name}-checkpoints", 0, 0)])
            while True:
                message = consumer.poll(10)
                if message is None:
                    raise OSError("the topic gives no record")
                if message.error() is not None:
                    return found
                if (message.key() or b"").startswith(b"manifest"):
                    found = json.loads(message.value() or b"")["manifest"]
        finally:
            consumer.close()


def moving(
    records: Annotated[int, typer.Option(help="Records, half of them words and half uniques.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(help="Moves of each kind; the medians are shown.")] = 3,
    checkpoints: Annotated[int, typer.Option(help="Checkpoints whose cost is measured.")] = 200,
    bootstrap: Annotated[str | None, typer.Option(help="A broker; by default one is started.")] = None,
    logs: Annotated[Path | None, typer.Option(help="The folder of the broker's logs, to measure the topic there.")] = None,
) -> None:
    """Measure what a checkpoint topic costs, and how fast a shard moves."""
    os.environ["FIRNLINE_CLUSTER_SECRET"] = secrets.token_hex(16)
    names = [f"moving-{uuid.uuid4().hex[:8]}-{kind}" for kind in ("words", "uniques")]
    with (
        measuring("moving", bootstrap) as broker,
        temporary_topics(broker, dict.fromkeys(names, _PARTITIONS)),
        tempfile.TemporaryDirectory() as folder,
    ):
        setting = Setting(broker, f"moving{uuid.uuid4().hex[:8]}", names[0], names[1], records // 2)
        _send(setting, 0, setting.half)
        _fill(setting, Path(folder))
        _moves(setting, Path(folder), rounds)
        _costs(setting, Path(folder), checkpoints, logs)


def _fill(setting: Setting, folder: Path) -> None:
    """Read all records once with a checkpoint topic."""
    with setting.process(folder / "first", "topic") as (process, client):
        until(lambda: setting.whole(client), _PATIENCE_S, "all records")
        print(f"read: {_cpu_s(process):.1f} s of processor time", flush=True)
    manifest = setting.newest()
    newest = [part for part in manifest["parts"] if part["newest"]]
    print(f"topic: {manifest['turn']} checkpoints; state {sum(part['nbytes'] for part in newest) / _MIB:.1f} MiB", flush=True)
    for part in newest:
        print(f"  {part['stream']}/{part['name']}: {part['nbytes'] / _MIB:.2f} MiB", flush=True)


def _moves(setting: Setting, folder: Path, rounds: int) -> None:
    """Have a new process take the shard, by turns in each way."""
    took: dict[str, list[tuple[float, float]]] = {"topic": [], "folder": [], "replay": []}
    for number in range(rounds):
        for kind, seen in took.items():
            own = folder / f"{kind}-{number}"
            if kind == "folder":
                shutil.copytree(folder / "first", own)
            began = time.monotonic()
            with setting.process(own, "topic" if kind == "topic" else "folder") as (process, client):
                until(lambda: setting.whole(client), _PATIENCE_S, "the shard")
                seen.append((time.monotonic() - began, _cpu_s(process)))
            shutil.rmtree(own)
    for kind, seen in took.items():
        wall, cpu = (statistics.median(each) for each in zip(*seen, strict=True))
        print(f"{kind}: whole after {wall:.1f} s, {cpu:.1f} s of processor time, {seen}", flush=True)


def _costs(setting: Setting, folder: Path, checkpoints: int, logs: Path | None) -> None:
    """Write many checkpoints while few records come, by a topic and by a folder."""
    more = 0
    for kind in ("topic", "folder"):
        before = setting.newest()["turn"]
        with setting.process(folder / "first", kind, every_ms=500) as (process, client):
            until(lambda: setting.whole(client, more), _PATIENCE_S, "the shard")  # noqa: B023  # called at once
            cpu_s, began = _cpu_s(process), time.monotonic()
            for number in range(checkpoints // 2):  # two streams
                _send(setting, setting.half + more, 10)
                more += 10
                time.sleep(max(0.0, began + 0.55 * (number + 1) - time.monotonic()))
            cpu_s = _cpu_s(process) - cpu_s
        count = setting.newest()["turn"] - before
        print(
            f"{kind}: {cpu_s:.2f} s of processor time in {time.monotonic() - began:.0f} s, {count} checkpoints in the topic",
            flush=True,
        )
        for place in logs.glob(f"firnline-{setting.name}-checkpoints-0") if logs is not None else ():
            held = sum(path.stat().st_size for path in place.iterdir())
            print(f"{place.name}: {held / _MIB:.1f} MiB on the broker's disk", flush=True)


def _send(setting: Setting, start: int, count: int) -> None:
    """Write `count` records to each topic: 20,000 words, 100,000 users, 500 records a second of event time."""
    producer = Producer({"bootstrap.servers": setting.bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for at in range(start, start + count):
        spread = at * 2_654_435_761 % (1 << 32)
        event = b'{"event_type":"%d","data":"word%d word%d","timestamp":%d.%d}' % (
            at % 7,
            spread % 20_000,
            spread % 301,
            _BEGIN + at // _EVENTS_A_SECOND,
            at % 10,
        )
        frame = b'{"ts":%d,"uid":"user%d"}' % (_BEGIN + at // _EVENTS_A_SECOND, spread % 100_000)
        for topic, value in ((setting.words, event), (setting.uniques, frame)):
            while True:
                try:
                    producer.produce(topic, value, partition=at % _PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.1)
        if at % 1_000 == 0:
            producer.poll(0)
    producer.flush()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    typer.run(moving)
