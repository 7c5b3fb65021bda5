"""The accounts of a manager's memory: an excess that is not in the accounts is reported."""

from dataclasses import dataclass, field

import pytest

from actors.collecting.brake import Brake
from actors.collecting.memory import Accountant
from actors.timeline.retention import Limits

BUDGET, BASELINE = 1_000, 300


@dataclass
class Counting:
    """A meter of a process with `rss` bytes, which counts the reports."""

    rss: int = 0
    reports: list[int] = field(default_factory=list)

    def limits(self) -> Limits:
        return Limits(BUDGET)

    def budget_bytes(self) -> int:
        return BUDGET

    def resident_bytes(self) -> int:
        return self.rss

    def trim(self) -> None:
        pass

    def report_excess(self) -> None:
        self.reports.append(self.rss)


@pytest.mark.parametrize(
    ("rss", "slices", "reported"),
    [(1_051, 700, True), (1_050, 700, False), (1_051, 701, False), (400, 0, False), (2_000, 0, True)],
)
def test_an_excess_is_reported_if_the_accounts_are_within_the_budget(rss: int, slices: int, *, reported: bool):
    meter = Counting(rss)
    accountant = Accountant(meter, Brake(), BASELINE, 0.0)
    accountant.measure(0.5, slices, list)
    assert meter.reports == [], "at most one measurement a second"
    accountant.measure(1.0, slices, list)
    assert bool(meter.reports) == reported
