"""The grammar of times in requests: numbers, dates, RFC 3339, and times before or after now. Pure and exact.

The commands, the Python client and the page send the text of a time as it was typed. `docs/times.md` describes the grammar, and
`ISO` (in `calendar`) and `RELATIVE` are the same grammar as patterns, for the API's description.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from actors.timeline import calendar
from actors.timeline.unit import DURATION, PLAUSIBLE_S, UNITS, duration_ns

MS = "ms"
_NS = UNITS["ns"]
RELATIVE = f"now|(?:now)?[+ -]{DURATION}"
"""The present, or a duration before or after it."""

_NUMBER = re.compile(r"([+-]?[0-9]{1,20})(\.[0-9]{1,9})?")
_RELATIVE = re.compile(RELATIVE)
_FINER = re.compile("[.,][0-9]{7}")
"""A fraction that `datetime` would cut off."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LAST_PLAIN_S = 10**11 - 1
"""A number of at most this many seconds (the year 5138) is never taken for a time in another unit."""


class Meant(NamedTuple):
    """What a number probably means: a time in the finer `unit`, which is `value` in the expected unit."""

    unit: str
    value: int


def meant(value: int, unit: str) -> Meant | None:
    """Return what a number of `unit` since 1970 probably means if the year is not plausible; None if no other unit fits.

    >>> meant(1513765893000, "s")
    Meant(unit='ms', value=1513765893)
    """
    if value <= LAST_PLAIN_S * UNITS[unit]:
        return None
    for finer, per_second in UNITS.items():
        factor = per_second // UNITS[unit]
        if factor > 1 and value // per_second in PLAUSIBLE_S:
            return Meant(finer, value // factor)
    return None


def implausible(unit: str) -> list[range]:
    """Return the numbers that `meant` explains, in ascending order."""
    return [
        range(max(PLAUSIBLE_S.start * per_second, LAST_PLAIN_S * UNITS[unit] + 1), PLAUSIBLE_S.stop * per_second)
        for per_second in UNITS.values()
        if per_second > UNITS[unit] and PLAUSIBLE_S.stop * per_second > LAST_PLAIN_S * UNITS[unit]
    ]


def unbounded(value: int) -> bool:
    """Whether a number has only nines, or is a power of ten. Users write such an end of a range if they mean no end."""
    digits = str(value)
    return not digits.strip("9") or (digits[0] == "1" and not digits[1:].strip("0"))


def number(text: str, *, fraction: bool = True) -> int | Fraction | None:
    """Return a number of at most 20 digits, with a `fraction` of at most nine; None for any other text.

    >>> number("-0.0005")
    Fraction(-1, 2000)
    """
    found = _NUMBER.fullmatch(text)
    if found is None or (found[2] is not None and not fraction):
        return None
    return int(found[1]) if found[2] is None else Fraction(text)


def moment(text: str, now_ns: Callable[[], int]) -> Fraction:
    """Return a date, a time by ISO 8601, or a time relative to `now_ns()`, in seconds since 1970, without any rounding.

    Without a zone, a date or a time is in UTC. A space before a zone or a duration counts as a plus, because an unencoded plus
    in a query becomes a space. Raises ValueError for any other text, including numbers.
    """
    if (found := calendar.moment(text)) is not None:
        seconds, digits = found
        return seconds + Fraction(f"0.{digits or 0}")
    if _RELATIVE.fullmatch(text):
        return Fraction(now_ns() + _offset_ns(text.removeprefix("now")), _NS)
    given = datetime.fromisoformat(text.replace(" ", "+"))  # further forms, such as 2016-W28-1T13:00Z
    if given.tzinfo is None or _FINER.search(text):
        raise ValueError("no time")
    return Fraction((given - _EPOCH) // timedelta(microseconds=1), 10**6)


def _offset_ns(text: str) -> int:
    """Return a duration such as -1h30m; 0 for an empty text."""
    length = duration_ns(text)
    return -length if text.startswith("-") else length
