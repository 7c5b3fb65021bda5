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
    """Return a poll whose offsets and times count up from `first`. `keys` has keys by index."""
    return of_one_partition(
        Values.of(values),
        first,
        lambda: np.arange(first, first + len(values)),
        key_of=(keys or {}).get,
        ended=frozenset({0}),
        epoch=epoch,
    )
