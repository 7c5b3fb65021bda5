"""The values of the records of one poll, as columns or as a list of byte strings. Each form is made from the other on demand.

Sources give one of the forms, and each decoder uses the form that suits it.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from actors.columns.text import Text
from actors.columns.times import Times

Value = bytes | None


class Values(Sequence[Value]):
    """The values of records, in order of arrival. None is a tombstone. Immutable.

    >>> values = Values.of([b"ab", None, b"c"])
    >>> values[0], values[1], values.part(np.array([2])).listed, values.text.lengths.tolist(), values.absent
    (b'ab', None, [b'c'], [2, 0, 1], array([False,  True, False]))
    """

    @staticmethod
    def of(values: Sequence[Value]) -> "Values":
        """Return values from a list. Cost: none; `text` costs 60 ns a value."""
        return _Listed(values if isinstance(values, list) else list(values))

    @staticmethod
    def of_columns(raw: bytes, starts: Times, lengths: Times, absent: NDArray[np.bool_] | None = None) -> "Values":
        """Return values from columns: value k is the `lengths[k]` bytes of `raw` from `starts[k]` on.

        At least eight bytes of `raw` follow the last value. `absent` is the mask of the tombstones, whose length is 0; None
        without any. Cost: none; `listed` costs 120 ns a value.
        """
        return _Columns(raw, Text(np.frombuffer(raw, np.uint8), starts, lengths), absent)

    @staticmethod
    def of_lines(raw: bytes, starts: Times, lengths: Times) -> "Values":
        """Return values from columns of lines: the values follow each other in `raw`, and a line feed follows each one.

        At least seven more bytes of `raw` follow. Cost: none; `listed` costs 100 ns a value. A slice is as cheap as the whole.
        """
        return _Lines(raw, Text(np.frombuffer(raw, np.uint8), starts, lengths), None)

    @property
    @abstractmethod
    def text(self) -> Text:
        """The values as columns. A tombstone is empty."""

    @property
    @abstractmethod
    def listed(self) -> list[Value]:
        """The values as a list, which the caller must not change."""

    @property
    @abstractmethod
    def absent(self) -> NDArray[np.bool_] | None:
        """The mask of the tombstones, or None without any."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """The bytes of all values. Cost: O(values)."""

    @abstractmethod
    def part(self, indices: NDArray[np.int64]) -> "Values":
        """Return the values at `indices`. Copies no bytes. Cost: O(indices)."""

    def __eq__(self, other: object) -> bool:
        """Whether `other` has the same values: it may be a list."""
        if isinstance(other, Values):
            return self.listed == other.listed
        return self.listed == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as for a list

    def __iter__(self) -> Iterator[Value]:
        """Yield each value."""
        return iter(self.listed)

    @overload
    def __getitem__(self, place: int) -> Value: ...
    @overload
    def __getitem__(self, place: slice) -> "Values": ...
    def __getitem__(self, place: int | slice) -> "Value | Values":
        """Return one value, or the values of a slice."""
        if isinstance(place, slice):
            return self.part(np.arange(len(self))[place])
        return self._one(place)

    @abstractmethod
    def _one(self, place: int) -> Value: ...


class _Listed(Values):
    def __init__(self, values: list[Value]) -> None:
        self._values = values

    @cached_property
    def text(self) -> Text:
        return Text.of([value or b"" for value in self._values])

    @property
    def listed(self) -> list[Value]:
        return self._values

    @cached_property
    def absent(self) -> NDArray[np.bool_] | None:
        if None not in self._values:
            return None
        return np.fromiter((value is None for value in self._values), np.bool_, len(self._values))

    @property
    def nbytes(self) -> int:
        return sum(len(value or b"") for value in self._values)

    def part(self, indices: NDArray[np.int64]) -> Values:
        return _Listed([self._values[index] for index in indices.tolist()])

    def __len__(self) -> int:
        return len(self._values)

    def _one(self, place: int) -> Value:
        return self._values[place]


class _Columns(Values):
    def __init__(self, raw: bytes, text: Text, absent: NDArray[np.bool_] | None) -> None:
        self._raw = raw
        self._text = text
        self._absent = absent

    @property
    def text(self) -> Text:
        return self._text

    @cached_property
    def listed(self) -> list[Value]:
        starts = self._text.starts
        cuts = map(slice, starts.tolist(), (starts + self._text.lengths).tolist())
        values: list[Value] = list(map(self._raw.__getitem__, cuts))
        if self._absent is not None:
            for place in np.flatnonzero(self._absent).tolist():
                values[place] = None
        return values

    @property
    def absent(self) -> NDArray[np.bool_] | None:
        return self._absent

    @property
    def nbytes(self) -> int:
        return int(self._text.lengths.sum())

    def part(self, indices: NDArray[np.int64]) -> Values:
        return _Columns(self._raw, self._text.only(indices), None if self._absent is None else self._absent[indices])

    def __len__(self) -> int:
        return self._text.starts.size

    def _one(self, place: int) -> Value:
        if self._absent is not None and self._absent[place]:
            return None
        start = int(self._text.starts[place])
        return self._raw[start : start + int(self._text.lengths[place])]


class _Lines(_Columns):
    @cached_property
    def listed(self) -> list[Value]:
        starts, lengths = self._text.starts, self._text.lengths
        if not starts.size:
            return []
        first, end = int(starts[0]), int(starts[-1] + lengths[-1])
        raw = self._raw if not first else self._raw[first:end]
        return cast("list[Value]", raw.split(b"\n", starts.size)[: starts.size])

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice) and place.step is None:
            return _Lines(self._raw, self._text.only(place), None)
        return super().__getitem__(place)
