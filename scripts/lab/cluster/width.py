"""What a question costs by the number of shards that are asked: processor time at the asking process, and at the other.

`python -m scripts.lab.cluster.width --shards 6 --shards 48`. Two processes share a stream of words. The asking one is
drained, so all shards are at the other. What both take at rest is taken off.
"""

import http.client
import json
import os
import secrets
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from confluent_kafka import Producer

from scripts.brokers.process import free_port
from scripts.lab.measure.runs import Client, measuring, service
from scripts.lab.topics import temporary_topics
from scripts.lab.waiting import until

_BEGIN = 1_700_000_000
PATIENCE_S = 300.0
_PATHS = ("/words/CountByEventType", "/words/CountWords?limit=10")
_REST_S = 5.0


def width(
    shards: Annotated[list[int], typer.Option(help="Shards of a cluster; may be repeated.")],
    records: Annotated[int, typer.Option(help="Records of the topic.")] = 24_000,
    questions: Annotated[int, typer.Option(help="Questions of each kind.")] = 40,
    bootstrap: Annotated[str | None, typer.Option(help="A broker; by default one is started.")] = None,
) -> None:
    """Measure questions to clusters of different numbers of shards."""
    os.environ["FIRNLINE_CLUSTER_SECRET"] = secrets.token_hex(16)
    topic = f"width-{uuid.uuid4().hex[:8]}"
    with measuring("width", bootstrap) as broker, temporary_topics(broker, {topic: max(shards)}):
        send(broker, topic, max(shards), records)
        for count in shards:
            with tempfile.TemporaryDirectory() as folder:
                _ask(broker, topic, count, records, questions, Path(folder))


def _ask(bootstrap: str, topic: str, count: int, records: int, questions: int, folder: Path) -> None:
    own = ("streams.words.view=words", f"cluster.name=width{uuid.uuid4().hex[:8]}", f"cluster.shards={count}")
    given: Any = ("words", bootstrap, topic, "1GiB", *own)
    config, port = "../deploy/cluster/three", free_port()
    with (
        service(*given, data_dir=folder / "holder", config=config) as (holder, _),
        service(*given, data_dir=folder / "asker", config=config, port=port) as (asker, client),
    ):
        _drain(port)
        until(lambda: _whole(client, records), PATIENCE_S, "all shards at the other process")
        for path in _PATHS:
            for _ in range(5):
                client.get(path)
            began, before, took = time.monotonic(), (cpu_s(asker), cpu_s(holder)), list[float]()
            for _ in range(questions):
                at = time.monotonic()
                client.get(path)
                took.append(time.monotonic() - at)
            asking_s, after = time.monotonic() - began, (cpu_s(asker), cpu_s(holder))
            time.sleep(_REST_S)
            rest = (cpu_s(asker), cpu_s(holder))
            found = [
                (after[each] - before[each] - (rest[each] - after[each]) / _REST_S * asking_s) / questions * 1_000
                for each in range(2)
            ]
            print(
                f"{count} shards, {path}: asker {found[0]:.1f} ms, holder {found[1]:.1f} ms of processor time a question, "
                f"p50 {statistics.median(took) * 1_000:.0f} ms; holder {holder.memory_info().rss >> 20} MiB, "
                f"{holder.num_threads()} threads",
                flush=True,
            )


def _drain(port: int) -> None:
    """Have the process at a port give its shards back. Raises OSError if it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("POST", "/cluster/drain")
    if connection.getresponse().status != http.client.OK:
        raise OSError("the process does not drain")
    connection.close()


def _whole(client: Client, records: int) -> bool:
    """Whether the asking process has no shard, and answers for all records."""
    counted = client.get("/words/CountByEventType?detail=1")
    whole = "absent" not in counted["coverage"] and sum(counted["counts"].values()) == records
    return whole and not client.get("/cluster/member")["has"]


def send(bootstrap: str, topic: str, partitions: int, count: int) -> None:
    """Write records with 309 words to all partitions by turns, 20 in a second of event time."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for at in range(count):
        event = {"event_type": "abc"[at % 3], "data": f"word{at * 2_654_435_761 % 309}", "timestamp": _BEGIN + at / 20}
        producer.produce(topic, json.dumps(event), partition=at % partitions)
    producer.flush()


def cpu_s(process: psutil.Process) -> float:
    """Return the seconds of processor time that a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    typer.run(width)
