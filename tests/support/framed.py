"""Values as a poll of Kafka gives them: columns of one blob, in which other bytes lie between the values."""

from collections.abc import Sequence

import numpy as np

from actors.columns.values import Values

FRAMES = (b"", b"\0", b'"', b'"}', b"0123456789", b"\xff\xfe", b" word ", b'{"ts":1,"uid":"no","data":"no"}')
"""Bytes that a decoder must not take for a part of a value."""


def framed(values: Sequence[bytes | None], frame: bytes, tail: int = 8) -> Values:
    """Return `values` with `frame` before each of them, and `tail` bytes at the end."""
    blob, starts = bytearray(), []
    for value in values:
        blob += frame
        starts.append(len(blob))
        blob += value or b""
    lengths = np.array([len(value or b"") for value in values], np.int64)
    absent = np.array([value is None for value in values], np.bool_)
    return Values.of_columns(
        bytes(blob + (frame * tail)[:tail].ljust(tail, b"'")),
        np.array(starts, np.int64),
        lengths,
        absent if absent.any() else None,
    )
