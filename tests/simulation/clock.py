"""The time of a run: one clock that only goes forward, and one on the wall that may jump."""

_BEGINNING_S = 1_700_000_000.0


class SimulatedClock:
    """Seconds. Time passes when somebody says so."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self._wall_ahead_s = 0.0

    def now(self) -> float:
        """Return the time that never goes back."""
        return self._now

    def wall(self) -> float:
        """Return the time since 1970 as the wall shows it."""
        return _BEGINNING_S + self._now + self._wall_ahead_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def jump(self, seconds: float) -> None:
        """Set the clock on the wall, forth or back."""
        self._wall_ahead_s += seconds
