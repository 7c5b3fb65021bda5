"""Parses ASCII decimal numbers to int64 columns, without a Python object per number.

Used by the decoders of views. Sees digits only, not records or fields.
"""

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times

Bytes = NDArray[np.uint8]

_BLOCK = 8
_ZEROS = np.uint64(0x3030303030303030)
_NINES = np.uint64(0x7676767676767676)
_TOPS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)

_FREE = np.array([8 * (_BLOCK - own) for own in range(_BLOCK + 1)], np.uint64)
_LEADING = np.array([0x3030303030303030 >> 8 * own for own in range(_BLOCK + 1)], np.uint64)
_POWERS = np.array([10**own for own in range(_BLOCK + 1)], np.uint64)
"""For each number of digits in a word: the bits of the other bytes, zeros in place of these bytes, and the power of ten."""

MAX_DIGITS = 19
"""Digits of the longest int64."""


def parse_at(blob: Bytes, starts: Times, widths: Times | int) -> tuple[Times, NDArray[np.bool_]]:
    """Read the `widths` ASCII digits of `blob` from each of `starts` on as a number.

    Returns the numbers and a mask of the valid ones: 1 to 19 digits, at most 2**63 - 1. Another number is meaningless. At least
    eight bytes follow each number in `blob`. Eight digits are parsed at once in a 64-bit word, see Lemire, "Quickly parsing
    eight digits" (2022). Cost: about 25 ns a number and block of eight.
    """
    sliding = np.ndarray((blob.size - _BLOCK + 1,), "<u8", blob, strides=(1,))
    most = min(MAX_DIGITS, widths if isinstance(widths, int) else int(widths.max(initial=0)))
    total, wrong = np.zeros((2, starts.size), np.uint64)
    for place in range(0, most, _BLOCK):
        left = np.clip(widths - place, 0, _BLOCK)
        words = sliding[np.minimum(starts + place, sliding.size - 1)]
        if not isinstance(widths, int) or left < _BLOCK:  # zeros replace what does not belong to the number
            words = (words << _FREE[left]) | _LEADING[left]
        numbers, odd = eights(words)
        wrong |= odd
        total *= _POWERS[left]
        total += numbers
    valid = (wrong == 0) & (widths > 0) & (widths <= MAX_DIGITS)
    if most == MAX_DIGITS:
        valid &= total <= np.uint64(2**63 - 1)
    return total.view(np.int64), valid


def eights(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Read words of eight ASCII digits, the first digit in the lowest byte.

    Returns the numbers, and a column that is 0 for each word of digits only. Cost: about 12 ns a word.
    """
    digits = words - _ZEROS
    odd = digits + _NINES
    odd |= digits
    odd &= _TOPS
    return _combined(digits), odd


def eight_digits(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers of eight-digit words: combines digits to pairs, pairs to fours, and fours to eights."""
    return _combined(word - _ZEROS)


def _combined(digits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers of words of eight digits 0 to 9. Changes `digits`."""
    pairs = digits >> np.uint64(8)
    digits *= np.uint64(10)
    pairs += digits
    high = pairs >> np.uint64(16)
    pairs &= _PAIRS
    high &= _PAIRS
    pairs *= np.uint64(100 + (10**6 << 32))
    high *= np.uint64(1 + (10**4 << 32))
    pairs += high
    pairs >>= np.uint64(32)
    return pairs
