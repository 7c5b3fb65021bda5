"""The time units of events. Imports nothing, so that any command may use it."""

from typing import Literal

TimeUnit = Literal["s", "ms", "us", "ns"]
NANOSECONDS: dict[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def in_unit(milliseconds: int, unit: str) -> int:
    """Convert milliseconds to a time unit, rounded up to a whole number.

    >>> in_unit(500, "s"), in_unit(500, "us")
    (1, 500000)
    """
    return -(-milliseconds * NANOSECONDS["ms"] // NANOSECONDS[unit])
