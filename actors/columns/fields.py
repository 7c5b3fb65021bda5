"""Checks for values of a restored state: columns of one type, integers, flags, lists, and parts of known lengths.

Used by every `of_state`. Each function returns its argument uncopied, or raises TypeError or ValueError.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from actors.columns.snapshot import Deferred, State
from actors.columns.times import INT64_MAX, INT64_MIN, Times


def column(value: State, dtype: DTypeLike, count: int | None = None) -> NDArray[Any]:
    """Return `value` if it is a one-dimensional array of `dtype`, with `count` values if that is given."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype != dtype:
        raise TypeError(f"a column of {np.dtype(dtype)} was expected, got {type(value).__name__}")
    if count is not None and value.size != count:
        raise ValueError(f"a column of {count} was expected, got {value.size}")
    return value


def integer(value: State, low: int = INT64_MIN, high: int = INT64_MAX) -> int:
    """Return `value` if it is an integer from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a whole number was expected, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{low} to {high} was expected, got {value}")
    return value


def flag(value: State) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"true or false was expected, got {type(value).__name__}")
    return value


def listed(value: State) -> Sequence[State]:
    """Return `value` if it is a list."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"a list was expected, got {type(value).__name__}")
    return value


def blob(value: State) -> memoryview:
    """Return `value` as a memoryview if it is a byte string."""
    if not isinstance(value, bytes | memoryview):
        raise TypeError(f"a byte string was expected, got {type(value).__name__}")
    return memoryview(value)


def words(value: State, dtype: DTypeLike, count: int | None = None) -> NDArray[Any]:
    """Return a byte string as an array of `dtype`, with `count` values if that is given."""
    return column(np.frombuffer(blob(value), dtype), dtype, count)


def bounds(sizes: NDArray[Any], total: int) -> list[int]:
    """Return the start of each of the consecutive parts of `sizes`, then the end of the last one, which must be `total`."""
    if sizes.size and (int(sizes.min()) < 0 or int(sizes.max()) > total):
        raise ValueError(f"parts of at most {total} were expected, got {int(sizes.min())} to {int(sizes.max())}")
    ends: Times = np.zeros(sizes.size + 1, np.int64)
    np.cumsum(sizes, dtype=np.int64, out=ends[1:])
    if int(ends[-1]) != total:
        raise ValueError(f"parts of {total} in all were expected, got {int(ends[-1])}")
    found: list[int] = ends.tolist()
    return found


def joined(nbytes: int, parts: Callable[[], Iterable[Any]]) -> Deferred:
    """Return a byte string of `nbytes` that is joined from `parts` when the state is written."""
    return Deferred(nbytes, lambda: b"".join(parts()))


def numbered(count: int, dtype: DTypeLike, numbers: Callable[[], Iterable[int]]) -> Deferred:
    """Return a byte string of `count` numbers, for `words`, that is made when the state is written."""
    return Deferred(count * np.dtype(dtype).itemsize, lambda: np.fromiter(numbers(), dtype, count).tobytes())
