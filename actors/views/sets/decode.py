"""Decodes records such as `R_1685695916000` to columns: the name of a step, an underscore, and a time.

Used by the front end for a whole poll at once. An invalid record is refused with one of a few fixed reasons.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import MAX_DIGITS, eights, parse_at
from actors.columns.record_text import bare_all, defect
from actors.columns.text import Text
from actors.columns.times import INT64_MAX, Times
from actors.columns.values import Values
from actors.views.view import Refusal

LONGEST = 64
"""Bytes of the longest record that is decoded in columns. Longer ones can be valid only with leading zeros."""


_IF_JSON = frozenset({"too_long", "no_underscore", "unknown_step"})
"""Reasons that a JSON record would get. The reason that it gets says what to do."""

_JSON = (b"{", b"[")

_FIRST = np.zeros(1, np.int64)
_MOST_LEAD = (INT64_MAX - 10**8) // 10**8
"""The largest number of a time's first digits with which each of its last eight digits is possible."""


class DecodedSets(NamedTuple):
    """One poll in order of arrival: the time of each event, the mask of each step's events, and the refusals."""

    times: Times
    masks: list[NDArray[np.bool_]]
    accepted: NDArray[np.bool_] | None
    """None if all records are events."""
    refusals: list[Refusal]


class SetDecoder:
    """Decodes events of `steps`, the names in order. Stateless, so any thread may use it."""

    def __init__(self, steps: Sequence[str]) -> None:
        self._prefixes = [f"{step}_".encode() for step in steps]
        self._json = f"expected STEP_TIME such as {steps[0]}_1795773600000, got JSON: use record.format"
        lengths = {len(prefix) for prefix in self._prefixes}
        self._by_length = {
            length: [(index, prefix) for index, prefix in enumerate(self._prefixes) if len(prefix) == length]
            for length in sorted(lengths)
        }

    def decode(self, values: Values) -> DecodedSets:
        """Decode the values of one poll.

        Cost: about 40 ns a record; 100 ns if times differ in more than their last eight digits; 300 ns with line ends, 2 us a
        refused record.
        """
        text = values.text
        if (alike := self._alike(text)) is not None:
            return DecodedSets(*alike, None, [])
        times, categories = self._columns(text)
        if categories.min(initial=0) >= 0:
            return DecodedSets(times, self._masks(categories), None, [])
        return self._with_refusals(values, times, categories)

    def _masks(self, categories: NDArray[np.int8]) -> list[NDArray[np.bool_]]:
        return [categories == category for category in range(len(self._prefixes))]

    def _alike(self, text: Text) -> tuple[Times, list[NDArray[np.bool_]]] | None:
        """Decode records that differ in their step and the last eight digits only; None if some differ in more.

        Each record must begin with a step and the first digits of the first record.
        """
        if len(self._by_length) != 1 or not text.lengths.size:
            return None
        (prefix_length,) = self._by_length
        length = int(text.lengths[0])
        cut = length - 8
        if not prefix_length <= cut <= LONGEST or not (text.lengths == length).all():
            return None
        lead = text.take(_FIRST)[0][prefix_length:cut]
        if lead and (not lead.isdigit() or int(lead) > _MOST_LEAD):
            return None
        places = [*range(0, cut - 8, 8), max(0, cut - 8)]
        heads = [text.words_at(place) for place in places]
        heads[-1] &= _mask(min(cut, 8))
        masks: list[NDArray[np.bool_]] = []
        for prefix in self._prefixes:
            wanted = Text.of([prefix + lead])
            same = heads[-1] == (wanted.words_at(places[-1]) & _mask(min(cut, 8)))
            for place, head in zip(places[:-1], heads, strict=False):
                same &= head == wanted.words_at(place)
            masks.append(same)
        numbers, odd = eights(text.words_at(cut))
        if odd.any() or sum(map(np.count_nonzero, masks)) < text.lengths.size:
            return None
        return (numbers + np.uint64(int(lead or 0) * 10**8)).view(np.int64), masks

    def _columns(self, text: Text) -> tuple[Times, NDArray[np.int8]]:
        """Decode records, those of one length at a time. The category of a record that is not decoded is -1."""
        lengths = text.lengths
        if lengths.size and (lengths == lengths[0]).all():
            return self._block(text, int(lengths[0]))
        times, categories = np.zeros(lengths.size, np.int64), np.full(lengths.size, -1, np.int8)
        for length in np.unique(lengths[lengths <= LONGEST]).tolist():
            rows = np.flatnonzero(lengths == length)
            times[rows], categories[rows] = self._block(text.only(rows), length)
        return times, categories

    def _block(self, text: Text, length: int) -> tuple[Times, NDArray[np.int8]]:
        """Decode records of one length."""
        times, categories = np.zeros(text.starts.size, np.int64), np.full(text.starts.size, -1, np.int8)
        for prefix_length, prefixes in self._by_length.items():
            width = length - prefix_length
            if not 0 < width <= MAX_DIGITS:
                continue
            numbers, valid = parse_at(text.blob, text.starts + prefix_length, width)
            heads = [text.words_at(place) for place in range(0, prefix_length, 8)]
            heads[-1] &= _mask(prefix_length - 8 * (len(heads) - 1))
            for category, prefix in prefixes:
                same = valid.copy()
                for head, wanted in zip(heads, np.frombuffer(prefix.ljust(8 * len(heads), b"\0"), "<u8"), strict=True):
                    same &= head == wanted
                categories[same] = category
                np.copyto(times, numbers, where=same)
        return times, categories

    def _with_refusals(self, values: Values, times: Times, categories: NDArray[np.int8]) -> DecodedSets:
        """Decode the remaining records without their line ends, then those that are left one by one: some are valid."""
        left = np.flatnonzero(categories < 0)
        texts = bare_all([values[index] or b"" for index in left.tolist()])
        own_times, own_categories = self._columns(Text.of(texts))
        refusals = []
        for place in np.flatnonzero(own_categories < 0).tolist():
            read = self._read(texts[place])
            if isinstance(read, str):
                is_json = read in _IF_JSON and texts[place].lstrip()[:1] in _JSON
                refusals.append(Refusal(int(left[place]), self._json if is_json else read))
            else:
                own_categories[place], own_times[place] = read
        times[left], categories[left] = own_times, own_categories
        if not refusals:
            return DecodedSets(times, self._masks(categories), None, [])
        accepted = categories >= 0
        return DecodedSets(times[accepted], self._masks(categories[accepted]), accepted, refusals)

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


def _mask(size: int) -> np.uint64:
    """Return the mask of the `size` low bytes of a word."""
    return np.uint64(2 ** (8 * size) - 1)
