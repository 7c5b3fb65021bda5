"""Measure Firnline against the speed at which Kafka can be read at all, in one run, and print the table of the README.

By turns: a bare tuned `consume()` loop (the floor), and the real service from its first record to its last set. Then queries
over HTTP from this process, at rest and during full-speed ingestion. Ratios count; the machine is named beside them.
"""

import contextlib
import http.client
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from actors.source import TUNING
from actors.timeline.batch import Batch
from actors.views.sets.slices import LiveSets
from scripts.broker import real_broker

ROOT = Path(__file__).resolve().parent.parent
START_MS = 1_685_695_916_000
_STEP_MS = 30
"""Event time between two sets of the patterns `steady` and `shuffled`."""

_PARTITIONS = 3
_PATIENCE_S = 1_800.0

app = typer.Typer(add_completion=False)
console = Console(stderr=True)


@dataclass(slots=True)
class Run:
    """One run of the service over the whole topic."""

    rate: float
    sets: int
    bound: int
    peak_rss: int
    bytes_a_set: float
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    loaded_ms: dict[str, list[float]] = field(default_factory=dict)
    rest_ms: dict[str, list[float]] = field(default_factory=dict)


class Client:
    """One kept-alive HTTP connection to the service."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> Any:
        """Return the JSON of `path`."""
        self._connection.request("GET", path)
        return json.loads(self._connection.getresponse().read())

    def timed(self, path: str) -> float:
        """Return how many milliseconds the whole answer to `path` took."""
        began = time.perf_counter()
        self._connection.request("GET", path)
        self._connection.getresponse().read()
        return (time.perf_counter() - began) * 1000


# The floor -----------------------------------------------------------------------------------------------------------


@app.command(hidden=True)
def floor(bootstrap: str, topic: str, events: int) -> None:
    """Read the topic with nothing but a tuned consume loop; prints records a second."""
    consumer = Consumer({**TUNING, "enable.partition.eof": False, "bootstrap.servers": bootstrap, "group.id": "f"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(_PARTITIONS)])
    count, began = 0, 0.0
    while count < events:
        count += len(consumer.consume(5_000, 1.0))
        began = began or time.perf_counter()
    print(json.dumps(events / (time.perf_counter() - began)))
    consumer.close()


def floor_rate(bootstrap: str, topic: str, events: int) -> float:
    """Run the floor in a process of its own."""
    command = [sys.executable, __file__, "floor", bootstrap, topic, str(events)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_S).stdout))


# The product ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def service(bootstrap: str, topic: str, budget: str) -> Iterator[tuple[psutil.Process, int]]:
    """Run the real service; yields its process and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = [f"http.port={port}", f"kafka.bootstrap.servers={bootstrap}", f"streams.events.source.topic={topic}"]
    settings.append(f"memory.budget={budget}")
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), *(word for each in settings for word in ("--set", each))]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        yield psutil.Process(child.pid), port
    finally:
        child.terminate()
        child.wait(timeout=60)


def attached(port: int) -> Client:
    """Return a client once the service answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            client = Client(port)
            client.get("/livez")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return client


def peak_rss(process: psutil.Process) -> int:
    """Return the largest resident set that the process ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def questions(first: int, last: int, chance: random.Random) -> dict[str, str]:
    """Return one request of each kind, somewhere in the sets' times from `first` to `last`."""
    paths = {"get-stats": "/events/get-stats"}
    for sets in (100, 10_000):
        start = chance.randrange(first, max(first + 1, last - sets * _STEP_MS))
        paths[f"{sets:,} sets"] = f"/events/get-sets?startTime={start}&endTime={start + sets * _STEP_MS}"
    return paths


def product(bootstrap: str, topic: str, events: int, *, loaded: bool, rested: int, budget: str) -> Run:
    """Run the service over the topic; ask it all the time where `loaded`, and afterwards `rested` times of each kind."""
    chance = random.Random(7)
    asked: dict[str, list[float]] = {}
    samples = []
    with service(bootstrap, topic, budget) as (process, port):
        client = attached(port)
        began = time.perf_counter()
        while True:
            stats = client.get("/events/get-stats")
            samples.append((time.perf_counter() - began, process.memory_info().rss, stats["total"]["setSize"]))
            if stats["records"] >= events and not stats["buffered"] and not stats["inFlight"]:
                break
            if time.perf_counter() - began > _PATIENCE_S:
                raise TimeoutError(f"{stats['records']:,} of {events:,} records after {_PATIENCE_S:.0f} s")
            if loaded and stats["total"]["setSize"]:
                last = START_MS + stats["total"]["setSize"] * _STEP_MS
                for _ in range(4):
                    for name, path in questions(START_MS, last, chance).items():
                        asked.setdefault(name, []).append(client.timed(path))
                        time.sleep(0.002)
            else:
                time.sleep(0.05)
        aged = [row for row in stats["data"] if row["state"] == "aged"]
        run = Run(
            rate=events / (stats["lastBatchAt"] - stats["firstRecordAt"]),
            sets=stats["total"]["setSize"],
            bound=stats["total"]["bound"],
            peak_rss=peak_rss(process),
            bytes_a_set=sum(row["bytes"] for row in aged) / max(1, sum(row["setSize"] for row in aged)),
            samples=samples,
            loaded_ms=asked,
        )
        last = START_MS + run.sets * _STEP_MS
        for _ in range(rested):
            for name, path in questions(START_MS, last, chance).items():
                run.rest_ms.setdefault(name, []).append(client.timed(path))
    return run


# The rest ------------------------------------------------------------------------------------------------------------


def fill(bootstrap: str, topic: str, pattern: str, events: int) -> None:
    """Fill a topic of its own with the pattern, unless an earlier call has."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "firnline-fill"})
    ends = [
        consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    consumer.close()
    if sum(ends) == events:
        return
    if ends:
        raise ValueError(f"topic {topic} holds {sum(ends):,} records, not {events:,}; delete it, or take another --bootstrap")
    command = [sys.executable, str(ROOT / "scripts" / "producer.py"), "--pattern", pattern, "--count", str(events)]
    command += ["--bootstrap", bootstrap, "--topic", topic, "--partitions", str(_PARTITIONS), "--start", str(START_MS)]
    subprocess.run([*command, "--seed", "1"], check=True, stdout=sys.stderr)


def random_bytes_a_set() -> float:
    """Return accounted bytes a sealed set, for events at random milliseconds: 1,000,000 sets in an hour."""
    chance, sets = np.random.default_rng(5), 1_000_000
    live = LiveSets(steps=3, max_sets=2 * sets)
    live.add(Batch(tuple(np.sort(chance.integers(START_MS, START_MS + 3_600_000, sets)) for _ in range(3))), None)
    frozen, _ = live.freeze()
    while frozen.settle():
        pass
    return float(frozen.meta().nbytes / frozen.meta().summary.sets)


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of milliseconds."""
    ordered = sorted(values)
    return {"p50": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


def machine() -> str:
    """Name the machine."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), model)
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}, broker on the same cores"


def measure(
    bootstrap: str, pattern: str, events: int, rounds: int, budget: str, *, loaded_too: bool
) -> tuple[dict[str, Any], list[Run]]:
    """Measure one pattern; returns its figures, and the runs for the plot."""
    topic = f"bench-{pattern}-{events}"
    fill(bootstrap, topic, pattern, events)
    floors, runs, loaded = [], [], []
    for number in range(rounds):
        console.print(f"{pattern}: round {number + 1} of {rounds}")
        floors.append(floor_rate(bootstrap, topic, events))
        runs.append(product(bootstrap, topic, events, loaded=False, rested=0 if number else 200, budget=budget))
        if loaded_too:
            loaded.append(product(bootstrap, topic, events, loaded=True, rested=0, budget=budget))
    names = {name for run in loaded for name in run.loaded_ms}
    merged = {name: [ms for run in loaded for ms in run.loaded_ms.get(name, [])] for name in sorted(names, reverse=True)}
    figures = {
        "floor_per_s": statistics.median(floors),
        "product_per_s": statistics.median(run.rate for run in runs),
        "ratio": statistics.median(run.rate / floor for run, floor in zip(runs, floors, strict=True)),
        "ratio_while_asked": statistics.median([run.rate / floor for run, floor in zip(loaded, floors, strict=False)] or [0]),
        "peak_rss_bytes": max(run.peak_rss for run in runs),
        "bytes_an_aged_set": runs[0].bytes_a_set,
        "sets": runs[0].sets,
        "bound": runs[0].bound,
        "rest_ms": {name: percentiles(values) for name, values in runs[0].rest_ms.items()},
        "loaded_ms": {name: percentiles(values) for name, values in merged.items()},
    }
    return figures, runs


def table(results: dict[str, Any]) -> Table:
    """Lay the figures out, a column a pattern."""
    patterns = results["patterns"]
    shown = Table(title=f"{results['events']:,} events, median of {results['rounds']}; {results['machine']}")
    shown.add_column("")
    for pattern in patterns:
        shown.add_column(pattern, justify="right")

    def row(name: str, write: Any) -> None:
        shown.add_row(name, *(write(figures) for figures in patterns.values()))

    row("bare consume loop, records/s", lambda f: f"{f['floor_per_s']:,.0f}")
    row("Firnline, records/s", lambda f: f"{f['product_per_s']:,.0f}")
    row("ratio", lambda f: f"{f['ratio']:.2f}")
    if next(iter(patterns.values()))["loaded_ms"]:
        row("ratio while asked all the time", lambda f: f"{f['ratio_while_asked']:.2f}")
    row("peak RSS", lambda f: f"{f['peak_rss_bytes'] / 1e6:.0f} MB")
    row("bytes an aged set", lambda f: f"{f['bytes_an_aged_set']:.2f}")
    row("sets / bound", lambda f: f"{f['sets']:,} / {f['bound']:,}")
    for state, label in (("rest_ms", "at rest"), ("loaded_ms", "while ingesting")):
        for name in next(iter(patterns.values()))[state]:
            row(f"{name}, {label}: p50 / p99", lambda f, s=state, n=name: f"{f[s][n]['p50']:.2f} / {f[s][n]['p99']:.2f} ms")
    shown.add_row("bytes an aged set, random milliseconds", f"{results['random_bytes_a_set']:.2f}")
    return shown


def plot(path: Path, runs: dict[str, list[Run]]) -> None:
    """Draw RSS and sets over time, the first run of each pattern, as a page that needs no internet."""
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415  # an extra of development, and slow to import
    from plotly.subplots import make_subplots  # noqa: PLC0415

    figure: Figure = make_subplots(rows=2, cols=1, shared_xaxes=True, subplot_titles=("resident set, MB", "sets"))
    for pattern, (first, *_) in runs.items():
        seconds = [sample[0] for sample in first.samples]
        figure.add_trace(Scatter(x=seconds, y=[sample[1] / 1e6 for sample in first.samples], name=f"{pattern}: RSS"), 1, 1)
        figure.add_trace(Scatter(x=seconds, y=[sample[2] for sample in first.samples], name=f"{pattern}: sets"), 2, 1)
    figure.update_xaxes(title_text="seconds", row=2, col=1)
    figure.write_html(path, include_plotlyjs=True)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    events: Annotated[int, typer.Option(min=30_000, help="Records in the topic.")] = 3_000_000,
    pattern: Annotated[list[str] | None, typer.Option(help="steady or shuffled; again for both, which is the default.")] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="A broker; without it, one is started, which needs Java and Maven.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds by turns; the medians count.")] = 3,
    loaded: Annotated[bool, typer.Option(help="Also run with queries all the time.")] = True,
    budget: Annotated[str, typer.Option(help="The service's memory budget, such as 256MiB.")] = "60%",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    plot_to: Annotated[Path | None, typer.Option("--plot", help="Write a page with RSS and sets over time.")] = None,
) -> None:
    """Measure ingestion, memory and queries on a real broker."""
    if context.invoked_subcommand is not None:
        return
    results: dict[str, Any] = {"machine": machine(), "events": events, "rounds": rounds, "patterns": {}}
    results["random_bytes_a_set"] = random_bytes_a_set()
    runs: dict[str, list[Run]] = {}
    with contextlib.ExitStack() as around:
        address = bootstrap or around.enter_context(real_broker(ROOT / ".firnline" / "kafka"))
        for name in pattern or ["steady", "shuffled"]:
            results["patterns"][name], runs[name] = measure(address, name, events, rounds, budget, loaded_too=loaded)
    if plot_to is not None:
        plot(plot_to, runs)
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        Console(width=110).print(table(results))


if __name__ == "__main__":
    app()
