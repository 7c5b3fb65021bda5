"""Parses ASCII decimal numbers to int64 columns, and writes such columns, without a Python object per number.

Used by the decoders of views, and by results. Sees digits only, not records or fields.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times

Bytes = NDArray[np.uint8]

_BLOCK = 8
_ZEROS = np.uint64(0x3030303030303030)
_NINES = np.uint64(0x7676767676767676)
_TOPS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)

_FOUR = 10_000
_ROW = np.dtype([("high", "<u4"), ("low", "<u4"), ("separator", "<u2")])

_FREE = np.array([8 * (_BLOCK - own) for own in range(_BLOCK + 1)], np.uint64)
_LEADING = np.array([0x3030303030303030 >> 8 * own for own in range(_BLOCK + 1)], np.uint64)
_POWERS = np.array([10**own for own in range(_BLOCK + 1)], np.uint64)
"""For each number of digits in a word: the bits of the other bytes, zeros in place of these bytes, and the power of ten."""

_HUNDREDS = np.uint64(0x0000007F0000007F)
_TENS = np.uint64(0x000F000F000F000F)
_LAST = np.uint64(1 << 56)
"""In words of digits: the bits of hundreds of two numbers, of tens of four numbers, and a bit of the last digit."""

AT_ONCE = 8_192
"""Numbers that are parsed or written at once: what is computed of them stays in the cache of a processor."""

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


def text_of(numbers: NDArray[Any], separators: NDArray[np.uint16]) -> bytes | None:
    r"""Return numbers as text, each followed by its separator of one or two bytes, the first one in the low bits.

    Returns None if a number is negative or has more than eight digits. Cost: 10 ns a number.

    >>> text_of(np.array([7, 0, 1234]), np.array([0x202C, 0x202C, 0x0A], np.uint16))
    b'7, 0, 1234\n'
    """
    if not numbers.size or int(numbers.min()) < 0 or int(numbers.max()) >= 10**_BLOCK:
        return None if numbers.size else b""
    firsts, lasts = _fours()
    rows = np.empty(numbers.size, _ROW)
    for start in range(0, numbers.size, AT_ONCE):
        own = slice(start, start + AT_ONCE)
        low = numbers[own].astype(np.uint32)
        high = low // np.uint32(_FOUR)
        low -= high * np.uint32(_FOUR)
        low += np.uint32(_FOUR) * (high > 0)
        rows["high"][own] = firsts[high.astype(np.intp)]
        rows["low"][own] = lasts[low.astype(np.intp)]
    rows["separator"] = separators
    return rows.tobytes().translate(None, b"\0")


@cache
def _fours() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the words of four ASCII digits of the numbers below 10,000, the first digit in the lowest byte.

    In both tables NUL is in place of leading zeros. 0 has no digit in the first one. It has one in the second one, which goes
    on with all four digits of each number.
    """
    digits = b"".join(b"%04d" % number for number in range(_FOUR))
    led = b"".join((b"%d" % number).rjust(4, b"\0") for number in range(_FOUR))
    return np.frombuffer(bytes(4) + led[4:], "<u4"), np.frombuffer(led + digits, "<u4")


def digits_of(numbers: Times) -> Bytes:
    r"""Return numbers that are not negative as rows of ASCII digits, with NUL in place of leading zeros. 0 is one digit.

    The rows have the width of the longest number. Cost: 30 ns a number and block of eight digits.

    >>> digits_of(np.array([1204, 0])).tobytes()
    b'1204\x00\x00\x000'
    """
    width = len(str(int(numbers.max(initial=0))))
    blocks = -(-width // _BLOCK)
    words = np.empty((numbers.size, blocks), np.uint64)
    left = numbers.astype(np.uint64)
    for place in range(blocks - 1, -1, -1):
        higher = left // _POWERS[_BLOCK] if place else np.zeros_like(left)
        word = _written(left - higher * _POWERS[_BLOCK])
        if place:
            word |= np.where(higher > 0, _ZEROS, np.uint64(0))
        if place < blocks - 1:
            word *= left > 0
        words[:, place] = word
        left = higher
    return words.view(np.uint8)[:, blocks * _BLOCK - width :]


def _written(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return words of eight ASCII digits, the first digit in the lowest byte, with NUL in place of leading zeros."""
    high = numbers // np.uint64(10_000)
    words = numbers - high * np.uint64(10_000)
    words <<= np.uint64(32)
    words |= high
    # Each half has four digits: split both into pairs, then the pairs into digits. The factors divide by 100 and by 10.
    high = words * np.uint64(10_486)
    high >>= np.uint64(20)
    high &= _HUNDREDS
    words -= high * np.uint64(100)
    words <<= np.uint64(16)
    words |= high
    high = words * np.uint64(103)
    high >>= np.uint64(10)
    high &= _TENS
    words -= high * np.uint64(10)
    words <<= np.uint64(8)
    words |= high
    # The bytes below the lowest bit are leading zeros. The last digit is written even if it is 0.
    lowest = words | _LAST
    lowest &= ~lowest + np.uint64(1)
    lowest -= np.uint64(1)
    lowest &= _TOPS
    lowest >>= np.uint64(7)
    lowest *= np.uint64(255)
    words |= _ZEROS
    words &= ~lowest
    return words
