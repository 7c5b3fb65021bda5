"""The roles that a view takes from a record: what each expects, and how its values become a column.

A value that a role does not take raises `UnfitError`, with what was expected and what was got.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.text import Text
from actors.columns.times import INT64_MAX, INT64_MIN, Times
from actors.records.moments import Mask, moments
from actors.records.values import NUMBER, TEXT, kind_of, number_of, text_of
from actors.timeline.calendar import moment
from actors.timeline.unit import NAMES, UNITS

RFC3339 = "rfc3339"
NUMERIC = b"\xff"
"""The first byte of a key that is a number."""

NO_NAME = -1
"""The number in a column of names that another text has."""

_DATE_AND_ONE = len("2026-11-27T")


class UnfitError(ValueError):
    """A value that a role does not take."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")


class Range(NamedTuple):
    """The times that a view takes, in the stream's unit `UNIT`, and the words for them."""

    first: int = 0
    last: int = INT64_MAX
    words: str = "from 1970 on, within 64 bits of UNIT"

    def holds(self, time: int) -> bool:
        """Whether a time is in the range."""
        return self.first <= time <= self.last


class Role(ABC):
    """One role: makes a value of the bytes of a JSON value, and a column of values."""

    expected: str
    takes_text = False
    takes_numbers = False
    """Whether `of_text` and `of_numbers` read whole columns. If neither does, records are read one by one."""

    @abstractmethod
    def value(self, raw: bytes) -> Any:
        """Return the value of a JSON value. Raises UnfitError. Cost: about 0.5 us."""

    @abstractmethod
    def column(self, values: Sequence[Any]) -> Any:
        """Return values as a column."""

    def of_text(self, texts: Text) -> tuple[Any, Mask]:
        """Return a column of strings of printable ASCII without escapes, and the mask of the rows that were read.

        A value that is masked out has no meaning, and `value` may take it all the same.
        """
        raise NotImplementedError

    def of_numbers(self, numbers: Times) -> tuple[Any, Mask]:
        """Return a column of whole numbers from 0 to 16 digits, and the mask of the rows that were read, as `of_text` does."""
        raise NotImplementedError

    def unfit(self, got: str) -> UnfitError:
        """Return the error for a value that is `got`."""
        return UnfitError(self.expected, got)


class Time(Role):
    """A time in `unit`, as a number of the stream's unit `to`, rounded down."""

    def __init__(self, unit: str, to: str, within: Range) -> None:
        self._is_text = unit == RFC3339
        self._to, self._within = to, within
        self._fraction = len(str(UNITS[to])) - 1
        self._power = 0 if self._is_text else len(str(UNITS[to])) - len(str(UNITS[unit]))
        kind = "a time by RFC 3339" if self._is_text else f"a number of {NAMES[unit]} since 1970"
        self.expected = kind
        self.takes_text, self.takes_numbers = self._is_text, not self._is_text
        self._expected_time = f"{kind}, {within.words.replace('UNIT', NAMES[to])}"

    def value(self, raw: bytes) -> int:
        """Return the time."""
        kind = kind_of(raw)
        if kind != (TEXT if self._is_text else NUMBER):
            raise self.unfit(kind)
        if self._is_text:
            time = self._of_text(text_of(raw))
            if time is None:
                raise self.unfit("other text")
        else:
            number = number_of(raw, self._power)
            time = number.value if number.value is not None else -(2**64) if number.negative else 2**64
        if not self._within.holds(time):
            raise UnfitError(self._expected_time, "an earlier one" if time < self._within.first else "a later one")
        return time

    def column(self, values: Sequence[int]) -> Times:
        """Return the times as a column."""
        return np.array(values, np.int64)

    def of_text(self, texts: Text) -> tuple[Times, Mask]:
        """See the base. Cost: 150 ns a time of a usual form."""
        seconds, fractions, read = moments(texts, self._fraction)
        per_s = UNITS[self._to]
        # One second less at both ends, which `value` decides.
        first, last = self._within.first // per_s + 1, self._within.last // per_s - 1
        return seconds * per_s + fractions, read & (seconds >= first) & (seconds <= last)

    def of_numbers(self, numbers: Times) -> tuple[Times, Mask]:
        """See the base. Cost: 10 ns a time."""
        if self._power <= 0:
            times = numbers // 10**-self._power
            return times, (times >= self._within.first) & (times <= self._within.last)
        most = min(self._within.last, INT64_MAX) // 10**self._power
        times = numbers * 10**self._power
        return times, (numbers <= most) & (times >= self._within.first)

    def _of_text(self, text: bytes) -> int | None:
        # A space before a zone is a plus in requests only.
        found = moment(text.decode()) if b" " not in text[_DATE_AND_ONE:] else None
        if found is None:
            return None
        seconds, digits = found
        return seconds * UNITS[self._to] + int(digits[: self._fraction].ljust(self._fraction, "0") or 0)


class Name(Role):
    """A text that stands for one of a few names: `names` has the number of each text. Another text has none."""

    expected = TEXT
    takes_text = True

    def __init__(self, names: Mapping[bytes, int]) -> None:
        self._names = names
        self._numbers = np.array([*names.values(), NO_NAME], np.int8)

    def of_text(self, texts: Text) -> tuple[NDArray[np.int8], Mask]:
        """See the base; the number of another text is `NO_NAME`. Cost: 10 ns a text, and 3 ns for each name of its length."""
        found = self._numbers[texts.index(list(self._names))]
        return found, np.ones(found.size, np.bool_)

    def value(self, raw: bytes) -> int | None:
        """Return the number of the name; None for a text that stands for no name."""
        kind = kind_of(raw)
        if kind != TEXT:
            raise self.unfit(kind)
        return self._names.get(text_of(raw))

    def column(self, values: Sequence[int]) -> NDArray[np.int8]:
        """Return the numbers of the names as a column."""
        return np.array(values, np.int8)


class Chars(Role):
    """A text. With `letters`, one word of letters, as `str.isalpha` says."""

    def __init__(self, *, letters: bool = False) -> None:
        self._letters = letters
        self.takes_text = not letters
        self.expected = "one word of letters" if letters else TEXT

    def value(self, raw: bytes) -> bytes:
        """Return the text as UTF-8."""
        kind = kind_of(raw)
        if kind != TEXT:
            raise self.unfit(kind)
        text = text_of(raw)
        if self._letters and not text.decode().isalpha():
            raise self.unfit("other text")
        return text

    def of_text(self, texts: Text) -> tuple[Text, Mask]:
        """See the base."""
        return texts, np.ones(texts.starts.size, np.bool_)

    def column(self, values: Sequence[bytes]) -> Text:
        """Return the texts as a column."""
        return Text.of(values)


class Whole(Role):
    """A whole number from `first` to `last`, in any form: 1, 1.0 and 10e-1 are the same."""

    takes_numbers = True

    def __init__(self, first: int = INT64_MIN, last: int = INT64_MAX) -> None:
        self._first, self._last = first, last
        within = "of 64 bits" if (first, last) == (INT64_MIN, INT64_MAX) else f"from {first} to {last}"
        self.expected = f"a whole number {within}"

    def value(self, raw: bytes) -> int:
        """Return the number."""
        kind = kind_of(raw)
        if kind != NUMBER:
            raise self.unfit(kind)
        number = number_of(raw)
        if not number.whole:
            raise self.unfit("a fraction")
        if number.value is None or not self._first <= number.value <= self._last:
            raise self.unfit("a smaller one" if number.negative or (number.value or 0) < self._first else "a larger one")
        return number.value

    def of_numbers(self, numbers: Times) -> tuple[Times, Mask]:
        """See the base."""
        return numbers, (numbers >= self._first) & (numbers <= self._last)

    def column(self, values: Sequence[int]) -> Times:
        """Return the numbers as a column."""
        return np.array(values, np.int64)


class Key(Role):
    """A text or a whole number of 64 bits that identifies something. A number differs from its digits as text.

    A number becomes `NUMERIC` and its digits: bytes that no text has, because they are not UTF-8.
    """

    expected = "text or a whole number of 64 bits"
    takes_text = takes_numbers = True

    def __init__(self) -> None:
        self._whole = Whole()

    def value(self, raw: bytes) -> bytes:
        """Return the key as bytes."""
        kind = kind_of(raw)
        if kind == TEXT:
            return text_of(raw)
        if kind != NUMBER:
            raise self.unfit(kind)
        try:
            return self.of_number(self._whole.value(raw))
        except UnfitError as error:
            raise self.unfit(str(error).rpartition("got ")[2]) from None

    def of_text(self, texts: Text) -> tuple[Text, Mask]:
        """See the base."""
        return texts, np.ones(texts.starts.size, np.bool_)

    def of_numbers(self, numbers: Times) -> tuple[Text, Mask]:
        """See the base. Cost: 0.3 us a number."""
        return Text.of([self.of_number(number) for number in numbers.tolist()]), np.ones(numbers.size, np.bool_)

    def of_number(self, number: int) -> bytes:
        """Return the key that a number is."""
        return NUMERIC + b"%d" % number

    def column(self, values: Sequence[bytes]) -> Text:
        """Return the keys as a column."""
        return Text.of(values)
