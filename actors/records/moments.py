"""Times by RFC 3339 as columns: the same numbers as `calendar.moment` gives, for the usual forms of many texts at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from actors.columns.json.scan import windows
from actors.columns.text import Text
from actors.columns.times import NO_TIMES, Times
from actors.timeline.calendar import DAY_S, moment

Mask = NDArray[np.bool_]

_DATE, _CLOCK, _SECOND = 10, slice(11, 19), 19
_LONGEST = 48
_FORMS = 3
"""Forms of one length that are read at most: a zone, and where the fraction ends."""

_DAYS = 64
"""Different dates that are read at most."""

_ZERO = np.uint8(ord("0"))
_NINE = np.uint8(9)
_COLONS = [2, 5]
_DIGITS = [0, 1, 3, 4, 6, 7]
_TENS = np.array([36_000, 3_600, 600, 60, 10, 1], np.int64)


def moments(texts: Text, digits: int) -> tuple[Times, Times, Mask]:
    """Return the seconds since 1970 of each text, the first `digits` digits of its fraction, and the mask of those read.

    A text that is masked out may be a time too, in an unusual form. Cost: 150 ns a text if most have one length and one zone.
    """
    count = texts.starts.size
    seconds, fractions, read = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    for length in np.flatnonzero(np.bincount(np.minimum(texts.lengths, _LONGEST + 1)))[:_LONGEST].tolist():
        if not _SECOND <= length <= _LONGEST:
            continue
        rows = np.flatnonzero(texts.lengths == length)
        inside = rows[texts.starts[rows] + length <= texts.blob.size]
        table = windows(texts.blob, texts.starts[inside], length)
        for some, own_seconds, own_fractions in _of_length(table, digits):
            seconds[inside[some]], fractions[inside[some]], read[inside[some]] = own_seconds, own_fractions, True
    return seconds, fractions, read


def _of_length(table: NDArray[np.uint8], digits: int) -> Iterator[tuple[Times, Times, Times]]:
    """Yield rows of one form after another, with their seconds and fractions."""
    days, dated = _days(table[:, :_DATE])
    clock = table[:, _CLOCK]
    numbers = clock[:, _DIGITS] - _ZERO
    good = dated & (numbers <= _NINE).all(axis=1) & (clock[:, _COLONS] == ord(":")).all(axis=1)
    good &= (table[:, _DATE] | 0x20 == ord("t")) | (table[:, _DATE] == ord(" "))
    hours, minutes = numbers[:, 0] * 10 + numbers[:, 1], numbers[:, 2]
    good &= (hours < 24) & (minutes < 6) & (numbers[:, 4] < 6)  # a leap second is left
    seconds = days + numbers @ _TENS
    left = np.flatnonzero(good)
    for _ in range(_FORMS):
        if not left.size:
            return
        tail = bytes(table[left[0], _SECOND:])
        size = _fraction_size(tail)
        zone = tail[1 + size :] if size else tail
        found = moment(f"1970-01-01T00:00:00{zone.decode('ascii', 'replace')}") if b" " not in zone else None
        if found is None:
            left = left[1:]
            continue
        same = (table[left, table.shape[1] - len(zone) :] == np.frombuffer(zone, np.uint8)).all(axis=1)
        parts = table[left, _SECOND : table.shape[1] - len(zone)]
        if size:
            same &= (parts[:, 0] == ord(".")) & (parts[:, 1:] - _ZERO <= _NINE).all(axis=1)
        rows = left[same]
        if rows.size:
            yield rows, seconds[rows] + found[0], _fractions(parts[same, 1:] - _ZERO, digits)
        left = left[~same]


def _days(dates: NDArray[np.uint8]) -> tuple[Times, Mask]:
    """Return the seconds of the first moment of each date, and the mask of the dates that are some."""
    if not dates.size:
        return NO_TIMES, np.empty(0, np.bool_)
    seconds, known = np.zeros(len(dates), np.int64), np.zeros(len(dates), np.bool_)
    left = np.arange(len(dates))
    for _ in range(_DAYS):
        if not left.size:
            break
        first = dates[left[0]]
        same = (dates[left] == first).all(axis=1)
        found = moment(bytes(first).decode("ascii", "replace"))
        if found is not None:
            assert found[0] % DAY_S == 0, "a date begins a day"
            seconds[left[same]], known[left[same]] = found[0], True
        left = left[~same]
    return seconds, known


def _fraction_size(tail: bytes) -> int:
    """Return the number of digits after a point at the start; 0 without a point."""
    return len(tail) - 1 - len(tail[1:].lstrip(b"0123456789")) if tail[:1] == b"." else 0


def _fractions(numbers: NDArray[np.uint8], digits: int) -> Times:
    """Return the first `digits` digits of each row as a number, as if zeros followed."""
    total = np.zeros(len(numbers), np.int64)
    for place in range(min(digits, numbers.shape[1])):
        total += numbers[:, place].astype(np.int64) * 10 ** (digits - 1 - place)
    return total
