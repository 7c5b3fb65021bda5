"""The time of a run: a monotonic clock, and a wall clock that may jump."""

_BEGINNING_S = 1_700_000_000.0


class SimulatedClock:
    """Times in seconds. Time passes only by `advance`."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self._wall_ahead_s = 0.0

    def now(self) -> float:
        """Return the monotonic time."""
        return self._now

    def wall(self) -> float:
        """Return the wall time since 1970."""
        return _BEGINNING_S + self._now + self._wall_ahead_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._wall_ahead_s += seconds
