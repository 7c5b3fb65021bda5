"""One poll of a source: values and partitions, and the rest as columns that are made when a view asks for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Polled:
    """One poll: its records in order of arrival, and the partitions that are at their end.

    The callables make what only some views need: the offset and the time (ms since 1970) of each record, and the key and the
    headers of the record at a place. By default a record has neither key nor headers.
    """

    values: Sequence[bytes | None]
    partitions: NDArray[np.unsignedinteger[Any]]
    offsets: Callable[[], Times]
    timestamps: Callable[[], Times]
    key_of: Callable[[int], bytes | None] = lambda _: None
    headers_of: Callable[[int], Headers] = lambda _: ()
    ended: frozenset[int] = frozenset()
    epoch: int = 0

    def part(self, places: NDArray[np.int64]) -> "Polled":
        """Return the records at `places`, which ascend. Cost: O(places)."""
        return Polled(
            [self.values[place] for place in places.tolist()],
            self.partitions[places],
            lambda: self.offsets()[places],
            lambda: self.timestamps()[places],
            lambda place: self.key_of(int(places[place])),
            lambda place: self.headers_of(int(places[place])),
            self.ended,
            self.epoch,
        )


def of_one_partition(values: Sequence[bytes | None], first: int, timestamps: Callable[[], Times], **more: Any) -> Polled:
    """Return a poll of partition 0, with the offsets from `first` on. `more` are further fields of `Polled`."""
    partitions = np.zeros(len(values), np.uint8)
    return Polled(values, partitions, lambda: np.arange(first, first + len(values)), timestamps, **more)
