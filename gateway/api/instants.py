"""Times as people write them, to integers: RFC 3339, and Unix seconds with a fraction. Pure; exact to the nanosecond."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MS = "ms"
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many of a unit a second has."""

_SECONDS = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,9})?")
_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,40}))?"
    r"(?:[Zz]|([+ -])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_YEARS, _CYCLE_S = 400, 146_097 * 86_400
"""The calendar repeats after so many years, which have so many seconds."""


def unix_seconds(text: str, per_second: int) -> int | None:
    """Return Unix seconds in a unit of which a second has so many, cut off below; None where `text` is no such number.

    >>> unix_seconds("1468244384.25", 1_000)
    1468244384250
    """
    return int(Decimal(text) * per_second // 1) if _SECONDS.fullmatch(text) else None


def instant(text: str, per_second: int) -> int:
    """Return a time by RFC 3339 in a unit of which a second has so many, since 1970; what is finer is cut off.

    A space in place of the plus of a zone is a plus that nobody encoded in a query. A leap second is the next one.
    Raises ValueError for any other text.

    >>> instant("2016-07-11T15:00:00.123456789+02:00", 10**9)
    1468242000123456789
    """
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError("not a time by RFC 3339")
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    zone_h, zone_min = int(found[9] or 0), int(found[10] or 0)
    if second > 60 or zone_h > 23 or zone_min > 59:  # 60 is a leap second
        raise ValueError("a second or a zone that there is not")
    # Year 0, which datetime does not know, is a year like 400.
    local = datetime(year or _CYCLE_YEARS, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    since = (local - _EPOCH) // timedelta(seconds=1) + second // 60 - (0 if year else _CYCLE_S)
    zone_s = (zone_h * 60 + zone_min) * 60
    since += zone_s if found[8] == "-" else -zone_s
    digits = (found[7] or "")[:9].ljust(9, "0")
    return since * per_second + int(digits) * per_second // 10**9


def iso_8601_ms(text: str) -> int:
    """Return a time by RFC 3339, or by any other form of ISO 8601 that names its zone, in ms since 1970.

    Raises ValueError for any other text.
    """
    try:
        return instant(text, UNITS[MS])
    except ValueError:
        given = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in a query that nobody encoded
        if given.tzinfo is None:
            raise
        return (given - _EPOCH) // timedelta(milliseconds=1)
