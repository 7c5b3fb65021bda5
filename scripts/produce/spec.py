"""What to send, and what comes of it: the words between the producer and its patterns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records in the order of sending, and the partition of each."""

    values: list[bytes]
    partitions: list[int]


@dataclass(frozen=True, slots=True)
class Spec:
    """What to make: `count` records (None: without end), from `start` ms on, for `partitions` partitions.

    `size` numbers a segment; `delay_probability` of the frames late by up to `delay_s` seconds.
    """

    count: int | None
    start: int
    partitions: int = 3
    seed: int = 0
    displacement: int = 1_000
    size: int = 100
    delay_s: int = 5
    delay_probability: float = 0.0
