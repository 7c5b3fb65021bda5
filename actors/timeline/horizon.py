"""The latest time that an event can have: some time ahead of this machine's clock.

The front end uses it to find events whose clock is wrong. A time that lies further ahead must not move the watermark.
"""

from dataclasses import dataclass, replace

from actors.columns.times import INT64_MAX, Times
from actors.timeline.unit import TimeUnit


@dataclass(frozen=True, slots=True)
class Ahead:
    """The policy of a stream for times ahead of the clock. A second has `per_s` units of the stream.

    At most `limit` (stream's unit) ahead is plausible; None: any time is. If such an event `waits`, it is kept apart until its
    time comes. Otherwise it is taken in at once, and its time moves no watermark.
    """

    limit: int | None = None
    per_s: int = 1_000
    waits: bool = True


class Horizon:
    """The clock of a stream, and its horizon: the latest plausible time. Not thread-safe: the front end owns it.

    If the machine's clock is set back, this clock goes on from the time that it had.
    """

    def __init__(self, ahead: Ahead) -> None:
        self._given = self._ahead = ahead
        self._read: tuple[float, float] | None = None

    def scale(self, unit: TimeUnit) -> None:
        """Count in the present `unit` from now on. The policy was made for the unit of the settings."""
        limit = None if self._given.limit is None else unit.scaled(self._given.limit)
        self._ahead = replace(self._given, limit=limit, per_s=unit.scaled(self._given.per_s))

    @property
    def waits(self) -> bool:
        """Whether an event beyond the horizon is kept apart."""
        return self._ahead.waits

    def read(self, now: float, wall: float) -> None:
        """Read the clocks: `now` is the monotonic time, `wall` the time since 1970, both in seconds."""
        if self._read is not None:
            then, reached = self._read
            wall = max(wall, reached + max(0.0, now - then))
        self._read = now, wall

    @property
    def time(self) -> int | None:
        """The present time in the stream's unit, or None before the first reading."""
        return None if self._read is None else int(self._read[1] * self._ahead.per_s)

    @property
    def latest(self) -> int:
        """The latest plausible time; the largest int64 if every time is plausible."""
        if self._ahead.limit is None or self.time is None:
            return INT64_MAX
        return min(INT64_MAX, self.time + self._ahead.limit)

    @property
    def due(self) -> int:
        """The latest time of the events that no longer wait: the present one; the largest int64 if none has to wait."""
        if self._ahead.limit is None or self.time is None or not self.waits:
            return INT64_MAX
        return self.time

    def span_of(self, seconds: float) -> int:
        """Return seconds in the stream's unit, rounded down."""
        return int(seconds * self._ahead.per_s)

    def passed_by(self, times: Times) -> bool:
        """Whether some of these times lie beyond the horizon. Cost: O(times), one pass."""
        return bool(times.size) and int(times.max()) > self.latest
