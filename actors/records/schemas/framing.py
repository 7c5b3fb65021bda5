"""The frame of a schema registry, before a record or in its header: the name of the record's schema.

It is the byte 0 and a number of 32 bits, big-endian, or the byte 1 and a GUID. A record without a frame has the one schema of
a file.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from actors.columns.values import Values
from actors.records.encoding import UnreadableError
from actors.records.members import Tokens

Name = int | bytes
"""A schema by its number, or by the 16 bytes of its GUID."""

HEADER = "__value_schema_id"
"""The header in which serializers of Confluent write the frame, if they do not write it before the record."""

FRAME_BYTES = 5
"""Bytes of a frame with a number."""

_GUID_FRAME_BYTES = 17
_NUMBERED, _WITH_GUID = 0, 1
_FIRST_BYTE = np.uint64(0xFF)

MISSING = object()
"""The value of a way to nowhere."""


class Schema(Protocol):
    """What a record is made of."""

    def values(self, record: bytes, start: int, ways: Sequence[Tokens]) -> Sequence[object]:
        """Return the values at the ends of `ways` in the record that begins at byte `start`; MISSING for one that is not there.

        A value is of Python's types. Raises UnreadableError.
        """


class Schemas(ABC):
    """The schemas of a stream. Any thread may use it."""

    @abstractmethod
    def of(self, record: bytes) -> tuple[Schema, int]:
        """Return the schema of a record, and the byte at which its content begins. Raises UnreadableError, UnreadyError."""


class OneSchema(Schemas):
    """The schema of all records. If they are `framed`, it is that of every name."""

    def __init__(self, schema: Schema, *, framed: bool) -> None:
        self._schema = schema
        self._framed = framed

    def of(self, record: bytes) -> tuple[Schema, int]:
        """See the base."""
        if self._framed:
            return self._schema, frame_of(record)[1]
        return self._schema, 0


def frame_of(record: bytes) -> tuple[Name, int]:
    r"""Return the name of the schema in the frame of a record, and the length of the frame.

    Raises UnreadableError if it has no frame.

    >>> frame_of(b"\0\0\0\1\2rest")
    (258, 5)
    >>> frame_of(b"\1sixteen bytes...rest")
    (b'sixteen bytes...', 17)
    """
    if len(record) >= FRAME_BYTES and record[0] == _NUMBERED:
        return int.from_bytes(record[1:FRAME_BYTES]), FRAME_BYTES
    if len(record) >= _GUID_FRAME_BYTES and record[0] == _WITH_GUID:
        return record[1:_GUID_FRAME_BYTES], _GUID_FRAME_BYTES
    raise UnreadableError("not_framed")


def names_in(values: Values) -> list[Name]:
    r"""Return the names of the schemas in the frames of records: numbers, ascending, then GUIDs, each of them once.

    Cost: 50 ns a record, and 1 us if its frame has a GUID.

    >>> names_in(Values.of([b"\0\0\0\0\7rest", None, b"R_1685695916000", b"\0\0\0\1\2", b"\1sixteen bytes..."]))
    [7, 258, b'sixteen bytes...']
    """
    text = values.text
    words = text.words_at(0)
    first = words & _FIRST_BYTE
    numbered = (text.lengths >= FRAME_BYTES) & (first == _NUMBERED)
    found: list[Name] = np.unique((words[numbered] >> np.uint64(8)).astype(np.uint32).byteswap()).tolist()
    with_guid = np.flatnonzero((text.lengths >= _GUID_FRAME_BYTES) & (first == _WITH_GUID))
    return found + sorted({record[1:_GUID_FRAME_BYTES] for record in text.take(with_guid)})
