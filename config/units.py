"""The time units of events. Imports nothing of the product, so that any command may use it."""

import re
from typing import Literal

TimeUnit = Literal["s", "ms", "us", "ns"]
NANOSECONDS: dict[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


_NS = {**NANOSECONDS, **{unit: seconds * 10**9 for unit, seconds in (("m", 60), ("min", 60), ("h", 3_600), ("d", 86_400))}}
_NS["w"] = 7 * _NS["d"]
_DURATION = re.compile(f"(?:[0-9]{{1,18}}(?:{'|'.join(sorted(_NS, key=len, reverse=True))}))+")
_PART = re.compile("([0-9]+)([a-z]+)")


def duration_ms(text: str) -> int:
    """Return the milliseconds of a text such as 90s or 1h30m: the durations of requests, if they are whole milliseconds.

    Raises ValueError for another text.

    >>> duration_ms("250ms"), duration_ms("1h30m")
    (250, 5400000)
    """
    length = sum(int(count) * _NS[unit] for count, unit in _PART.findall(text)) if _DURATION.fullmatch(text) else -1
    if length < 0 or length % _NS["ms"]:
        raise ValueError("a duration such as 500ms, 90s, 30m, 1h30m or 7d")
    return length // _NS["ms"]


def in_unit(milliseconds: int, unit: str) -> int:
    """Convert milliseconds to a time unit, rounded up to a whole number.

    >>> in_unit(500, "s"), in_unit(500, "us")
    (1, 500000)
    """
    return -(-milliseconds * NANOSECONDS["ms"] // NANOSECONDS[unit])
