"""Numbers the different names among many byte strings, and counts names by second: for a whole poll at once.

Names are equal if all their bytes are equal; a hash only leads to the name to compare with.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.columns.json.scan import windows
from actors.columns.text import Hashes, Text
from actors.columns.times import NO_TIMES, Times

_WORD = 8
_MIX = np.uint64(0x9E3779B97F4A7C15)
_KEPT = np.array([2 ** (8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
"""Entry k is the mask of the first k bytes of a word."""

_BLANK = ord(" ")
_NARROW = 32
"""The narrowest rows in which texts are split."""

_DENSE = 4
"""Pairs of a second and a name are counted in a table if it has at most this many cells for each occurrence."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Counts of pairs of a second and a name: pair i has second `seconds[i]` and name `names[numbers[i]]`.

    The pairs are different, and ascend by second, then by number. Names are different.
    """

    names: Sequence[str]
    seconds: Times
    numbers: Times
    counts: Times

    @property
    def nbytes(self) -> int:
        """Bytes in memory. Cost: O(names)."""
        columns = self.seconds.nbytes + self.numbers.nbytes + self.counts.nbytes
        return columns + sum(map(sys.getsizeof, self.names))


def counted(names: Sequence[str], numbers: Times, seconds: Times) -> Pairs:
    """Count the names `numbers` of events at `seconds`. Cost: 5 ns an occurrence if names recur in a second, else 20 ns."""
    if not numbers.size:
        return Pairs(names, numbers, numbers, numbers)
    first, width = int(seconds.min()), len(names)
    cells = (seconds - first) * width + numbers
    room = (int(seconds.max()) - first + 1) * width
    if room <= _DENSE * cells.size:
        table = np.bincount(cells, minlength=room)
        found = np.flatnonzero(table)
        counts = table[found]
    else:
        cells.sort()
        starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
        found, counts = cells[starts], np.diff(starts, append=cells.size)
    offsets, own = np.divmod(found, width)
    return Pairs(names, first + offsets, own, counts)


def numbered(text: Text) -> tuple[list[str], Times]:
    """Return the different strings of `text`, which are printable ASCII, and the number of each string among them.

    Cost: 30 ns a string, 0.3 us a name.
    """
    count = text.starts.size
    keys = _keys(text)
    bits = max(10, count.bit_length() + 1)
    buckets = ((keys * _MIX) >> np.uint64(64 - bits)).astype(np.int64)
    slots = np.empty(2**bits, np.int64)
    places = np.arange(count)
    slots[buckets] = places
    # The string that stands for each string: another one with the same name, or at first one with another name.
    found = slots[buckets]
    odd = np.flatnonzero(~_same(text, keys, found))
    if odd.size:
        first: dict[bytes, int] = {}
        found[odd] = list(map(first.setdefault, text.take(odd), odd.tolist()))
    names = np.flatnonzero(found == places)
    slots = np.empty(count, np.int64)
    slots[names] = np.arange(names.size)
    return _decoded(text, names), slots[found]


def split(text: Text) -> tuple[Times, Text]:
    """Return the words of printable ASCII texts, as `str.split` finds them, and for each the index of its text.

    Texts of similar lengths are split together. Cost: 50 ns a text of 32 bytes, 20 ns a word.
    """
    parts = list(_parts(text))
    if not parts:
        return NO_TIMES, Text.of([])
    return np.concatenate([rows for rows, _ in parts]), Text.joining([words for _, words in parts])


def _parts(text: Text) -> Iterator[tuple[Times, Text]]:
    left, width = np.arange(text.starts.size), _NARROW
    while left.size:
        fits = text.lengths[left] < width
        rows = left[fits]
        if rows.size:
            places, words = _split(text.only(rows), width)
            yield rows[places], words
        left = left[~fits]
        width *= 2


def _split(text: Text, width: int) -> tuple[Times, Text]:
    """Split texts that are shorter than `width`, a power of 2: as rows of a matrix, in which each text ends with a blank."""
    blob, starts, shift = text.blob, text.starts, width.bit_length() - 1
    if int(starts.max()) > blob.size - width:
        blob = np.concatenate((blob, np.zeros(width, np.uint8)))
    # One more row, so that eight bytes can be read at any place of a word.
    rows = windows(blob, np.append(starts, starts[0]), width).ravel()
    blank = rows[:-width] == _BLANK
    blank[np.arange(0, blank.size, width) + text.lengths] = True
    ends = np.flatnonzero(blank)
    owners = ends >> shift
    inside = ends & (width - 1) <= text.lengths[owners]
    ends, owners = ends[inside], owners[inside]
    begins = np.empty_like(ends)
    begins[1:] = ends[:-1] + 1
    first = np.concatenate(([True], owners[1:] != owners[:-1]))
    begins[first] = owners[first] << shift
    some = begins < ends
    if not some.all():
        begins, ends, owners = begins[some], ends[some], owners[some]
    return owners, Text(rows, begins, ends - begins)


def _keys(text: Text) -> Hashes:
    """Return the bytes of each string of up to eight bytes as a number, and the hash of each longer string."""
    words: Hashes = windows(text.blob, text.starts, _WORD).view("<u8")[:, 0] & _KEPT[np.minimum(text.lengths, _WORD)]
    long = np.flatnonzero(text.lengths > _WORD)
    if long.size:
        words[long] = text.only(long).hashes()
    return words


def _same(text: Text, keys: Hashes, others: Times) -> NDArray[np.bool_]:
    """Return a mask: whether string k equals string `others[k]`."""
    same: NDArray[np.bool_] = (keys == keys[others]) & (text.lengths == text.lengths[others])
    long = np.flatnonzero(same & (text.lengths > _WORD))
    if long.size:
        same[long] = text.only(long).same(text, others[long])
    return same


def _decoded(text: Text, places: Times) -> list[str]:
    """Return strings without line feeds as text."""
    return b"\n".join(text.take(places)).decode().split("\n") if places.size else []
