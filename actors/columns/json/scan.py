"""Reads the same few bytes of all records at once: where strings and numbers end, and the values of numbers.

A window is some bytes from a place of the blob on. One copy gathers the windows of all records, whatever their size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import eight_digits
from actors.columns.times import Times

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Mask = NDArray[np.bool_]

WORD = 8
MAX_DIGITS = 16
"""Digits of the longest number that `numbers` reads."""

WIDEST = 64
"""Bytes of the widest window of a string."""

_MAX_WINDOWS = 64
"""Windows of a string at most. A longer string is left to the parser."""

_FEW = 64
"""Strings that go on are left to the parser if they are fewer than one in this many."""

_QUOTE, _ESCAPE, _BLANK, _LAST = ord('"'), ord("\\"), ord(" "), ord("~") + 1
_ZERO = np.uint8(ord("0"))
_ZEROS = np.uint64(0x3030303030303030)
_KEPT = np.array([2**64 - 2 ** (64 - 8 * count) for count in range(WORD + 1)], np.uint64)
"""Entry k is the mask of the last k bytes of a word."""

_WORDS: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def windows(blob: Bytes, starts: Times, size: int) -> Bytes:
    """Return `size` bytes from each of `starts` on, as rows. Cost: 9 ns a row, and 1 ns for each 16 bytes."""
    found: Bytes = np.ndarray((blob.size - size + 1,), f"V{size}", blob, strides=(1,))[starts].view(np.uint8)
    return found.reshape(starts.size, size)


def text_ends(blob: Bytes, starts: Times, ends: Times, width: int) -> Times:
    """Return a place for each string from `starts` on: all bytes before that place are plain characters.

    The place is that of the first other byte, unless the string is long or lies at the end of the blob. Plain are the printable
    ASCII characters except for the quote and the backslash. The place may lie beyond `ends`, which only limit the search.
    `width` is 8, 16, 32 or 64: enough for most of the strings and one byte more. Cost: 25 ns a string of up to 32 bytes.
    """
    return _run_ends(blob, starts, ends, width, _not_plain)


def number_ends(blob: Bytes, starts: Times, ends: Times) -> Times:
    """Return the place of the first byte that is no digit, at most `MAX_DIGITS` after its start. Otherwise like `text_ends`."""
    return _run_ends(blob, starts, np.minimum(ends, starts + MAX_DIGITS), MAX_DIGITS, _not_digit)


def numbers(blob: Bytes, starts: Times, ends: Times) -> tuple[Times, Mask]:
    """Return the values of digits, and a mask of those that JSON and a float allow. Cost: 30 ns a number.

    A number has 1 to `MAX_DIGITS` digits, and no leading zero. The value of another one is meaningless. Numbers in the first
    bytes of the blob are not valid either.
    """
    lengths = ends - starts
    valid = (lengths >= 1) & (lengths <= MAX_DIGITS) & (ends >= MAX_DIGITS)
    valid &= (blob[starts] != _ZERO) | (lengths == 1)
    words = windows(blob, np.maximum(ends - MAX_DIGITS, 0), MAX_DIGITS).view("<u8")
    lengths = np.where(valid, lengths, MAX_DIGITS)
    longest = int(lengths.max(initial=1))
    kept: Any = longest if (lengths == longest).all() else lengths
    values = eight_digits(padded(words[:, 1], np.minimum(kept, WORD)))
    if longest > WORD:
        values += eight_digits(padded(words[:, 0], np.maximum(kept - WORD, 0))) * np.uint64(10**WORD)
    return values.view(np.int64), valid


def padded(words: Words, counts: Any) -> Words:
    """Return words of digits with zeros in place of all but the last `counts` bytes."""
    found: Words = _ZEROS ^ ((words ^ _ZEROS) & _KEPT[counts])
    return found


def _run_ends(blob: Bytes, starts: Times, ends: Times, width: int, stops: Callable[[Bytes], Mask]) -> Times:
    last = blob.size - width
    inside = starts <= last
    if inside.all():
        counts = _before(stops(windows(blob, starts, width)), width)
        found = starts + counts
        rows = np.flatnonzero(counts == width)
    else:
        found, rows = starts.copy(), np.flatnonzero(inside)
    few = starts.size // _FEW
    for _ in range(_MAX_WINDOWS):
        places = found[rows]
        on = (places < ends[rows]) & (places <= last)
        rows, places = rows[on], places[on]
        if rows.size <= few:
            break
        counts = _before(stops(windows(blob, places, width)), width)
        found[rows] = places + counts
        rows = rows[counts == width]
    return found


def _before(stops: Mask, width: int) -> NDArray[np.uint8]:
    """Return the number of bytes before the first one that is true in each row; `width` if none is true."""
    bits = np.packbits(stops, bitorder="little").view(_WORDS[width])
    counts: NDArray[np.uint8] = np.bitwise_count((bits - bits.dtype.type(1)) & ~bits)
    return counts


def _not_plain(data: Bytes) -> Mask:
    stops: Mask = data == _QUOTE
    stops |= data == _ESCAPE
    stops |= data < _BLANK
    stops |= data >= _LAST
    return stops


def _not_digit(data: Bytes) -> Mask:
    stops: Mask = (data - _ZERO) > np.uint8(9)
    return stops
