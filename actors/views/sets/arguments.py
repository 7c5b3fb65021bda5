"""The arguments of a query of `sets`: the start and the length of a page.

Used by the gateway for requests, by slices to limit what they read, and by the renderer. A cursor does not refer to a
generation, so it stays valid while generations age.
"""

import re
from dataclasses import dataclass
from typing import Self

from actors.timeline.grid import Grid
from actors.timeline.span import Span

NAMES = {"R": "red", "G": "green", "B": "blue"}
"""What clients read as the name of a step; a step that is not listed goes by its own name."""

_CURSOR = re.compile(r"\d{1,19}(\.\d{1,19})+")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place after the last set of a page: its times, and how many sets equal to it have been delivered.

    >>> str(Cursor.parse("10.20.30.1", steps=3))
    '10.20.30.1'
    """

    times: tuple[int, ...]
    equal: int

    @classmethod
    def parse(cls, text: str, *, steps: int) -> Self:
        """Parse the text of a cursor of a stream with `steps` steps.

        Raises ValueError if the text is not such a cursor.
        """
        if not _CURSOR.fullmatch(text) or text.count(".") != steps:
            raise ValueError("not a cursor of this stream")
        *times, equal = map(int, text.split("."))
        return cls(tuple(times), equal)

    def __str__(self) -> str:
        """Return the text of the cursor, for the next request."""
        return ".".join(map(str, (*self.times, self.equal)))


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` sets (None: all) from the place `after` on (None: from the start)."""

    limit: int | None = None
    after: Cursor | None = None

    def rest(self, span: Span) -> Span:
        """Return the part of `span` from the first time of the cursor on."""
        return Span(min(max(span.start, self.after.times[0]), span.end), span.end) if self.after else span

    @property
    def needed(self) -> int | None:
        """Sets to read from each slice from the cursor's first time on: the page, the skipped ones, and one more. None: all."""
        if self.limit is None:
            return None
        return self.limit + 1 + (self.after.equal if self.after else 0)


@dataclass(frozen=True, slots=True)
class Buckets(Page):
    """All sets of a span, counted by their first time: a bucket has the times of [k * width, (k + 1) * width)."""

    width: int = 1


@dataclass(frozen=True, slots=True)
class Numbers(Page):
    """How many sets there are, and how long they took, in each bucket of `by`; None: in the whole span.

    A second has `per_s` units of the times. The answer has at most `most` buckets.
    """

    by: Grid | None = None
    per_s: int = 1_000
    most: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Explain(Page):
    """In which sets the events of the step with the number `step` at `time` stand, and why others stand in none.

    The answer has at most `limit` rows.
    """

    step: int = 0
    time: int = 0
