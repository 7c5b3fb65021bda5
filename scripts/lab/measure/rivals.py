"""The rivals of the views: each does the same work in the usual way, in a process of its own, and prints its figures.

The benchmark runs it as `python -m scripts.lab.measure.rivals NAME BOOTSTRAP TOPIC RECORDS`.
"""

import heapq
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import psutil
import typer
from confluent_kafka import Consumer, Message, TopicPartition

from actors.sources.kafka.source import TUNING
from scripts.brokers.process import free_port

app = typer.Typer(add_completion=False)
_IDS_AT_ONCE = 5_000
_READ_AT_ONCE = 5_000
WITHIN_S = 60.0


class Frame(msgspec.Struct):
    """The members that a frame must have."""

    ts: float
    uid: str


class Meta(msgspec.Struct):
    """The member `meta` of an order's event."""

    ts: datetime


class Order(msgspec.Struct):
    """The members that an order's event must have."""

    id: str
    type: str
    meta: Meta


class User(msgspec.Struct):
    """The member `user` of a click."""

    id: str


class Click(msgspec.Struct):
    """The members that a click must have."""

    created_at: datetime
    user: User


def polls(bootstrap: str, topic: str, records: int) -> Iterator[list[Message]]:
    """Yield the polls of a tuned consumer until `records` records have come."""
    consumer = Consumer({**TUNING, "enable.partition.eof": False, "bootstrap.servers": bootstrap, "group.id": "rival"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    came = 0
    while came < records:
        messages = consumer.consume(_READ_AT_ONCE, 1.0)
        came += len(messages)
        yield messages
    consumer.close()


def timed(work: Callable[[], int]) -> None:
    """Run `work`, which returns a count, and print the figures."""
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    count = work()
    seconds = time.perf_counter() - began
    print(json.dumps({"per_s": count / seconds, "rss_bytes": psutil.Process().memory_info().rss, "before_bytes": before}))


@app.command()
def floor(bootstrap: str, topic: str, records: int) -> None:
    """Read the records, and do nothing else."""
    batches = polls(bootstrap, topic, records)
    first = len(next(batches))
    timed(lambda: sum(map(len, batches)) + first)


@app.command()
def redis(bootstrap: str, topic: str, records: int) -> None:
    """Read all ids, then put them into a sorted set of Redis, 5,000 a command, and time its top ten."""
    from redis import Redis  # noqa: PLC0415  # a rival's client
    from redis.backoff import ConstantBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    if shutil.which("redis-server") is None:
        sys.exit("rivals: redis-server is not installed")
    values = [message.value() or b"" for messages in polls(bootstrap, topic, records) for message in messages]
    pairs = [value.rpartition(b"_")[::2] for value in values]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = Redis(port=port, retry=Retry(ConstantBackoff(0.02), 500))  # the server needs some time to start
            before = client.info("memory")["used_memory"]
            began = time.perf_counter()
            for low in range(0, len(pairs), _IDS_AT_ONCE):
                client.zadd("top", {name: int(value) for name, value in pairs[low : low + _IDS_AT_ONCE]})
            seconds = time.perf_counter() - began
            times = []
            for _ in range(300):
                asked = time.perf_counter()
                client.zrevrange("top", 0, 9)
                times.append((time.perf_counter() - asked) * 1000)
            count = client.zcard("top")
            memory = client.info("memory")["used_memory"] - before
        finally:
            server.terminate()
            server.wait()
    figures = {"per_s": len(pairs) / seconds, "bytes_an_id": memory / count, "top_ms": sorted(times)[len(times) // 2]}
    print(json.dumps(figures))


@app.command()
def uniques(bootstrap: str, topic: str, records: int) -> None:
    """Parse with msgspec, and keep Python sets of users by minute and by longer periods."""
    decoder = msgspec.json.Decoder(Frame)
    batches = polls(bootstrap, topic, records)

    def work() -> int:
        users: dict[tuple[int, int], set[str]] = defaultdict(set)
        count = 0
        for messages in batches:
            for message in messages:
                count += 1
                try:
                    frame = decoder.decode(message.value() or b"")
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
                users[0, int(frame.ts) // 60].add(frame.uid)
        for (_, minute), names in list(users.items()):
            users[1, minute // 60] |= names
        return count

    timed(work)


@app.command()
def clicks(bootstrap: str, topic: str, records: int) -> None:
    """Parse with msgspec, and keep Python sets of users by minute."""
    decoder = msgspec.json.Decoder(Click)
    batches = polls(bootstrap, topic, records)

    def work() -> int:
        users: dict[int, set[str]] = defaultdict(set)
        count = 0
        for messages in batches:
            for message in messages:
                count += 1
                click = decoder.decode(message.value() or b"")
                users[int(click.created_at.timestamp()) // 60].add(click.user.id)
        return count

    timed(work)


@app.command()
def orders(bootstrap: str, topic: str, records: int) -> None:
    """Parse with msgspec, and take each order from step to step in a dict. It gives up what comes out of order."""
    decoder = msgspec.json.Decoder(Order)

    def decode(value: bytes) -> tuple[str, str, float]:
        order = decoder.decode(value)
        return order.id, order.type, order.meta.ts.timestamp()

    _follow(bootstrap, topic, records, decode)


@app.command()
def avro(bootstrap: str, topic: str, records: int) -> None:
    """Do the same with orders as Avro, by fastavro."""
    import fastavro  # noqa: PLC0415  # an extra

    from scripts.lab.encoded import AVRO  # noqa: PLC0415  # it imports this file

    schema = fastavro.parse_schema(AVRO)

    def decode(value: bytes) -> tuple[str, str, float]:
        order: Any = fastavro.schemaless_reader(BytesIO(value), schema, None)
        return order["id"], order["type"], order["ts"] / 1_000

    _follow(bootstrap, topic, records, decode)


@app.command()
def protobuf(bootstrap: str, topic: str, records: int) -> None:
    """Do the same with orders as Protobuf, by its own classes."""
    from google.protobuf import message_factory  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra

    from scripts.lab.encoded import descriptors  # noqa: PLC0415  # it imports this file

    message = message_factory.GetMessages(list(descriptors().file))["Order"]

    def decode(value: bytes) -> tuple[str, str, float]:
        order: Any = message.FromString(value)
        return order.id, order.type, order.ts / 1_000

    _follow(bootstrap, topic, records, decode)


def _follow(bootstrap: str, topic: str, records: int, decode: Callable[[bytes], tuple[str, str, float]]) -> None:
    batches = polls(bootstrap, topic, records)

    def work() -> int:
        waiting: tuple[dict[str, float], dict[str, float]] = ({}, {})
        complete = count = 0
        for messages in batches:
            for message in messages:
                count += 1
                key, kind, time_of = decode(message.value() or b"")
                if kind == "order_created":
                    waiting[0][key] = time_of
                elif kind == "payment_ok" and (created := waiting[0].pop(key, None)) is not None:
                    waiting[1][key] = created
                elif kind == "parcel_out" and (created := waiting[1].pop(key, None)) is not None:
                    complete += time_of - created <= WITHIN_S
        if not complete:
            raise ValueError(f"topic {topic} has no complete order")
        return count

    timed(work)


@app.command()
def words(bootstrap: str, topic: str, records: int) -> None:
    """Parse with json, and count by second."""
    batches = polls(bootstrap, topic, records)

    def work() -> int:
        types: dict[int, Counter[str]] = defaultdict(Counter)
        names: dict[int, Counter[str]] = defaultdict(Counter)
        count = 0
        for messages in batches:
            for message in messages:
                count += 1
                try:
                    event = json.loads(message.value() or b"")
                    types[event["timestamp"]][event["event_type"]] += 1
                    names[event["timestamp"]].update(event["data"].split())
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
        return count

    timed(work)


@app.command()
def segments(bootstrap: str, topic: str, records: int) -> None:
    """Run one consumer thread for each partition, with json, and merge each whole batch by heapq.merge."""
    lock = threading.Lock()
    pending: dict[int, dict[int, list[int]]] = defaultdict(dict)
    left = [records]

    def merge(file: Any, batch: dict[int, list[int]]) -> None:
        file.write(", ".join(map(str, heapq.merge(*batch.values()))) + "\n")

    def read(number: int, file: Any) -> None:
        consumer = Consumer({**TUNING, "enable.partition.eof": False, "bootstrap.servers": bootstrap, "group.id": "rival"})
        consumer.assign([TopicPartition(topic, number, 0)])
        while left[0] > 0:
            for message in consumer.consume(500, 0.1):
                segment = json.loads(message.value() or b"")
                with lock:
                    left[0] -= 1
                    batch = pending[segment["batch_id"]]
                    batch[segment["segment_id"]] = segment["data"]
                    if len(batch) == 10:
                        merge(file, pending.pop(segment["batch_id"]))
        consumer.close()

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output.txt").open("w") as file:
            threads = [threading.Thread(target=read, args=(number, file)) for number in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return records

    timed(work)


if __name__ == "__main__":
    app()
