"""Peers: other programs that follow orders from step to step, as users write it for them, and the counts of ClickHouse.

A peer is no requirement of the project. In an environment of its own: `pip install -r requirements.txt` and the peer, such as
`bytewax==0.21.1`, `quixstreams==3.28.1` or `chdb==4.4.0`; Kafka Streams comes by Maven. Fill a topic with
`scripts/bench.py --view orders`, and run
`python -m scripts.lab.measure.peers quix HOST:PORT TOPIC RECORDS` beside it. `levels` needs no broker.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import psutil
import typer

from actors.columns.text import Text
from actors.records.form import Form, TimeAt
from actors.timeline.span import EVER
from actors.views.funnel.arguments import Listing
from actors.views.funnel.decode import Keyed
from actors.views.funnel.view import FunnelView
from scripts.lab.measure.rivals import WITHIN_S, Order

app = typer.Typer(add_completion=False)
_READ_AT_ONCE = 10_000
_STEPS = {"order_created": 0, "payment_ok": 1, "parcel_out": 2}
_WITHIN_MS = 60_000
_WIDE_MS = 50_000
"""Of made events: most steps follow within this time."""

_JARS = (
    ("org.apache.kafka", "kafka-streams", "4.1.0"),
    ("com.fasterxml.jackson.core", "jackson-databind", "2.19.0"),
    ("org.slf4j", "slf4j-nop", "1.7.36"),
)
"""Kafka Streams, a parser of JSON, and silence."""

_BATCH = 12_000
_SHOWN = 3

Bootstrap = Annotated[str, typer.Argument(help="HOST:PORT of the broker.")]
Topic = Annotated[str, typer.Argument(help="The topic with orders.")]
Records = Annotated[int, typer.Argument(help="The number of records in it.")]

_Reached = tuple[int, float]
"""The number of steps that an order has, and the time of the first one."""

Event = tuple[int, int]
"""A time and a step."""


def keyed(value: bytes, decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)) -> tuple[str, tuple[str, float]]:
    """Return the key, the type and the time of a record."""
    order = decoder.decode(value)
    return order.id, (order.type, order.meta.ts.timestamp())


def stepped(reached: _Reached | None, event: tuple[str, float]) -> tuple[_Reached | None, list[float]]:
    """Take an event of one order. Returns what it has reached, and its duration if it is complete."""
    number, time_of = _STEPS.get(event[0]), event[1]
    if number == 0:
        return (1, time_of), []
    if reached is None or number != reached[0]:
        return reached, []
    if number == 1:
        return (2, reached[1]), []
    return None, [time_of - reached[1]] if time_of - reached[1] <= WITHIN_S else []


def measured(records: int, work: Callable[[], int]) -> None:
    """Run `work`, which returns how many orders are complete, and print the figures."""
    began, used = time.perf_counter(), time.process_time()
    complete = work()
    figures = {
        "per_s": records / (time.perf_counter() - began),
        "cpu_us_a_record": (time.process_time() - used) / records * 1e6,
        "complete": complete,
        "rss_bytes": psutil.Process().memory_info().rss,
    }
    print(json.dumps(figures))


def missing(peer: str) -> None:
    """End with the command that installs a peer."""
    sys.exit(f"peers: {peer.partition('=')[0]} is not installed: pip install {peer}")


@app.command()
def bytewax(bootstrap: Bootstrap, topic: Topic, records: Records) -> None:
    """Follow the orders with Bytewax, with keyed state in memory, and print the figures."""
    try:
        import bytewax.operators as op  # noqa: PLC0415  # a peer
        from bytewax.connectors.kafka import KafkaSource  # noqa: PLC0415
        from bytewax.dataflow import Dataflow  # noqa: PLC0415
        from bytewax.outputs import DynamicSink, StatelessSinkPartition  # noqa: PLC0415
        from bytewax.testing import run_main  # noqa: PLC0415
    except ImportError:
        missing("bytewax==0.21.1")
    complete = 0

    class Counting(StatelessSinkPartition):  # type: ignore[misc]  # a base without types
        def write_batch(self, items: list[Any]) -> None:
            nonlocal complete
            complete += len(items)

    class Count(DynamicSink):  # type: ignore[misc]
        def build(self, step_id: str, worker_index: int, worker_count: int) -> Counting:  # noqa: ARG002  # its interface
            return Counting()

    flow = Dataflow("orders")
    read = op.input("in", flow, KafkaSource([bootstrap], [topic], tail=False, batch_size=_READ_AT_ONCE))
    events = op.map("decode", read, lambda message: keyed(message.value))
    op.output("out", op.stateful_flat_map("steps", events, stepped), Count())

    def work() -> int:
        run_main(flow)
        return complete

    measured(records, work)


@app.command()
def quix(bootstrap: Bootstrap, topic: Topic, records: Records) -> None:
    """Follow the orders with Quix Streams, and print the figures. State is in RocksDB, by the key of an order.

    The records have no key in Kafka, and `group_by` would write them to Kafka once more. So the state is that of a stream
    without a key, which the key of an order is a part of: less work than users have.
    """
    try:
        from quixstreams import Application, State  # noqa: PLC0415  # a peer
    except ImportError:
        missing("quixstreams==3.28.1")
    complete = 0

    def follow(value: bytes, state: State) -> None:
        nonlocal complete
        key, event = keyed(value)
        before = state.get(key)
        reached, done = stepped(None if before is None else (before[0], before[1]), event)
        complete += len(done)
        if reached is None:
            if before is not None:
                state.delete(key)
        elif before is None or tuple(before) != reached:
            state.set(key, reached)

    with tempfile.TemporaryDirectory() as folder:
        own = Application(
            broker_address=bootstrap,
            consumer_group=f"peer-{uuid.uuid4().hex[:12]}",
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="ERROR",
            use_changelog_topics=False,
        )
        source = own.topic(topic, value_deserializer="bytes", key_deserializer="bytes")
        own.dataframe(source).update(follow, stateful=True)

        def work() -> int:
            own.run(count=records, timeout=60.0)
            return complete

        measured(records, work)


@app.command()
def streams(
    bootstrap: Bootstrap,
    topic: Topic,
    records: Records,
    state: Annotated[Literal["memory", "rocksdb"], typer.Option(help="Where the state of orders is.")] = "memory",
) -> None:
    """Follow the orders with Kafka Streams, and print the figures. Needs a JDK, and Maven for its packages.

    As with Quix Streams, the state is that of a stream without a key, and has no changelog.
    """
    with tempfile.TemporaryDirectory() as folder:
        jars = Path(folder) / "jars"
        pom = Path(folder) / "pom.xml"
        dependencies = "".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
            for group, name, version in _JARS
        )
        pom.write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>peer</groupId>'
            f"<artifactId>peer</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}"
            "</dependencies></project>"
        )
        java, maven = shutil.which("javac"), shutil.which("mvn")
        if java is None or maven is None:
            sys.exit("peers: a JDK and Maven are needed")
        fetch = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        subprocess.run(fetch, check=True)
        program = Path(__file__).with_name("KafkaStreamsOrders.java")
        words = [bootstrap, topic, str(records), state, f"{folder}/state"]
        subprocess.run([Path(java).with_name("java"), "-cp", f"{jars}/*", str(program), *words], check=True)


def made(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return numbers of keys, times and steps of about `count` events: orders, one in ten of which lapses, and walks.

    Of a walk, steps come in any order, some twice, and some at equal times.
    """
    random = np.random.default_rng(7)
    orders = count * 9 // 30
    keys = np.repeat(np.arange(orders), 3)
    gaps = random.integers(1, _WIDE_MS // 2, (orders, 3))
    gaps[:, 0] = 10 * np.arange(orders)
    gaps[random.random(orders) < 0.1, 2] += 2 * _WITHIN_MS
    times = np.cumsum(gaps, axis=1).ravel()
    walks = count - keys.size
    own = orders + random.integers(0, max(1, walks // 6), walks)
    at = 10 * (own - orders) + 1_000 * random.integers(0, 2 * _WITHIN_MS // 1_000, walks)
    steps = np.concatenate((np.tile(np.arange(3), orders), random.integers(0, 3, walks)))
    keys, times = np.concatenate((keys, own)), np.concatenate((times, at)) + 1_700_000_000_000
    order = np.argsort(times, kind="stable")
    return keys[order], times[order], steps[order].astype(np.int8)


def ours(keys: list[bytes], times: Any, steps: Any) -> dict[bytes, int]:
    """Return the level of each key: the most steps that one of its sequences has; 0 without a sequence."""
    form = Form({"step": "/type", "key": "/id"}, TimeAt("/at", "ms"))
    view = FunnelView(steps=tuple(_STEPS), within=_WITHIN_MS, record=form, max_sequences=1 << 62)
    live = view.open(None)
    for low in range(0, len(keys), _BATCH):
        text, own = Text.of(keys[low : low + _BATCH]), slice(low, low + _BATCH)
        live.add(Keyed(text, text.hashes(), times[own], steps[own]), int(times[own][0]))
    levels: dict[bytes, int] = {}
    for part in live.read(EVER, Listing()):
        rows = part.piece.rows()
        reached = np.where(rows.times[0] >= 0, (rows.times >= 0).sum(axis=0), 0).tolist()
        for key, level in zip(rows.keys.take(np.arange(rows.size)), reached, strict=True):
            levels[key] = max(level, levels.get(key, 0))
    return levels


@app.command()
def levels(events: Annotated[int, typer.Argument(help="The number of events.")] = 3_000_000) -> None:
    """Compare the level of each key with `windowFunnel` of ClickHouse over the same rows, and print where and why they differ.

    Prints the CPU seconds of both: ClickHouse with reading the file, and on the loaded table.
    """
    try:
        from chdb import session  # noqa: PLC0415  # a peer
    except ImportError:
        missing("chdb==4.4.0")
    numbers, times, steps = made(events)
    keys = [b"key-%032d" % number for number in numbers.tolist()]
    used = time.process_time()
    mine = ours(keys, times, steps)
    figures: dict[str, Any] = {"events": len(keys), "keys": len(mine), "our_cpu_s": time.process_time() - used}
    funnel = f"windowFunnel({_WITHIN_MS})(time, step = 0, step = 1, step = 2)"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.csv"
        with path.open("wb") as file:
            for row in zip(keys, times.tolist(), steps.tolist(), strict=True):
                file.write(b"%s,%d,%d\n" % row)
        other = session.Session(f"{folder}/chdb")
        source = f"file('{path}', CSV, 'key String, time UInt64, step UInt8')"
        select = (
            f"select level, count() from (select key, {funnel} as level from {{}} group by key) group by level order by level"  # noqa: S608  # no input
        )
        used = time.process_time()
        other.query(select.format(source), "CSV")
        figures["their_cpu_s_with_the_file"] = time.process_time() - used
        other.query("create database d engine = Atomic")
        other.query(f"create table d.events engine = Memory as select * from {source}")  # noqa: S608
        used = time.process_time()
        figures["their_counts"] = str(other.query(select.format("d.events"), "CSV")).split()
        figures["their_cpu_s"] = time.process_time() - used
        rows = str(other.query(f"select key, {funnel} from d.events group by key", "TSV")).splitlines()  # noqa: S608
        other.close()
    theirs = {key.encode(): int(level) for key, level in (row.split("\t") for row in rows)}
    figures["our_counts"] = [f"{level},{count}" for level, count in sorted(Counter(mine.values()).items())]
    differing = [key for key in theirs if theirs[key] != mine[key]]
    own: dict[bytes, list[Event]] = defaultdict(list)
    wanted = set(differing)
    for key, at, step in zip(keys, times.tolist(), steps.tolist(), strict=True):
        if key in wanted:
            own[key].append((at, step))
    figures["differing"] = dict(Counter(reason(own[key]) for key in differing))
    figures["examples"] = [shown(own[key], theirs[key], mine[key]) for key in differing[:_SHOWN]]
    figures["rss_bytes"] = psutil.Process().memory_info().rss
    print(json.dumps(figures, indent=2))


def reason(events: list[Event]) -> str:
    """Return a property of the events of a key that may explain a difference."""
    at: Mapping[int, int] = Counter(time_of for time_of, _ in set(events))
    return "several steps at one time" if max(at.values()) > 1 else "another"


def shown(events: list[Event], theirs: int, mine: int) -> str:
    """Return the events of a key, their level and ours."""
    ordered = sorted(events)
    return f"{[(time_of - ordered[0][0], step) for time_of, step in ordered]}: theirs {theirs}, ours {mine}"


if __name__ == "__main__":
    app()
