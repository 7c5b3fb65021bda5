"""Exact percentiles of groups of values.

A percentile is one of the values: the smallest one that this percentage of the values does not exceed (nearest rank).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTS = (50, 95)

NARROW = (1 << 32) - 1
"""The largest value of 32 bits."""

Integers = NDArray[Any]
"""Integers of 32 or 64 bits."""


def narrow(values: Integers) -> Integers:
    """Return values in 32 bits if all fit; at least one value, none negative."""
    return values.astype(np.uint32) if values.dtype == np.int64 and int(values.max()) <= NARROW else values


def ranks_of(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of p50, p95 and the maximum in consecutive sorted groups of these sizes: three rows."""
    ends = np.cumsum(sizes)
    return np.stack([ends - sizes - (-sizes * percent // 100) - 1 for percent in PERCENTS] + [ends - 1])


def ranked(values: Integers, sizes: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values at `ranks` if the values of each of the consecutive groups of these `sizes` are sorted.

    No value is negative. Cost: a sort, 10 ns a value.
    """
    if sizes.size == 1:
        return np.sort(narrow(values))[ranks].astype(np.int64)
    width = int(values.max()) + 1
    if width * sizes.size > 1 << 63:
        groups = np.split(values, np.cumsum(sizes)[:-1])
        return np.concatenate([np.sort(group) for group in groups])[ranks].astype(np.int64)
    kind: type[Any] = np.uint32 if width * sizes.size <= NARROW else np.int64
    lead = np.arange(sizes.size, dtype=np.int64) * width
    keys: Integers = np.sort(values.astype(kind) + np.repeat(lead.astype(kind), sizes))
    found: NDArray[np.int64] = keys[ranks].astype(np.int64) - lead
    return found


def percentiles(values: NDArray[np.int64], sizes: Sequence[int]) -> list[list[int | None]]:
    """Return p50, p95 and the maximum of each of the consecutive groups of these `sizes`: three lists, None for an empty group.

    The values may be negative. Cost: a sort.
    """
    counts = np.array(sizes, np.int64)
    some = np.flatnonzero(counts)
    columns: list[list[int | None]] = [[None] * counts.size for _ in range(len(PERCENTS) + 1)]
    if not some.size:
        return columns
    groups = np.split(values, np.cumsum(counts[some])[:-1])
    ordered = np.concatenate([np.sort(group) for group in groups])
    for column, found in zip(columns, ordered[ranks_of(counts[some])].tolist(), strict=True):
        for place, value in zip(some.tolist(), found, strict=True):
            column[place] = value
    return columns
