"""The report of a chaos run: counts of faults, times of recovery, and differences."""

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from rich.box import HEAVY_HEAD, MARKDOWN
from rich.table import Table

from scripts.lab.chaos.faults import Fault

_COLUMNS = ("action", "times", "median s until ready again", "median s until caught up", "differences")


@dataclass(slots=True)
class Timings:
    """How often a fault happened, and the seconds until the service was ready again and had read the backlog."""

    times: int = 0
    ready_s: list[float] = field(default_factory=list)
    caught_up_s: list[float] = field(default_factory=list)
    differences: int = 0


@dataclass(slots=True)
class Report:
    """The results of a run."""

    seed: int
    folder: Path
    timings: dict[Fault, Timings] = field(default_factory=lambda: defaultdict(Timings))
    verifications: int = 0
    comparisons: int = 0
    records: int = 0
    seconds: float = 0.0
    overdue: int = 0
    """How often a comparison began before all records were read, after a wait of 90 s."""

    differences: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How often the service was killed."""
        return sum(own.times for fault, own in self.timings.items() if fault.kills)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "seed": self.seed,
            "kills": self.kills,
            "verifications": self.verifications,
            "comparisons": self.comparisons,
            "records": self.records,
            "seconds": round(self.seconds, 1),
            "overdue": self.overdue,
            "actions": {
                fault.name.lower(): {
                    "times": own.times,
                    "ready_s": _median(own.ready_s),
                    "caught_up_s": _median(own.caught_up_s),
                    "differences": own.differences,
                }
                for fault, own in self.timings.items()
            },
            "differences": self.differences,
        }


def table_of(report: Report, *, markdown: bool = False) -> Table:
    """Return a row for each fault, and one for all. With `markdown`, the table prints as Markdown, without a title."""
    title = (
        f"{report.kills:,} kills, {report.verifications:,} verifications of {report.comparisons:,} answers, "
        f"{report.records:,} records, {report.seconds / 60:.1f} min, seed {report.seed}"
    )
    table = Table(title=None if markdown else title, box=MARKDOWN if markdown else HEAVY_HEAD)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "action" else "right")
    shown = {fault.value: report.timings[fault] for fault in Fault if fault in report.timings}
    every = list(shown.values())
    shown["all"] = Timings(
        sum(own.times for own in every),
        list(chain(*(own.ready_s for own in every))),
        list(chain(*(own.caught_up_s for own in every))),
        len(report.differences),
    )
    for name, own in shown.items():
        table.add_row(name, f"{own.times:,}", _seconds(own.ready_s), _seconds(own.caught_up_s), str(own.differences))
    return table


def _median(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds), 3) if seconds else None


def _seconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f}" if seconds else "-"
