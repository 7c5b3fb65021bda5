"""The arguments of a query of `funnel`: totals by step, a page of sequences, the events of one key, or figures."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from actors.timeline.grid import Grid

PERIODS = ("minute", "hour", "day")
"""The lengths of periods that totals may be grouped by."""

STATES = ("complete", "open", "lapsed")
"""The states of a sequence."""

Period = Literal["minute", "hour", "day"]
State = Literal["complete", "open", "lapsed"]


def _up_to(most: int) -> str:
    """Return the pattern of the numbers from 0 to `most`, which is longer than a digit. Leading zeros count as digits.

    >>> [bool(re.fullmatch(_up_to(210), text)) for text in ("0", "99", "210", "209", "211", "300", "0001")]
    [True, True, True, True, False, False, False]
    """
    digits = str(most)
    shorter = [f"[0-9]{{1,{len(digits) - 1}}}", digits]
    for place, digit in enumerate(digits):
        if digit != "0":
            rest = len(digits) - place - 1
            shorter.append(f"{digits[:place]}[0-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return f"(?:{'|'.join(shorter)})"


CURSOR = rf"{_up_to(2**63 - 1)}\.{_up_to(2**64 - 1)}\.{_up_to(2**63 - 1)}"
"""The pattern of a cursor's text: a time and a count of 63 bits around a hash of 64 bits."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place after the last sequence of a page: its first time, the hash of its key, and how many of these were delivered.

    >>> str(Cursor.parse("10.77.1"))
    '10.77.1'
    """

    time: int
    mark: int
    equal: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a cursor. Raises ValueError if the text is not a cursor, or has a number that is too large."""
        if not re.fullmatch(CURSOR, text):
            raise ValueError("not a cursor")
        time, mark, equal = map(int, text.split("."))
        return cls(time, mark, equal)

    def __str__(self) -> str:
        """Return the text of the cursor, for the next request."""
        return f"{self.time}.{self.mark}.{self.equal}"


@dataclass(frozen=True, slots=True)
class Totals:
    """How many sequences reached each step: of the whole span, or of each period of a time zone."""

    by: Period | None = None
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Listing:
    """At most `limit` sequences (None: all) from the place `after` on (None: from the start).

    `state` and `key` select sequences of a state and of a key; `missing` is the number of a step that they lack. A key that is
    the digits of a whole number selects that number too.
    """

    state: State | None = None
    missing: int | None = None
    key: bytes | None = None
    limit: int | None = None
    after: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """All events of a key, and of the whole number whose digits it is."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Figures:
    """How many sequences reached each step, and how long it took, in each bucket of `by`; None: in the whole span.

    A second has `per_s` units of the times. The answer has at most `most` rows.
    """

    by: Grid | None = None
    per_s: int = 1_000
    most: int = 1 << 62


Asked = Totals | Listing | Story | Figures
