"""The arguments of a query of `top`, and the records of its topic, one at a time."""

import re
from dataclasses import dataclass

from actors.columns.record_text import BOM, bare, defect
from actors.columns.times import INT64_MAX, INT64_MIN

CLEAR_KEY = b"firnline_clear"
"""Key of a record that deletes all earlier values of its partition, and all values of earlier epochs of the topic.

The underscore makes it differ from every id, so compaction never drops a clear for a value.
"""

CLEAR_KEYS = frozenset({CLEAR_KEY, b"firnline-clear"})
"""The keys of clears. Versions before 1.1 wrote the second one."""

CLEAR_VALUE = b"cleared"

LONGEST = 65_536
"""Bytes of the longest accepted record."""

_USUAL = re.compile(rb"([a-zA-Z0-9.:@+-]+)_[+-]?\d{1,18}")
"""Most records. Each one that matches is valid."""

_NUMBER = re.compile(rb" *[+-]?(\d+) *")
_WHITE_SPACE = re.compile(rb"[\t\n\r]")


@dataclass(frozen=True, slots=True)
class Top:
    """The arguments of a query: the `limit` largest values, or all if it is None."""

    limit: int | None = None


def value_of(record: bytes) -> int | str:
    """Return the value of one record without its line end, or the reason for its refusal. Cost: 2 us."""
    if (reason := defect(record, LONGEST)) is not None:
        return reason
    name, underscore, text = record.partition(b"_")
    if not underscore:
        return "no_underscore"
    if b"_" in text:
        return "many_underscores"
    if (number := _NUMBER.fullmatch(text)) is None:
        return "no_number"
    if name.strip(b" ") != name or name.startswith(BOM) or _WHITE_SPACE.search(name):
        return "white_space"
    if len(number[1].lstrip(b"0")) > len(str(INT64_MAX)):  # Python refuses to convert thousands of digits
        return "too_large"
    value = int(text.replace(number[1], number[1].lstrip(b"0") or b"0"))
    return value if INT64_MIN <= value <= INT64_MAX else "too_large"


def key_of(item: bytes) -> bytes:
    """Return the key of an item that a client posts: its id. The key of an item that is not valid differs from every id.

    So a compacted topic keeps the last value of each id. Cost: 0.5 us.
    """
    if (usual := _USUAL.fullmatch(item)) is not None:
        return usual[1]
    record = bare(item)
    return record.partition(b"_")[0] if isinstance(value_of(record), int) else b"_" + record
