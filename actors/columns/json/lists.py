"""Reads records of one shape that end with a list of whole numbers, such as `{"id":1,"data":[3,14,15]}`, as columns.

The bytes before the list are read by a template. The lists are cut at their commas, all of a poll together.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import eights
from actors.columns.json.scan import MAX_DIGITS, WIDEST, WORD, Bytes, Mask, Words, padded, windows
from actors.columns.json.template import Template
from actors.columns.text import Text
from actors.columns.times import INT64_MAX, Times

_FEWEST = 512
"""Fewer records are not worth a template."""

_SAMPLES = 8

_BYTES = 1 << 18
"""Bytes of the lists that are cut at once: what is computed of them stays in the cache of a processor."""

_END = b"]}"
_COMMA, _SPACE, _OPEN = ord(","), ord(" "), ord("[")
_ZEROS = np.uint64(0x3030303030303030)
_NINES = np.uint64(0x7676767676767676)
_TOPS = np.uint64(0x8080808080808080)
_INT32_MAX = 2**31 - 1

_LOOKED_AT = 8_192
"""Numbers among which a space is looked for."""

_LEAST = np.array([INT64_MAX, 0, *(10 ** (width - 1) for width in range(2, MAX_DIGITS + 1)), INT64_MAX], np.int64)
_SHORT_LEAST = np.minimum(_LEAST[: WORD + 1], _INT32_MAX).astype(np.int32)
"""The least number of each width. No number has no digit, or more than `MAX_DIGITS`."""


class Part(NamedTuple):
    """The numbers of consecutive lists. List k has `counts[k]` numbers, from `values[starts[k]]` on.

    The starts ascend. What is between two lists is meaningless. Numbers have 32 bits if none has more than eight digits.
    """

    values: NDArray[np.int32] | Times
    starts: Times
    counts: Times


class Lists(NamedTuple):
    """Records with a list: their indices in the poll, ascending, their wanted members, and the numbers of all lists."""

    rows: Times
    members: dict[str, Times]
    parts: list[Part]


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
        first, parts, good = 0, [], []
        while first < rows.size:
            end = int(np.searchsorted(opens, opens[first] + _BYTES))
            part, valid = _numbers(blob, opens[first:end], closes[first:end])
            parts.append(part)
            good.append(valid)
            first = end
        valid = np.concatenate(good)
        if not valid.all():
            rows, members = rows[valid], {name: column[valid] for name, column in members.items()}
        return Lists(rows, members, parts)

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


def _numbers(blob: Bytes, opens: Times, closes: Times) -> tuple[Part, Mask]:
    """Return the lists between each bracket of `opens` and that of `closes`, and a mask of the valid ones.

    The part has the valid lists only. The brackets ascend. Cost: 20 ns a number.
    """
    low, high = int(opens[0]), int(closes[-1]) + 1
    cuts = blob[low:high] == _COMMA
    cuts[opens - low] = True
    cuts[closes - low] = True
    places = np.flatnonzero(cuts)
    starts, ends = np.searchsorted(places, opens - low), np.searchsorted(places, closes - low)
    counts = np.where(closes == opens + 1, 0, ends - starts)
    outside = _outside(starts, counts, places.size - 1)
    firsts = places[:-1] + 1
    if (blob[low + firsts[:_LOOKED_AT]] == _SPACE).any():
        firsts += blob[low + firsts] == _SPACE
    widths = places[1:] - firsts
    widths[outside] = 0
    values, wrong = _parsed(blob, low, firsts, widths)
    wrong[outside] = False
    valid = np.ones(opens.size, np.bool_)
    if wrong.any():
        valid[np.searchsorted(starts, np.flatnonzero(wrong), side="right") - 1] = False
        starts, counts = starts[valid], counts[valid]
    return Part(values, starts, counts), valid


def _outside(starts: Times, counts: Times, size: int) -> Times:
    """Return the places below `size` that are not among the `counts` places from each of `starts` on."""
    ends = starts + counts
    gaps = np.append(starts[1:], size) - ends
    before = np.cumsum(gaps) - gaps
    outside: Times = np.arange(int(gaps.sum())) + np.repeat(ends - before, gaps)
    return outside


def _parsed(blob: Bytes, low: int, firsts: Times, widths: Times) -> tuple[NDArray[np.int32] | Times, Mask]:
    """Return the number of `widths` bytes from each of `firsts` on, which count from `low` on, and a mask of what is no number.

    Cost: 12 ns a number, and 20 ns if one has more than eight digits.
    """
    if int(widths.max()) <= WORD:
        values, odd = _short(blob, low, firsts, widths)
        wrong: Mask = values < _SHORT_LEAST[widths]
        if odd is not None:
            wrong |= odd != 0
        return values, wrong
    sliding: Words = np.ndarray((blob.size - WORD + 1,), "<u8", blob, strides=(1,))
    ends = firsts + widths
    ends += low
    long, long_odd = eights(padded(sliding[ends - WORD], np.minimum(widths, WORD)))
    more, more_odd = eights(padded(sliding[np.maximum(ends - MAX_DIGITS, 0)], np.clip(widths - WORD, 0, WORD)))
    long += more * np.uint64(10**WORD)
    long_odd |= more_odd
    found = long.view(np.int64)
    wrong = found < _LEAST[np.minimum(widths, MAX_DIGITS + 1)]
    wrong |= long_odd != 0
    return found, wrong


def _short(blob: Bytes, low: int, firsts: Times, widths: Times) -> tuple[NDArray[np.int32], Words | None]:
    """Return the numbers of at most eight digits, and words that are 0 for each number of digits only; None if all are."""
    sliding: Words = np.ndarray((blob.size - low - WORD + 1,), "<u8", blob, offset=low, strides=(1,))
    words = sliding[firsts]
    words ^= _ZEROS
    shifts = widths * -WORD
    shifts += WORD * WORD
    words <<= shifts.view(np.uint64)  # the last digit in the highest byte, and no other bytes: a shift by all bits gives 0
    odd = words + _NINES
    odd |= words
    odd &= _TOPS
    # Combines digits to pairs, and pairs to fours. What does not fit is cut off by the width of the lanes.
    pairs = words.view("<u2")
    pairs *= np.uint16(10 * 2**8 + 1)
    pairs >>= np.uint16(8)
    fours = words.view("<u4")
    fours *= np.uint32(100 * 2**16 + 1)
    fours >>= np.uint32(16)
    values = fours[::2] * np.uint32(10_000)
    values += fours[1::2]
    return values.view(np.int32), odd if np.bitwise_or.reduce(odd) else None
