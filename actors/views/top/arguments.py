"""The arguments of a query of `top`, and the records of its topic, one at a time."""

import re
from dataclasses import dataclass

from actors.columns.record_text import BOM, bare, defect
from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.grid import Grid

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

_NUMBER = re.compile(r"([+-]?)0*([0-9]+)")
_ENDS = re.compile(r"[\t\n\r]")
_BOM = BOM.decode()
_ANY_VALUE = b"_0"


@dataclass(frozen=True, slots=True)
class Top:
    """The arguments of a query: the `limit` largest values, or all if it is None. `values`: JSON has them beside the ids."""

    limit: int | None = None
    values: bool = False


@dataclass(frozen=True, slots=True)
class RankOf(Top):
    """The value and the rank, among all ids whatever the span, of the one id `name`: 1 for the largest value."""

    limit: int | None = 1
    name: bytes = b""


@dataclass(frozen=True, slots=True)
class Keyed(Top):
    """The `limit` largest values of all ids, or all, and the values of the ids `names`; each with its time and its place.

    A shard of a cluster is asked so, because a later value of an id may be in another shard.
    """

    names: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures(Top):
    """The values of the ids whose last record has a time in the span, in each bucket of `by`; None: in one bucket.

    The answer has at most `most` buckets.
    """

    by: Grid | None = None
    most: int = 1 << 62


def value_of(record: bytes) -> int | str:
    """Return the value of one record without its line end, or the reason for its refusal. Cost: 2 us."""
    if (reason := defect(record, LONGEST)) is not None:
        return reason
    name, underscore, text = record.decode().partition("_")
    if not underscore:
        return "no_underscore"
    if "_" in text:
        return "many_underscores"
    if (number := _NUMBER.fullmatch(text.strip())) is None:
        return "no_number"
    if (name := name.strip()).startswith(_BOM) or _ENDS.search(name):
        return "white_space"
    sign, digits = number.groups()
    if len(digits) > len(str(INT64_MAX)):  # Python refuses to convert thousands of digits
        return "too_large"
    value = int(sign + digits)
    return value if INT64_MIN <= value <= INT64_MAX else "too_large"


def id_of(record: bytes) -> bytes:
    """Return the id of a valid record: the bytes before the underscore, without white space around them. Cost: 0.5 us.

    White space is what `str.strip` removes, as in Unicode.
    """
    return record.partition(b"_")[0].decode().strip().encode()


def key_defect(key: bytes) -> str | None:
    """Return the reason why a key is no id, or None if it is one. Nothing is removed from a key.

    Kafka compacts by the bytes of a key. So a key with white space around it is not the key of the id without it.
    """
    value = value_of(key + _ANY_VALUE)
    if isinstance(value, str):
        return value
    return None if id_of(key + _ANY_VALUE) == key else "white_space"


def key_of(item: bytes) -> bytes:
    """Return the key of an item that a client posts: its id. The key of an item that is not valid differs from every id.

    So a compacted topic keeps the last value of each id. Cost: 0.5 us.
    """
    if (usual := _USUAL.fullmatch(item)) is not None:
        return usual[1]
    record = bare(item)
    return id_of(record) if isinstance(value_of(record), int) else b"_" + record
