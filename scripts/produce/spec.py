"""The request to a pattern, and the chunks of records that it returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records in the order in which they are sent, and the partition of each."""

    values: list[bytes]
    partitions: list[int]


@dataclass(frozen=True, slots=True)
class Spec:
    """The records to make: `count` of them (None: without end), from `start` ms on, for `partitions` partitions.

    A segment has `size` numbers. A share `delay_probability` of the frames is late by up to `delay_s` seconds.
    """

    count: int | None
    start: int
    partitions: int = 3
    seed: int = 0
    displacement: int = 1_000
    size: int = 100
    delay_s: int = 5
    delay_probability: float = 0.0
