"""Decodes records such as `R_1685695916000` to columns: the name of a step, an underscore, and a time.

Used by the front end for a whole poll at once. An invalid record is refused with one of a few fixed reasons.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import MAX_DIGITS, Bytes, parse
from actors.columns.record_text import bare_all, defect
from actors.columns.times import INT64_MAX, Times
from actors.views.view import Refusal

LONGEST = 64
"""Bytes of the longest record that is decoded in columns. Longer ones can be valid only with leading zeros."""


class DecodedSets(NamedTuple):
    """One poll in order of arrival: the time and the step of each event, a mask of the events, and the refusals."""

    times: Times
    categories: NDArray[np.int8]
    accepted: NDArray[np.bool_] | None
    """None if all records are events."""
    refusals: list[Refusal]


class SetDecoder:
    """Decodes events of `steps`, the names in order. Stateless, so any thread may use it."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._prefixes = [f"{step}_".encode() for step in steps]
        lengths = {len(prefix) for prefix in self._prefixes}
        self._by_length = {
            length: [(index, prefix) for index, prefix in enumerate(self._prefixes) if len(prefix) == length]
            for length in sorted(lengths)
        }

    def decode(self, values: Sequence[bytes | None]) -> DecodedSets:
        """Decode `values`, the records of one poll.

        Cost: about 100 ns a record, 300 ns one with a line end, 2 us a refused one.
        """
        count = len(values)
        times = np.zeros(count, np.int64)
        categories = np.full(count, -1, np.int8)
        records: Sequence[bytes] = values  # type: ignore[assignment]  # tombstones are rare, and the join fails for them
        try:
            text = b"\n".join(records)
        except TypeError:
            records = [value or b"" for value in values]
            text = b"\n".join(records)
        length = len(records[0]) if count else 0
        if len(text) + 1 == count * (length + 1):
            # If each row is valid and ends with a line feed, all records have this length.
            lines = np.frombuffer(text + b"\n", np.uint8).reshape(count, length + 1)
            self._block(lines[:, :length], times, categories)
            if categories.min() >= 0 and (lines[:, length] == ord("\n")).all():
                return DecodedSets(times, categories, None, [])
        categories.fill(-1)
        self._groups(records, times, categories)
        if categories.min(initial=0) >= 0:
            return DecodedSets(times, categories, None, [])
        return self._with_refusals(records, times, categories)

    def _groups(self, values: Sequence[bytes], times: Times, categories: NDArray[np.int8]) -> None:
        """Decode records of several lengths, those of one length at a time."""
        length_of = np.fromiter(map(len, values), np.int64, len(values))
        for length in set(length_of.tolist()):
            if length <= LONGEST:
                self._group(values, np.flatnonzero(length_of == length), length, times, categories)

    def _group(
        self,
        values: Sequence[bytes],
        indexes: NDArray[np.int64],
        length: int,
        times: Times,
        categories: NDArray[np.int8],
    ) -> None:
        """Decode the records of one length among others."""
        text = b"".join([values[index] for index in indexes.tolist()])
        own_times, own_categories = np.zeros(indexes.size, np.int64), np.full(indexes.size, -1, np.int8)
        self._block(np.frombuffer(text, np.uint8).reshape(indexes.size, length), own_times, own_categories)
        times[indexes] = own_times
        categories[indexes] = own_categories

    def _block(self, matrix: Bytes, times: Times, categories: NDArray[np.int8]) -> None:
        """Decode records of one length, given as rows of bytes. The category of an invalid record is -1."""
        categories.fill(-1)
        length = matrix.shape[1]
        for prefix_length, prefixes in self._by_length.items():
            if not 0 < length - prefix_length <= MAX_DIGITS:
                continue
            numbers, valid = parse(matrix[:, prefix_length:])
            heads = np.zeros((len(matrix), -(-prefix_length // 8) * 8), np.uint8)
            heads[:, :prefix_length] = matrix[:, :prefix_length]
            words = heads.view("<u8")
            found = np.zeros(len(matrix), np.int8)
            for category, prefix in prefixes:
                wanted = np.frombuffer(prefix.ljust(heads.shape[1], b"\0"), "<u8")
                same = words[:, 0] == wanted[0]
                for place in range(1, wanted.size):
                    same &= words[:, place] == wanted[place]
                found += same.view(np.int8) * np.int8(category + 1)
            found *= valid.view(np.int8)
            np.copyto(times, numbers, where=found > 0)
            categories += found

    def _with_refusals(self, values: Sequence[bytes], times: Times, categories: NDArray[np.int8]) -> DecodedSets:
        """Decode the remaining records without their line ends, then those that are left one by one: some are valid."""
        left = np.flatnonzero(categories < 0)
        texts = bare_all([values[index] for index in left.tolist()])
        own_times, own_categories = np.zeros(left.size, np.int64), np.full(left.size, -1, np.int8)
        self._groups(texts, own_times, own_categories)
        refusals = []
        for place in np.flatnonzero(own_categories < 0).tolist():
            read = self._read(texts[place])
            if isinstance(read, str):
                refusals.append(Refusal(int(left[place]), read))
            else:
                own_categories[place], own_times[place] = read
        times[left], categories[left] = own_times, own_categories
        if not refusals:
            return DecodedSets(times, categories, None, [])
        accepted = categories >= 0
        return DecodedSets(times[accepted], categories[accepted], accepted, refusals)

    def _read(self, value: bytes) -> tuple[int, int] | str:
        """Return the category and time of one record, or the reason for its refusal."""
        if (reason := defect(value, LONGEST + max(map(len, self._prefixes)))) is not None:
            return reason
        head, underscore, number = value.partition(b"_")
        if not underscore:
            return "no_underscore"
        prefix = head + underscore
        if prefix not in self._prefixes:
            return "unknown_step"
        if number.startswith(b"-") and number[1:].isdigit():
            return "negative"
        if not number.isdigit():
            return "no_number"
        if int(number) > INT64_MAX:
            return "too_large"
        return self._prefixes.index(prefix), int(number)
