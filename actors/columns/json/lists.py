"""Reads records of one shape that end with a list of whole numbers, such as `{"id":1,"data":[3,14,15]}`, as columns.

The bytes before the list are read by a template. The lists are cut at their commas, all of a poll together.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from actors.columns.decimal import AT_ONCE, eights
from actors.columns.json.scan import MAX_DIGITS, WIDEST, WORD, Bytes, Mask, Words, padded, windows
from actors.columns.json.template import Template
from actors.columns.text import Text
from actors.columns.times import INT64_MAX, Times

_FEWEST = 512
"""Fewer records are not worth a template."""

_SAMPLES = 8

_BYTES = 1 << 20
"""Bytes of the lists that are cut at once."""

_END = b"]}"
_COMMA, _SPACE, _OPEN = ord(","), ord(" "), ord("[")
_LEAST = np.array([INT64_MAX, 0, *(10 ** (width - 1) for width in range(2, MAX_DIGITS + 1)), INT64_MAX], np.uint64)
"""The least number of each width. No number has no digit, or more than `MAX_DIGITS`."""


class Lists(NamedTuple):
    """Records with a list: their indices in the poll, ascending, their wanted members, and the numbers of all lists."""

    rows: Times
    members: dict[str, Times]
    values: Times
    counts: Times
    """The number of numbers in each list."""


class NumberLists:
    """Reads the whole numbers `members` and the list after them. Numbers have no sign and at most 16 digits.

    `parse` is the decoder's own parser. It reads the samples without their numbers, and raises one of `errors`.
    """

    def __init__(
        self, parse: Callable[[bytes], object], errors: tuple[type[Exception], ...], members: Collection[str], longest: int
    ) -> None:
        self._parse = parse
        self._errors = errors
        self._members = members
        self._longest = longest

    def read(self, text: Text) -> Lists | None:
        """Return the records of one shape with fewer than `longest` bytes; None if there are too few of them.

        A record that is not returned may be valid, and is left to the parser. Cost: 0.6 us a record, 35 ns a number.
        """
        blob, starts = text.blob, text.starts
        ends = starts + text.lengths
        if starts.size < _FEWEST or (starts[1:] < ends[:-1]).any():
            return None
        rows = np.flatnonzero((text.lengths < self._longest) & (text.lengths > len(_END)) & (starts + WIDEST <= blob.size))
        if rows.size < _FEWEST:
            return None
        brackets = windows(blob, starts[rows], WIDEST) == _OPEN
        opens, closes = starts[rows] + brackets.argmax(axis=1), ends[rows] - len(_END)
        fits = brackets.any(axis=1) & (opens < closes) & (blob[closes] == _END[0]) & (blob[closes + 1] == _END[1])
        rows, opens, closes = rows[fits], opens[fits], closes[fits]
        heads = Text(blob, starts[rows], opens + 1 - starts[rows])
        template = self._template(heads)
        if template is None:
            return None
        fits, _, members = template.match(heads, 10**MAX_DIGITS)
        rows, opens, closes = rows[fits], opens[fits], closes[fits]
        if rows.size < _FEWEST:
            return None
        first, found = 0, []
        while first < rows.size:
            end = int(np.searchsorted(opens, opens[first] + _BYTES))
            found.append(_numbers(blob, opens[first:end], closes[first:end]))
            first = end
        values, counts, valid = map(np.concatenate, zip(*found, strict=True))
        return Lists(rows[valid], {name: column[valid] for name, column in members.items()}, values, counts)

    def _template(self, heads: Text) -> Template | None:
        """Return the template of the bytes before the lists. No head has another list, so the list that is missing is it."""
        count = heads.starts.size
        if count < _FEWEST:
            return None
        samples = []
        for head in heads.take(np.linspace(0, count - 1, _SAMPLES).astype(np.int64)):
            sample = head + _END
            try:
                self._parse(sample)
            except self._errors:
                continue
            samples.append(sample)
        return Template.learned(samples, texts=(), numbers=self._members, without=len(_END))


def _numbers(blob: Bytes, opens: Times, closes: Times) -> tuple[Times, Times, Mask]:
    """Return the numbers between each bracket of `opens` and that of `closes`, their counts, and a mask of the valid lists.

    The numbers and counts are those of the valid lists. The brackets ascend.
    """
    low, high = int(opens[0]), int(closes[-1]) + 1
    cuts = blob[low:high] == _COMMA
    cuts[opens - low] = True
    cuts[closes - low] = True
    places = np.flatnonzero(cuts) + low
    firsts, lasts = np.searchsorted(places, opens), np.searchsorted(places, closes)
    values, wrong = np.empty(places.size - 1, np.int64), np.empty(places.size - 1, np.bool_)
    counts = np.where(closes == opens + 1, 0, lasts - firsts)
    inside = _inside(firsts, counts, values.size)
    spaced = bool((blob[places[:AT_ONCE] + 1] == _SPACE).any())
    for start in range(0, values.size, AT_ONCE):
        own = slice(start, start + AT_ONCE)
        values[own], wrong[own] = _parsed(blob, places[start : start + AT_ONCE + 1], inside[own], spaced=spaced)
    valid = np.ones(opens.size, np.bool_)
    if wrong.any():
        valid[np.searchsorted(firsts, np.flatnonzero(wrong), side="right") - 1] = False
        counts = counts[valid]
        inside = _inside(firsts[valid], counts, values.size)
    return values[inside], counts, valid


def _inside(firsts: Times, counts: Times, size: int) -> Mask:
    """Return a mask of the places of numbers: `counts` places from each of `firsts` on."""
    marks = np.zeros(size + 1, np.int8)
    some = counts > 0
    marks[firsts[some]] = 1
    marks[firsts[some] + counts[some]] -= 1
    inside: Mask = np.cumsum(marks[:-1], dtype=np.int8).view(np.bool_)
    return inside


def _parsed(blob: Bytes, places: Times, inside: Mask, *, spaced: bool) -> tuple[Times, Mask]:
    """Return the number between each two of `places`, and a mask of the texts `inside` a list that are not numbers.

    If `spaced`, a number may follow a space. Cost: 15 ns a number, and 10 ns if one has more than eight digits.
    """
    sliding: Words = np.ndarray((blob.size - WORD + 1,), "<u8", blob, strides=(1,))
    ends = places[1:]
    widths = np.diff(places)
    widths -= 1
    if spaced:
        widths -= blob[places[:-1] + 1] == _SPACE
    widths *= inside
    values, odd = eights(padded(sliding[ends - WORD], np.minimum(widths, WORD)))
    if int(widths.max()) > WORD:
        more, wrong = eights(padded(sliding[np.maximum(ends - MAX_DIGITS, 0)], np.clip(widths - WORD, 0, WORD)))
        values += more * np.uint64(10**WORD)
        odd |= wrong
    not_numbers: Mask = values < _LEAST[np.minimum(widths, MAX_DIGITS + 1)]
    not_numbers |= odd != 0
    not_numbers &= inside
    return values.view(np.int64), not_numbers
