"""Whether memory stays within its budget: the real service over many events, or more than fit, sampled ten times a second.

`scripts/bench.py --budget` uses it. The table has a row for each tenth of the run.
"""

import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts.lab.measure.curves import Curve, draw
from scripts.lab.measure.runs import Client, fill, peak_rss, percentiles, service

_ANY_TIME = "streams.events.max_ahead_ms=null"
"""The times of the pattern `scattered` go far beyond the present."""
_START_MS = 1_685_695_916_000
_PARTITIONS = 3
_GENERATIONS = 100
"""The number of generations that all events would fill."""

_QUERIES = 200
_EVERY_S = 0.1
_ROWS = 10
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: bytes, and the counts of generations held and dropped."""

    seconds: float
    records: int
    rss: int
    accounted: int
    generations: int
    dropped: int


@dataclass(slots=True)
class Held:
    """One run: its budget, its samples, the largest resident set by the kernel's count, and at its end how fast it answers."""

    name: str
    budget: int = 0
    baseline: int = 0
    peak: int = 0
    emergencies: int = 0
    rate: float = 0.0
    sets: int = 0
    bound: int = 0
    cpu_s: float = 0.0
    answers_ms: dict[str, list[float]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)


def held(bootstrap: str, events: int, budget: str, pattern: str, *, folder_too: bool) -> list[Held]:
    """Run the service over `events` events of a pattern within `budget`: without, and if `folder_too` with a data folder."""
    topic = f"bench-{pattern}-{events}"
    fill(bootstrap, topic, pattern, events, _PARTITIONS, "--start", str(_START_MS))
    runs = [_run("without a data folder", bootstrap, topic, events, budget, None)]
    if folder_too:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(_run("with a data folder", bootstrap, topic, events, budget, Path(folder)))
    return runs


def _run(name: str, bootstrap: str, topic: str, events: int, budget: str, data_dir: Path | None) -> Held:
    run = Held(name)
    max_sets = f"streams.events.max_sets={max(1_000, events // 3 // _GENERATIONS)}"
    with service("events", bootstrap, topic, budget, max_sets, _ANY_TIME, data_dir=data_dir) as (process, client):
        began = time.perf_counter()
        for stats in client.ingestion("events", events, _EVERY_S):
            run.samples.append(_sample(stats, time.perf_counter() - began, process.memory_info().rss))
        memory = stats["memory"]
        run.budget, run.baseline, run.emergencies = memory["budgetBytes"], memory["baselineBytes"], memory["emergencies"]
        run.rate = events / (stats["lastBatchAt"] - stats["firstRecordAt"])
        run.peak = peak_rss(process)
        run.sets, run.bound = stats["total"]["setSize"], stats["total"]["bound"]
        run.cpu_s = sum(process.cpu_times()[:2])
        run.answers_ms = _answers(client)
    return run


def _answers(client: Client) -> dict[str, list[float]]:
    """Return the milliseconds of queries at random times: statistics, and 100 sets by their limit."""
    coverage = client.get(f"/events/get-sets?startTime={_START_MS}&endTime={_START_MS}&coverage=1")["coverage"]
    first, last = coverage["completeFrom"] or _START_MS, coverage["completeTo"]
    chance, took = random.Random(7), {"get-stats": list[float](), "100 sets": list[float]()}
    for _ in range(_QUERIES):
        took["get-stats"].append(client.timed("/events/get-stats"))
        took["100 sets"].append(
            client.timed(f"/events/get-sets?startTime={chance.randrange(first, last)}&endTime={last}&limit=100")
        )
    return took


def _sample(stats: dict[str, Any], seconds: float, rss: int) -> Sample:
    dropped = sum(stats["droppedGenerations"].values())
    return Sample(seconds, stats["records"], rss, stats["memory"]["accountedBytes"], len(stats["data"]) - 1, dropped)


def held_table(run: Held) -> Table:
    """Return a run as a table with a row for each tenth of its events."""
    peak = f"peak RSS {run.peak / _MIB:.1f} MiB, {run.peak / run.budget:.1%} of the budget"
    shown = Table(
        title=f"{run.name}: a budget of {run.budget / _MIB:.0f} MiB, {peak}, {run.rate:,.0f} records/s, "
        f"{run.cpu_s:,.0f} CPU s, {run.emergencies} emergencies; {run.sets:,} sets of a bound of {run.bound:,}",
        caption="; ".join(f"{name} p50 / p99 {_both(each)} ms" for name, each in run.answers_ms.items()),
    )
    for column in ("seconds", "events", "RSS, MiB", "accounted, MiB", "generations", "dropped"):
        shown.add_column(column, justify="right")
    wanted = [run.samples[-1].records * tenth // _ROWS for tenth in range(1, _ROWS + 1)]
    for records in wanted:
        sample = next(each for each in run.samples if each.records >= records)
        mib = (f"{sample.rss / _MIB:.1f}", f"{sample.accounted / _MIB:.1f}")
        shown.add_row(f"{sample.seconds:.1f}", f"{sample.records:,}", *mib, str(sample.generations), f"{sample.dropped:,}")
    return shown


def _both(took_ms: list[float]) -> str:
    """Write the median and the 99th percentile."""
    return " / ".join(f"{each:.2f}" for each in percentiles(took_ms).values())


def held_as_json(run: Held) -> dict[str, Any]:
    """Return the figures of a run."""
    return {
        "name": run.name,
        "budget_bytes": run.budget,
        "peak_rss_bytes": run.peak,
        "of_budget": run.peak / run.budget,
        "records_per_s": run.rate,
        "generations": run.samples[-1].generations,
        "dropped_generations": run.samples[-1].dropped,
        "emergencies": run.emergencies,
        "sets": run.sets,
        "bound": run.bound,
        "cpu_s": run.cpu_s,
        "answers_ms": {name: percentiles(each) for name, each in run.answers_ms.items()},
    }


def held_plot(path: Path, runs: list[Held]) -> None:
    """Draw the runs one below the other: RSS and accounted bytes beside the budget, and the generations."""
    charts = []
    for run in runs:
        seconds = [each.seconds for each in run.samples]
        memory = [
            Curve("RSS", seconds, [each.rss / _MIB for each in run.samples]),
            Curve("accounted", seconds, [each.accounted / _MIB for each in run.samples]),
            Curve("budget", [seconds[0], seconds[-1]], [run.budget / _MIB] * 2),
        ]
        gone = [
            Curve("generations held", seconds, [float(each.generations) for each in run.samples]),
            Curve("generations dropped", seconds, [float(each.dropped) for each in run.samples]),
        ]
        charts += [(f"{run.name}: MiB", memory), (f"{run.name}: generations", gone)]
    draw(path, charts, "seconds")
