"""The time units of events. Imports nothing of the product, so that any command may use it."""

import re
from typing import Literal

TimeUnit = Literal["s", "ms", "us", "ns"]
NANOSECONDS: dict[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


_DURATION = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    """Return the milliseconds of a text such as 90s or 2h. Raises ValueError if the text is another one.

    >>> duration_ms("250ms"), duration_ms("2h")
    (250, 7200000)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("a duration such as 500ms, 90s, 30m, 2h or 7d")
    return int(found[1]) * _MS[found[2]]


def in_unit(milliseconds: int, unit: str) -> int:
    """Convert milliseconds to a time unit, rounded up to a whole number.

    >>> in_unit(500, "s"), in_unit(500, "us")
    (1, 500000)
    """
    return -(-milliseconds * NANOSECONDS["ms"] // NANOSECONDS[unit])
