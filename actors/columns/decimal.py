"""Parses ASCII decimal numbers to int64 columns, without a Python object per number.

Used by the decoders of views. Sees digits only, not records or fields.
"""

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times

Bytes = NDArray[np.uint8]

_BLOCK = 8
_ZEROS = np.uint64(0x3030303030303030)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_SIX = np.uint64(0x0606060606060606)
_PAIRS = np.uint64(0x000000FF000000FF)

MAX_DIGITS = 19
"""Digits of the longest int64."""


def parse(digits: Bytes) -> tuple[Times, NDArray[np.bool_]]:
    """Read each row of an (n, width) matrix of ASCII digits as a number.

    Returns the numbers and a mask of the valid ones: digits only, at most 2**63 - 1. The number of an invalid row is
    meaningless. `width` is 1 to 19. Eight digits are parsed at once in a 64-bit word, see Lemire, "Quickly parsing eight
    digits" (2022). Cost: about 10 ns a row and block of eight.
    """
    width = digits.shape[1]
    total = np.zeros(len(digits), np.uint64)
    wrong = np.zeros(len(digits), np.uint64)
    for start in range(width % _BLOCK - _BLOCK if width % _BLOCK else 0, width, _BLOCK):
        word = _word(digits, start)
        wrong |= (word & _HIGH) ^ _ZEROS
        wrong |= ((word + _SIX) & _HIGH) ^ _ZEROS
        total *= np.uint64(10**_BLOCK)
        total += _value(word)
    valid = wrong == 0
    if width == MAX_DIGITS:
        valid &= total <= np.uint64(2**63 - 1)
    return total.view(np.int64), valid


def _word(digits: Bytes, start: int) -> NDArray[np.uint64]:
    """Return the eight digits of each row from column `start` as one word. Pads with zeros before the first column."""
    if start >= 0:
        eight = np.ascontiguousarray(digits[:, start : start + _BLOCK])
    else:
        eight = np.full((len(digits), _BLOCK), ord("0"), np.uint8)
        eight[:, -start:] = digits[:, : start + _BLOCK]
    return eight.view("<u8")[:, 0]


def _value(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers of eight-digit words: combines digits to pairs, pairs to fours, and fours to eights."""
    pairs = word - _ZEROS
    pairs = pairs * np.uint64(10) + (pairs >> np.uint64(8))
    low = (pairs & _PAIRS) * np.uint64(100 + (10**6 << 32))
    high = ((pairs >> np.uint64(16)) & _PAIRS) * np.uint64(1 + (10**4 << 32))
    return (low + high) >> np.uint64(32)
