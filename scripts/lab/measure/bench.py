"""Measure Firnline against the speed at which Kafka can be read at all, in one run, and print the tables of docs/benchmarks.md.

A bare tuned `consume()` loop (the floor) and the real service take turns. Then this process sends queries over HTTP, at rest
and during ingestion at full speed. The ratios count; the machine is named beside them.
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from actors.timeline.batch import Batch
from actors.views.sets.slices import LiveSets
from scripts.lab.measure.contest import CONTESTS, contest
from scripts.lab.measure.curves import Curve, draw
from scripts.lab.measure.held import held, held_as_json, held_plot, held_table
from scripts.lab.measure.recovery import recovery, recovery_table
from scripts.lab.measure.runs import comparison, fill, machine, measuring, peak_rss, percentiles, rival, service
from scripts.lab.measure.starting import starts, starts_table
from scripts.lab.measure.study import tables

START_MS = 1_685_695_916_000
_STEP_MS = 30
"""Event time between two sets of the patterns `steady` and `shuffled`."""

_PATTERNS = ("steady", "shuffled")
_PARTITIONS = 3
_BUDGET = "60%"

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


def questions(first: int, last: int, chance: random.Random) -> dict[str, str]:
    """Return one request of each kind, somewhere between the times `first` and `last` of sets."""
    paths = {"get-stats": "/events/get-stats"}
    for sets in (100, 10_000):
        start = chance.randrange(first, max(first + 1, last - sets * _STEP_MS))
        paths[f"{sets:,} sets"] = f"/events/get-sets?startTime={start}&endTime={start + sets * _STEP_MS}"
    return paths


def product(bootstrap: str, topic: str, events: int, *, loaded: bool, rested: int, budget: str) -> Run:
    """Run the service over the topic. If `loaded`, ask it all the time; afterwards ask it `rested` times for each kind."""
    chance = random.Random(7)
    asked: dict[str, list[float]] = {}
    samples = []
    with service("events", bootstrap, topic, budget) as (process, client):
        began = time.perf_counter()
        for stats in client.ingestion("events", events, every_s=0.0):
            samples.append((time.perf_counter() - began, process.memory_info().rss, stats["total"]["setSize"]))
            if not loaded or not stats["total"]["setSize"]:
                time.sleep(0.05)
                continue
            last = START_MS + stats["total"]["setSize"] * _STEP_MS
            for _ in range(4):
                for name, path in questions(START_MS, last, chance).items():
                    asked.setdefault(name, []).append(client.timed(path))
                    time.sleep(0.002)
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


def random_bytes_a_set() -> float:
    """Return the accounted bytes of a sealed set: 1,000,000 sets of events at random milliseconds within an hour."""
    chance, sets = np.random.default_rng(5), 1_000_000
    live = LiveSets(steps=3, max_sets=2 * sets)
    live.add(Batch(tuple(np.sort(chance.integers(START_MS, START_MS + 3_600_000, sets)) for _ in range(3))), None)
    frozen, _ = live.freeze()
    while frozen.settle():
        pass
    return float(frozen.meta().nbytes / frozen.meta().summary.sets)


def measure(
    bootstrap: str, pattern: str, events: int, rounds: int, budget: str, *, loaded_too: bool
) -> tuple[dict[str, Any], list[Run]]:
    """Measure one pattern. Return its figures, and the runs for the plot."""
    topic = f"bench-{pattern}-{events}"
    fill(bootstrap, topic, pattern, events, _PARTITIONS, "--start", str(START_MS))
    floors, runs, loaded = [], [], []
    for number in range(rounds):
        console.print(f"{pattern}: round {number + 1} of {rounds}")
        floors.append(rival("floor", bootstrap, topic, events)["per_s"])
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
    """Return the figures as a table with a column for each pattern."""
    first = next(iter(results["patterns"].values()))
    rows: list[tuple[str, Callable[[Any], str]]] = [
        ("bare consume loop, records/s", lambda f: f"{f['floor_per_s']:,.0f}"),
        ("Firnline, records/s", lambda f: f"{f['product_per_s']:,.0f}"),
        ("ratio", lambda f: f"{f['ratio']:.2f}"),
        *([("ratio while asked all the time", lambda f: f"{f['ratio_while_asked']:.2f}")] if first["loaded_ms"] else []),
        ("peak RSS", lambda f: f"{f['peak_rss_bytes'] / 1e6:.0f} MB"),
        ("bytes an aged set", lambda f: f"{f['bytes_an_aged_set']:.2f}"),
        ("sets / bound", lambda f: f"{f['sets']:,} / {f['bound']:,}"),
    ]
    for state, label in (("rest_ms", "at rest"), ("loaded_ms", "while ingesting")):
        rows += [(f"{name}, {label}: p50 / p99", partial(_latency, state, name)) for name in first[state]]
    title = f"{results['events']:,} events, median of {results['rounds']}; {results['machine']}"
    shown = comparison(title, results["patterns"], rows)
    shown.add_row("bytes an aged set, random milliseconds", f"{results['random_bytes_a_set']:.2f}")
    return shown


def _latency(state: str, name: str, figures: dict[str, Any]) -> str:
    return f"{figures[state][name]['p50']:.2f} / {figures[state][name]['p99']:.2f} ms"


def contests_table(contests: dict[str, dict[str, Any]], rounds: int) -> Table:
    """Return the figures of the other views as a table with a column for each view."""
    rows: list[tuple[str, Callable[[Any], str]]] = [
        ("records", lambda f: f"{f['records']:,}"),
        ("bare consume loop, records/s", lambda f: f"{f['floor_per_s']:,.0f}"),
        ("rival", lambda f: f["rival"]),
        ("rival, records/s", lambda f: f"{f['rival_per_s']:,.0f}"),
        ("Firnline, records/s", lambda f: f"{f['product_per_s']:,.0f}"),
        ("of the bare loop", lambda f: f"{f['of_floor']:.2f}"),
        ("of the rival", lambda f: f"{f['of_rival']:.2f}"),
        ("peak RSS", lambda f: f"{f['peak_rss_bytes'] / 1e6:.0f} MB"),
        ("asked", lambda f: f["asked"]),
        ("p50 / p99", lambda f: f"{f['asked_ms']['p50']:.2f} / {f['asked_ms']['p99']:.2f} ms"),
        (
            "bytes an id at rest, the rival's",
            lambda f: f"{f['bytes_an_id']:.0f}, {f['rival_bytes_an_id']:.0f}" if "bytes_an_id" in f else "",
        ),
        ("through a pipe with --once, records/s", lambda f: f"{f['piped_per_s']:,.0f}" if "piped_per_s" in f else ""),
    ]
    return comparison(f"the other answers, median of {rounds}; same machine and broker", contests, rows)


def plot(path: Path, runs: dict[str, list[Run]]) -> None:
    """Draw the resident set and the sets over time, of the first run of each pattern."""
    firsts = {pattern: own[0] for pattern, own in runs.items()}
    seconds = {pattern: [sample[0] for sample in run.samples] for pattern, run in firsts.items()}
    memory = [Curve(f"{name}: RSS", seconds[name], [each[1] / 1e6 for each in run.samples]) for name, run in firsts.items()]
    sets = [Curve(f"{name}: sets", seconds[name], [each[2] for each in run.samples]) for name, run in firsts.items()]
    draw(path, [("resident set, MB", memory), ("sets", sets)], "seconds")


def main(
    events: Annotated[int, typer.Option(min=30_000, help="Records in the topic.")] = 3_000_000,
    view: Annotated[
        list[str] | None,
        typer.Option(help="sets, top, segments, uniques, words, orders, avro, protobuf, clicks; without it, all."),
    ] = None,
    records: Annotated[int | None, typer.Option(min=10_000, help="Records for each other view.")] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="Of sets: steady or shuffled, without it both; with --budget one, by default scattered."),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="A broker; without it, one is started, which needs Java and Maven.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds by turns; the medians count.")] = 3,
    loaded: Annotated[bool, typer.Option(help="Also run with queries all the time.")] = True,
    budget: Annotated[
        str | None, typer.Option(help="Only whether this memory budget, such as 256MiB, holds; --plot draws it.")
    ] = None,
    folder: Annotated[bool, typer.Option(help="With --budget: also run with a data folder.")] = True,
    recovered: Annotated[
        int | None, typer.Option("--recovery", min=1, help="Only restarts: with this many sets in files, and after a kill.")
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Only the cost of starts: time, processor time, memory.")] = False,
    study: Annotated[bool, typer.Option("--study", help="Only the cost of JSON and the errors of sketches.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    plot_to: Annotated[Path | None, typer.Option("--plot", help="Write a page with memory and sets over time.")] = None,
) -> None:
    """Measure ingestion, memory and queries on a real broker."""
    results: dict[str, Any] = {"machine": machine(), "events": events, "rounds": rounds, "patterns": {}}
    if study:
        for shown in tables():
            Console(width=110).print(shown)
        return
    if start:
        with measuring("bench", bootstrap) as address:
            begun = starts(address, rounds)
        if as_json:
            print(json.dumps({**results, "starts": [asdict(each) for each in begun]}, indent=2))
        else:
            Console(width=110).print(starts_table(begun))
        return
    if recovered is not None:
        with measuring("bench", bootstrap) as address:
            measured = recovery(address, recovered)
        if as_json:
            print(json.dumps({**results, "recovery": asdict(measured)}, indent=2))
        else:
            Console(width=110).print(recovery_table(measured))
        return
    if budget is not None:
        with measuring("bench", bootstrap) as address:
            whole = held(address, events, budget, (pattern or ["scattered"])[0], folder_too=folder)
        if plot_to is not None:
            held_plot(plot_to, whole)
        if as_json:
            print(json.dumps({**results, "held": [held_as_json(run) for run in whole]}, indent=2))
        for run in () if as_json else whole:
            Console(width=110).print(held_table(run))
        return
    views = view or ["sets", *CONTESTS]
    if unknown := set(views) - {"sets", *CONTESTS}:
        raise typer.BadParameter(f"expected some of sets, {', '.join(CONTESTS)}, got {', '.join(sorted(unknown))}")
    patterns = pattern or list(_PATTERNS)
    if unknown := set(patterns) - set(_PATTERNS):
        raise typer.BadParameter(f"expected some of {', '.join(_PATTERNS)}, got {', '.join(sorted(unknown))}")
    if "sets" in views:
        results["random_bytes_a_set"] = random_bytes_a_set()
    contests: dict[str, dict[str, Any]] = {}
    runs: dict[str, list[Run]] = {}
    with measuring("bench", bootstrap) as address:
        for name in patterns if "sets" in views else []:
            results["patterns"][name], runs[name] = measure(address, name, events, rounds, _BUDGET, loaded_too=loaded)
        for name in views:
            if name in CONTESTS:
                console.print(name)
                contests[name] = contest(name, address, rounds, _BUDGET, records)
    if plot_to is not None:
        plot(plot_to, runs)
    if as_json:
        print(json.dumps({**results, "contests": contests}, indent=2))
        return
    if runs:
        Console(width=110).print(table(results))
    if contests:
        Console(width=140).print(contests_table(contests, rounds))
