"""The unit of a stream's times: given by the settings, or decided by the first event whose time is plausible.

The front end decides and refuses by it. Retention and the gateway read it. Pure: it reads no clock.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import Times

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many of each unit a second has."""

LENGTHS_NS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
}
"""The nanoseconds of each unit of a duration."""

DURATION = f"(?:[0-9]{{1,18}}(?:{'|'.join(sorted(LENGTHS_NS, key=len, reverse=True))}))+"
"""A duration as requests and settings write it, such as 90s or 1h30m."""

_PART = re.compile("([0-9]+)([a-z]+)")

NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

PLAUSIBLE_S = range(631_152_000, 4_102_444_800)
"""The years 1990 to 2099. They are the same numbers in no two units."""

ASSUMED = "ms"
"""The unit of a stream that decides, as long as no time is plausible."""

STRANGE = "time_unit"
"""The reason for the refusal of an event whose time is plausible in another unit only."""


def duration_ns(text: str) -> int:
    """Return the nanoseconds of a text that `DURATION` matches; 0 for an empty one.

    >>> duration_ns("1h30m"), duration_ns("5min")
    (5400000000000, 300000000000)
    """
    return sum(int(count) * LENGTHS_NS[unit] for count, unit in _PART.findall(text))


def plausible(unit: str) -> range:
    """Return the plausible times in a unit."""
    return range(PLAUSIBLE_S.start * UNITS[unit], PLAUSIBLE_S.stop * UNITS[unit])


def unit_of(time: int) -> str | None:
    """Return the unit in which a time is plausible; None if it is so in none.

    >>> unit_of(1685695916), unit_of(1685695916000), unit_of(1000)
    ('s', 'ms', None)
    """
    return next((unit for unit in UNITS if time in plausible(unit)), None)


def first_plausible(times: Times) -> int | None:
    """Return the index of the first time that is plausible in any unit; None if no time is. Cost: at most 10 ns a time.

    >>> first_plausible(np.array([1000, 1685695916, 1685695916000]))
    1
    """
    if not times.size or int(times.max()) < PLAUSIBLE_S.start:
        return None
    found = _inside(times, UNITS)
    return int(found.argmax()) if found.any() else None


def _inside(times: Times, units: Iterable[str]) -> NDArray[np.bool_]:
    """Return the mask of the times that are plausible in one of these units. Cost: about 2 ns a time and unit."""
    found = np.zeros(times.size, np.bool_)
    for unit in units:
        span = plausible(unit)
        found |= (times >= span.start) & (times < span.stop)
    return found


class Unit(NamedTuple):
    """A unit (s, ms, us, ns), and how it came: `given` by the settings, `assumed` so far, or `decided`, and then why."""

    name: str
    basis: Literal["given", "assumed", "decided"]
    because: str | None = None


class TimeUnit:
    """The unit of one stream. The front end alone calls the methods that change it; any thread may read it.

    If no unit is `given`, the first event whose time is plausible decides. Until then times count as `ASSUMED`. The numbers
    of the settings are in the unit that is given or assumed. If the unit is not `strict`, no time is strange.
    """

    def __init__(self, given: str | None = ASSUMED, *, strict: bool = True) -> None:
        self._first = given or ASSUMED
        self._strict = strict
        self._now = Unit(given, "given") if given is not None else None
        self._told: Unit | None = None
        self.on_decided: Callable[[Unit], None] = lambda _: None
        """Called on the front end's thread with each unit that is decided, once if it is decided again after a failure."""

    @property
    def now(self) -> Unit:
        """The present unit."""
        return self._now or Unit(ASSUMED, "assumed")

    @property
    def name(self) -> str:
        """The name of the present unit."""
        return self.now.name

    def scaled(self, value: int) -> int:
        """Convert a length of time from the unit of the settings to the present unit, rounded up.

        >>> unit = TimeUnit(None)
        >>> unit.decide(1685695916, "offset 0")
        >>> unit.scaled(500), unit.scaled(3_600_000)
        (1, 3600)
        """
        return -(-value * UNITS[self.name] // UNITS[self._first])

    def age(self, most: int | None) -> int | None:
        """Return `scaled` of the most event time to keep; None if it is None, or if no checkpoint has been looked at yet.

        Before that, the unit of the slices in the checkpoint is unknown, and too short an age would drop them.
        """
        return None if most is None or self._now is None else self.scaled(most)

    # Deciding --------------------------------------------------------------------------------------------------------

    def begin(self, state: State | None, recent: Iterable[Times]) -> None:
        """Go on from the `state` of a checkpoint; None: without one. A unit that is given stays.

        If the checkpoint was written with a given unit, or by an earlier version, its `recent` times decide.
        """
        if self._now is not None and self._now.basis == "given":
            return
        if state is not None and state["basis"] == "decided":
            self._decided(Unit(str(state["name"]), "decided", str(state["because"])))
            return
        self._now = Unit(ASSUMED, "assumed")
        for times in recent:
            place = self.deciding(times)
            if place is not None:
                self.decide(int(times[place]), "the checkpoint")
                return

    def state(self) -> State:
        """Return the state for `begin`."""
        return self.now._asdict()

    def deciding(self, times: Times) -> int | None:
        """Return the index of the first time that decides; None if no time does, or if nothing is to be decided."""
        return first_plausible(times) if self._now is not None and self._now.basis == "assumed" else None

    def decide(self, time: int, place: str) -> None:
        """Decide by a plausible time, which was found at `place`."""
        unit = unit_of(time)
        assert unit is not None, "only a plausible time decides"
        moment = datetime.fromtimestamp(time // UNITS[unit], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._decided(Unit(unit, "decided", f"{time}, the first plausible time, is {moment} in {NAMES[unit]} ({place})"))

    def _decided(self, unit: Unit) -> None:
        self._now = unit
        if unit != self._told:
            self._told = unit
            self.on_decided(unit)

    def strange(self, times: Times) -> NDArray[np.bool_] | None:
        """Return the mask of the times that are plausible in another unit than the decided one; None if no time is.

        A unit that is given or assumed refuses no time. Cost: about 1 ns a time.
        """
        if self._now is None or self._now.basis != "decided" or not self._strict or not times.size:
            return None
        span = plausible(self._now.name)
        if span.start <= int(times.min()) and int(times.max()) < span.stop:
            return None
        found = _inside(times, UNITS.keys() - {self._now.name})
        return found if found.any() else None
