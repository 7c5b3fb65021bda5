"""Records of one partition as a poll gives them, for the tests of views and of the intake."""

from collections.abc import Mapping, Sequence

import numpy as np

from actors.columns.values import Values
from actors.sources.polled import Polled, of_one_partition


def polled(
    values: Sequence[bytes | None],
    *,
    epoch: int = 0,
    first: int = 0,
    keys: Mapping[int, bytes] | None = None,
) -> Polled:
    """Return a poll in columns whose offsets and times count up from `first`. `keys` has keys by index."""
    return of_one_partition(
        in_columns(values),
        first,
        lambda: np.arange(first, first + len(values)),
        key_of=(keys or {}).get,
        ended=frozenset({0}),
        epoch=epoch,
    )


def in_columns(values: Sequence[bytes | None], noise: bytes = b"\xff_7") -> Values:
    """Return `values` as columns, with bytes between them that belong to no value."""
    raw, starts = bytearray(), []
    for value in values:
        raw += noise
        starts.append(len(raw))
        raw += value or b""
    absent = np.array([value is None for value in values], np.bool_)
    lengths = np.array([len(value or b"") for value in values], np.int64)
    return Values.of_columns(bytes(raw) + bytes(8), np.array(starts, np.int64), lengths, absent if absent.any() else None)
