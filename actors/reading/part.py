"""Some records of a poll, as a poll of their own: what is left when others are set aside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.sources.source import Polled


class Part:
    """The records at `places` of a poll, ascending. Cost: a copy of the values' places, and no look at the others."""

    def __init__(self, whole: Polled, places: NDArray[np.int64]) -> None:
        self._whole = whole
        self.places = places
        self.values: Sequence[bytes | None] = [whole.values[place] for place in places.tolist()]
        self.partitions: NDArray[np.unsignedinteger[Any]] = whole.partitions[places]
        self.ended = whole.ended
        self.epoch = whole.epoch

    def offsets(self) -> Times:
        """Return the offset of each record."""
        return self._whole.offsets()[self.places]

    def timestamps(self) -> Times:
        """Return the time that the source gives each record."""
        return self._whole.timestamps()[self.places]

    def key_of(self, place: int) -> bytes | None:
        """Return the key of the record at `place` of the part."""
        return self._whole.key_of(int(self.places[place]))

    def headers_of(self, place: int) -> Sequence[tuple[str, bytes | None]]:
        """Return the headers of the record at `place` of the part."""
        return self._whole.headers_of(int(self.places[place]))
