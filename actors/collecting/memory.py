"""The accounts of a manager's memory: the limits, the bytes outside of the slices, and the measured resident set."""

from collections.abc import Callable, Sequence

from actors.collecting.brake import Brake
from actors.replies import Memory
from actors.timeline.retention import Limits, Meter

_METER_S = 1.0

_GROWN_BYTES = 8 << 20
_STEADY_BYTES = 1 << 20
_STEADY_COUNT = 3
_RELEASE_S = 60.0


class Release:
    """Decides when free heap memory is returned to the system: after a burst of records the C library keeps some 15 MB.

    That is when the resident set has grown by 8 MiB since the last time, and has been steady in three measurements; at most
    once a minute, because memory that is needed again costs a page fault for each 4 KiB.
    """

    def __init__(self, rss_bytes: int) -> None:
        self._least = self._last = rss_bytes
        self._steady = 0
        self._released_at = -_RELEASE_S

    def due(self, rss_bytes: int, now: float) -> bool:
        """Return whether to release memory now, given a new measurement."""
        self._least = min(self._least, rss_bytes)
        self._steady = self._steady + 1 if abs(rss_bytes - self._last) < _STEADY_BYTES else 0
        self._last = rss_bytes
        grown = rss_bytes - self._least >= _GROWN_BYTES
        return grown and self._steady >= _STEADY_COUNT and now - self._released_at >= _RELEASE_S

    def released(self, rss_bytes: int, now: float) -> None:
        """Take the resident set after a release."""
        self._least = self._last = rss_bytes
        self._released_at = now


class Accountant:
    """Measures at most once a second by `meter`; `brake` decides if the process is larger than its accounts.

    `baseline_bytes` of the budget are the memory of the process before any event. `now` is in seconds.
    """

    def __init__(self, meter: Meter, brake: Brake, baseline_bytes: int, now: float) -> None:
        self._meter = meter
        self._brake = brake
        self._baseline_bytes = baseline_bytes
        self._measured_at = now
        self._rss_bytes = meter.resident_bytes()
        self._release = Release(self._rss_bytes)
        self.limits: Limits = meter.limits()
        self.buffered_bytes = 0
        """Bytes in the front end's buffers, of its last report."""

    @property
    def other_bytes(self) -> int:
        """The accounted bytes outside of the slices."""
        return self._baseline_bytes + self.buffered_bytes

    def reconfigure(self, meter: Meter, baseline_bytes: int) -> None:
        """Use the limits of `meter`."""
        self._meter, self._baseline_bytes, self.limits = meter, baseline_bytes, meter.limits()

    def refresh(self) -> None:
        """Read the limits again, without measuring the process."""
        self.limits = self._meter.limits()

    def measure(self, now: float, slice_bytes: int, aged_bytes: Callable[[], Sequence[int]]) -> int:
        """Measure if a second has passed. Return how many of the oldest generations to drop.

        `slice_bytes` are those of all slices, `aged_bytes` returns those of each aged slice, oldest first. The meter reports
        an excess that is not in the accounts, such as that of large compressed batches.
        """
        if now - self._measured_at < _METER_S:
            return 0
        self._measured_at = now
        self.limits, budget = self._meter.limits(), self._meter.budget_bytes()
        self._rss_bytes = self._meter.resident_bytes()
        if self._brake.worried(self._rss_bytes, budget):
            self._meter.trim()
            self._rss_bytes = self._meter.resident_bytes()
        elif self._release.due(self._rss_bytes, now):
            self._meter.release()
            self._rss_bytes = self._meter.resident_bytes()
            self._release.released(self._rss_bytes, now)
        if self._brake.exceeded(self._rss_bytes, budget) and self.other_bytes + slice_bytes <= self.limits.budget_bytes:
            self._meter.report_excess()
        return self._brake.pull(self._rss_bytes, budget, aged_bytes(), now)

    def unused_bytes(self, slice_bytes: int) -> int:
        """Return the bytes of the budget that are not accounted; `slice_bytes` are those of all slices."""
        return max(0, self.limits.budget_bytes - self.other_bytes - slice_bytes)

    def report(self, slice_bytes: int) -> Memory:
        """Return the memory for `Stats`; `slice_bytes` are those of all slices."""
        return Memory(
            self.limits.budget_bytes, self.other_bytes + slice_bytes, self._baseline_bytes, self._rss_bytes, self._brake.pulls
        )
