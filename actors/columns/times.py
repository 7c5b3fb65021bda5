"""Event times as int64 columns, and the bounds of int64."""

import numpy as np
from numpy.typing import NDArray

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

Times = NDArray[np.int64]

NO_TIMES: Times = np.empty(0, np.int64)
NO_TIMES.flags.writeable = False


def count_before(column: Times, time: int) -> int:
    """Return the number of values before `time` in an ascending column. `time` may be outside int64. Cost: O(log n)."""
    if time > INT64_MAX:
        return column.size
    return int(column.searchsorted(max(time, INT64_MIN)))  # np.searchsorted costs 3 us more
