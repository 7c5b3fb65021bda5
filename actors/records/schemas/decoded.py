"""The values that JSON Pointers name in records of a schema, as the bytes of JSON values, which `roles.py` reads."""

import math
from collections.abc import Sequence

import msgspec

from actors.records.members import tokens_of
from actors.records.schemas.framing import MISSING, Schemas

_json = msgspec.json.Encoder().encode


class BySchema:
    """The encoding of records that have `schemas`."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def members(self, pointers: Sequence[str]) -> "DecodedMembers":
        """Return a reader of the values at `pointers`."""
        return DecodedMembers(self._schemas, pointers)


class DecodedMembers:
    """Reads the values at `pointers`, one or more, of one record after another."""

    def __init__(self, schemas: Schemas, pointers: Sequence[str]) -> None:
        self._of = schemas.of
        self._ways = [tokens_of(pointer) for pointer in pointers]

    def read(self, record: bytes) -> Sequence[bytes]:
        """Return each value as JSON; no bytes if it is missing. Cost: that of the schema, and 0.4 us a value.

        Whole numbers keep all their digits. Bytes are no JSON: see `kind_of`. Raises UnreadableError, UnreadyError.
        """
        schema, start = self._of(record)
        return list(map(_written, schema.values(record, start, self._ways)))


def _written(value: object) -> bytes:
    """Return a value as JSON, or as what `kind_of` knows beside JSON.

    >>> _written("a"), _written(2**63 - 1), _written(b"a"), _written(math.inf), _written(MISSING)
    (b'"a"', b'9223372036854775807', b'b"YQ=="', b'NaN', b'')
    """
    if value is MISSING:
        return b""
    if isinstance(value, bytes):
        return b"b" + _json(value)
    if isinstance(value, float) and not math.isfinite(value):
        return b"NaN"
    return _json(value)
