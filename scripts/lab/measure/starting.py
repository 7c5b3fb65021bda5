"""The cost of a start: time and processor time until the first answer, and the memory before and after three million records.

`scripts/bench.py --start` uses it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from rich.table import Table

from scripts.lab.measure.runs import fill, peak_rss, rss_at_rest, service

_EVENTS = 3_000_000
_PARTITIONS = 3
_REST_S = 6.0
"""Free memory is returned to the system before that."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the first answer, processor seconds of all threads, and resident bytes.

    `empty_rss` is that at the first answer, before any record, `full_rss` that with all records, at rest, and `peak_rss` the
    largest.
    """

    answers_s: float
    processor_s: float
    empty_rss: int
    full_rss: int
    peak_rss: int


def starts(bootstrap: str, rounds: int) -> list[Start]:
    """Start the service `rounds` times. A first start that is not counted compiles modules, and reads files into the cache."""
    topic = f"bench-steady-{_EVENTS}"
    fill(bootstrap, topic, "steady", _EVENTS, _PARTITIONS)
    return [_start(bootstrap, topic) for _ in range(rounds + 1)][1:]


def _start(bootstrap: str, topic: str) -> Start:
    began = time.perf_counter()
    with service("events", bootstrap, f"{topic}-absent", "60%") as (process, _):
        answers_s = time.perf_counter() - began
        processor_s, empty_rss = _processor_s(process), int(process.memory_info().rss)
    with service("events", bootstrap, topic, "60%") as (process, client):
        for _ in client.ingestion("events", _EVENTS):
            pass
        return Start(answers_s, processor_s, empty_rss, rss_at_rest(process, _REST_S), peak_rss(process))


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def starts_table(measured: list[Start]) -> Table:
    """Return the medians as a table, with the least and the largest figure."""
    shown = Table(title=f"starts of a service with one stream, median of {len(measured)}")
    for column in ("what", "median", "least to largest"):
        shown.add_column(column, justify="left" if column == "what" else "right")
    rows: list[tuple[str, Callable[[Start], float], str]] = [
        ("until the first answer, s", lambda each: each.answers_s, ".2f"),
        ("processor time until then, s", lambda each: each.processor_s, ".2f"),
        ("RSS at the first answer, MB", lambda each: each.empty_rss / 1e6, ".0f"),
        (f"RSS with {_EVENTS:,} records, MB", lambda each: each.full_rss / 1e6, ".0f"),
        ("largest RSS, MB", lambda each: each.peak_rss / 1e6, ".0f"),
    ]
    for label, of, form in rows:
        found = [of(each) for each in measured]
        shown.add_row(label, format(statistics.median(found), form), f"{min(found):{form}} to {max(found):{form}}")
    return shown
