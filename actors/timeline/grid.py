"""Buckets of time for summaries: seconds, minutes, hours or days, of a time zone. Pure.

Seconds and minutes are counted from 1970 in UTC. Hours are counted from midnight and days from 1970-01-01, in the time zone; so
the last bucket of a day may be shorter, and a day may have 23 or 25 hours.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from actors.columns.times import INT64_MAX, Times
from actors.timeline.calendar import DAY_S

_N = "[1-9][0-9]{0,4}"
LENGTH = f"(?:{_N}(?:s|min|m|h|d)|{_N}(?:min|m){_N}s|{_N}h{_N}(?:min|m)(?:{_N}s)?|{_N}h{_N}s)"
"""A length as requests write it, such as 1s, 5m, 1h30m or 1d: durations without those in which no bucket is counted."""

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
_PART = re.compile("([0-9]+)([a-z])")
_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE = 146_097
"""The calendar repeats after this many days, which are 400 years. Days after 2369 are computed in the first 400 years."""

_FEW = 8
"""Buckets are looked up by their bounds if there are at least this many times for each; else each time is divided."""


class Cut(NamedTuple):
    """Where times are cut into buckets: the start and the end of each bucket, and the index of its first time."""

    starts: list[int]
    ends: list[int]
    firsts: list[int]


@dataclass(frozen=True, slots=True)
class Grid:
    """Buckets of `size` units (s, m, h or d) in the time zone `zone`.

    >>> Grid.of("1d", "Europe/Berlin").cut(np.array([1_711_839_600, 1_711_922_399, 1_711_922_400]), 1)
    Cut(starts=[1711839600, 1711922400], ends=[1711922400, 1712008800], firsts=[0, 2])
    """

    size: int
    unit: str
    zone: str = "UTC"

    @classmethod
    def of(cls, length: str, zone: str = "UTC") -> Self:
        """Return the buckets of a length such as 5m. Raises ValueError if that is no length, or if there is no such zone.

        Buckets of 1h30m are counted as those of 90m are: in the shortest unit.
        """
        if not re.fullmatch(LENGTH, length):
            raise ValueError("a length such as 1s, 5m, 1h30m or 1d")
        zone_of(zone)
        parts = _PART.findall(length)
        unit = parts[-1][1]
        return cls(sum(int(count) * _SECONDS[each] for count, each in parts) // _SECONDS[unit], unit, zone)

    @property
    def seconds(self) -> int:
        """The usual length of a bucket."""
        return self.size * _SECONDS[self.unit]

    def cut(self, times: Times, per_s: int) -> Cut:
        """Cut ascending `times`, at least one, into buckets. A second has `per_s` units of these times.

        Cost: 5 ns a time if buckets are short, else 1 us a bucket; in a zone other than UTC 10 us a day with times.
        """
        first, last = int(times[0]) // per_s, int(times[-1]) // per_s
        regular = self.unit in "sm" or (self.zone == "UTC" and (self.unit == "d" or DAY_S % self.seconds == 0))
        if regular:
            return self._regular(times, first, last, per_s)
        first_day, last_day = first // DAY_S, last // DAY_S
        if (last_day - first_day) * _FEW <= times.size:
            days = list(range(first_day, last_day + 1))
        else:
            days = np.unique(times // per_s // DAY_S).tolist()
        bounds = self._bounds(days)
        low, high = np.searchsorted(bounds, [first, last], "right").tolist()
        starts = np.array(bounds[low - 1 : high], np.int64)
        return self._at(times, starts, np.array(bounds[low : high + 1], np.int64), per_s)

    def _regular(self, times: Times, first: int, last: int, per_s: int) -> Cut:
        step = self.seconds
        if (last // step - first // step) * _FEW <= times.size:
            starts = np.arange(first // step, last // step + 1, dtype=np.int64) * step
        else:
            numbers = times // (per_s * step) if per_s <= INT64_MAX // step else times // per_s // step
            starts = np.unique(numbers) * step
        return self._at(times, starts, starts + np.minimum(step, INT64_MAX - starts), per_s)

    def _at(self, times: Times, starts: Times, ends: Times, per_s: int) -> Cut:
        """Return the buckets that have times, of those in [starts, ends)."""
        firsts = np.searchsorted(times, starts * per_s)
        firsts[0] = 0
        some = np.flatnonzero(np.diff(firsts, append=times.size))
        return Cut(
            [start * per_s for start in starts[some].tolist()],
            [min(end * per_s, INT64_MAX + 1) for end in ends[some].tolist()],
            firsts[some].tolist(),
        )

    def _bounds(self, days: list[int]) -> list[int]:
        """Return the seconds at which buckets begin, for times on these days of UTC, with the end of the last one."""
        near = sorted({day + more for day in days for more in (-1, 0, 1, 2)})
        if self.unit == "d":
            chosen = sorted({(day // self.size + more) * self.size for day in near for more in (0, 1)})
            return [_midnight(self.zone, day) for day in chosen]
        found: list[int] = []
        for day, following in pairwise(near):
            if following == day + 1:
                start, end = _midnight(self.zone, day), _midnight(self.zone, following)
                found += range(start, end, self.seconds)
                found.append(end)
        return sorted(set(found))


@lru_cache(maxsize=4_096)
def _midnight(zone: str, day: int) -> int:
    """Return the second at which a day of a zone begins; days are counted from 1970-01-01."""
    cycles = max(0, day // _CYCLE)
    there = date.fromordinal(_EPOCH + day - cycles * _CYCLE)
    begins = datetime(there.year, there.month, there.day, tzinfo=zone_of(zone))
    return round((begins - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) + cycles * _CYCLE * DAY_S


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone. Raises ValueError if the name is unknown."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone such as Europe/Berlin") from None
