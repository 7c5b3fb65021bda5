"""Dates and times as text, by ISO 8601 and RFC 3339, as seconds since 1970 and a fraction. Exact.

The only place that reads such text: requests and records use it.
"""

import re
from datetime import UTC, datetime, timedelta

DAY_S = 86_400
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::(?:[0-5][0-9]|60)(?:\.[0-9]{1,40})?)?"
_ZONE = "(?:[Zz]|[+ -](?:[01][0-9]|2[0-3]):?[0-5][0-9](?::[0-5][0-9])?)"
ISO = f"{_DATE}(?:[Tt ]{_CLOCK}{_ZONE}?)?"
"""A date, a date with a time, or both with a zone. A leap second counts as the next second."""

_ISO = re.compile(ISO)
_PARTS = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:.([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?)?"
    r"(?:[Zz]|([+ -])([0-9]{2}):?([0-9]{2})(?::([0-9]{2}))?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE_YEARS, _CYCLE_S = 400, 146_097 * DAY_S
"""The calendar repeats after this many years, which have this many seconds."""


def moment(text: str) -> tuple[int, str] | None:
    """Return the whole seconds since 1970, rounded down, and the digits of the fraction; None if the text is not `ISO`.

    Without a zone, a date or a time is in UTC. A space before a zone counts as a plus. Cost: 3 us.

    >>> moment("1970-01-01T00:00:01.250Z"), moment("1969-12-31 23:59:59.5"), moment("yesterday")
    ((1, '250'), (-1, '5'), None)
    """
    if _ISO.fullmatch(text) is None:
        return None
    found = _PARTS.fullmatch(text)
    assert found is not None, "ISO is stricter"
    year, month, day = (int(part) for part in found.group(1, 2, 3))
    hour, minute, second = (int(part or 0) for part in found.group(4, 5, 6))
    # datetime has no year 0; it is a year like 400.
    local = datetime(year or _CYCLE_YEARS, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    since = (local - _EPOCH) // timedelta(seconds=1) + second // 60 - (0 if year else _CYCLE_S)
    zone_h, zone_min, zone_s = (int(part or 0) for part in found.group(9, 10, 11))
    zone = (zone_h * 60 + zone_min) * 60 + zone_s
    return since + (zone if found[8] == "-" else -zone), found[7] or ""
