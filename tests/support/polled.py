"""Records as a poll gives them, for the tests of views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.views.view import Records


@dataclass(frozen=True)
class Polled:
    """One poll of one partition. Offsets and times count up from `first`; keys are given by place."""

    values: Sequence[bytes | None]
    epoch: int = 0
    first: int = 0
    keys: Mapping[int, bytes] = field(default_factory=dict)
    partitions: NDArray[np.unsignedinteger] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "partitions", np.zeros(len(self.values), np.uint16))

    def offsets(self) -> NDArray[np.int64]:
        return np.arange(self.first, self.first + len(self.values), dtype=np.int64)

    def timestamps(self) -> NDArray[np.int64]:
        return np.arange(self.first, self.first + len(self.values), dtype=np.int64)

    def key_of(self, place: int) -> bytes | None:
        return self.keys.get(place)


def polled(
    values: Sequence[bytes | None], *, epoch: int = 0, first: int = 0, keys: Mapping[int, bytes] | None = None
) -> Records:
    return Polled(values, epoch, first, keys or {})
