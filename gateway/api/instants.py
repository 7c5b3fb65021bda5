"""Times as people write them, as integers: RFC 3339, and Unix seconds with a fraction. Pure; exact to the nanosecond."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MS = "ms"
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many of each unit a second has."""

_SECONDS = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,9})?")
_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,40}))?"
    r"(?:[Zz]|([+ -])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_YEARS, _CYCLE_S = 400, 146_097 * 86_400
"""The calendar repeats after this many years, which have this many seconds."""


def unix_seconds(text: str, per_second: int) -> int | None:
    """Return Unix seconds as an integer of `per_second` parts a second, rounded down; None if `text` is not a number.

    >>> unix_seconds("1468244384.25", 1_000)
    1468244384250
    """
    return int(Decimal(text) * per_second // 1) if _SECONDS.fullmatch(text) else None


def instant(text: str, per_second: int) -> int:
    """Return a time by RFC 3339 as an integer of `per_second` parts a second since 1970. Finer digits are cut off.

    A space before a zone counts as a plus, because an unencoded plus in a query becomes a space. A leap second counts as the
    next second. Raises ValueError for any other text.

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
    # datetime has no year 0; it is a year like 400.
    local = datetime(year or _CYCLE_YEARS, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    since = (local - _EPOCH) // timedelta(seconds=1) + second // 60 - (0 if year else _CYCLE_S)
    zone_s = (zone_h * 60 + zone_min) * 60
    since += zone_s if found[8] == "-" else -zone_s
    digits = (found[7] or "")[:9].ljust(9, "0")
    return since * per_second + int(digits) * per_second // 10**9


def iso_8601_ms(text: str) -> int:
    """Return a time by RFC 3339, or by another form of ISO 8601 with a zone, in ms since 1970.

    Raises ValueError for any other text.
    """
    try:
        return instant(text, UNITS[MS])
    except ValueError:
        given = datetime.fromisoformat(text.replace(" ", "+"))  # an unencoded plus in a query
        if given.tzinfo is None:
            raise
        return (given - _EPOCH) // timedelta(milliseconds=1)
