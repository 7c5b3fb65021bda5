"""The accounts of a manager's memory: an excess is reported, and free memory goes back to the system after a burst."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.collecting.brake import Brake
from actors.collecting.memory import Accountant, Release
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

    def release(self) -> None:
        pass

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


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 90)), max_size=20))
def test_free_memory_is_released_soon_after_a_burst_and_at_most_once_a_minute(bursts: list[tuple[int, int, int]]):
    """Each burst needs some MiB for answers and leaves some MiB free; then the process is quiet for some seconds."""
    held, free, now, released, calm_s = 80, 0, 0.0, [-60.0], 0
    release = Release(held << 20)
    for answers, left, quiet_s in bursts:
        before = held + free
        held, free = held + answers, max(free, left)
        calm_s = calm_s if held + free == before else 0
        for _ in range(quiet_s):
            now, calm_s = now + 1.0, calm_s + 1
            if release.due((held + free) << 20, now):
                assert calm_s > 3, "the process is not quiet yet"
                assert now - released[-1] >= 60.0
                free, calm_s = 0, 0
                release.released(held << 20, now)
                released.append(now)
        assert free < 8 or calm_s < 4 or now - released[-1] < 60.0
