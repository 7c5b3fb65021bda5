"""Where a page of sets begins and how long it may be.

Used by the gateway to say it, by slices to read no more than needed, and by the renderer. Never refers to a generation, so a
cursor stays good while generations age.
"""

import re
from dataclasses import dataclass
from typing import Self

from actors.timeline.span import Span

_CURSOR = re.compile(r"\d{1,19}(\.\d{1,19})+")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place after the last set of a page: its times, and how many equal sets in a row were delivered with it.

    >>> str(Cursor.parse("10.20.30.1", steps=3))
    '10.20.30.1'
    """

    times: tuple[int, ...]
    equal: int

    @classmethod
    def parse(cls, text: str, *, steps: int) -> Self:
        """Read what `str` wrote for a stream of so many `steps`.

        Raises ValueError where the text is no such cursor.
        """
        if not _CURSOR.fullmatch(text) or text.count(".") != steps:
            raise ValueError("not a cursor of this stream")
        *times, equal = map(int, text.split("."))
        return cls(tuple(times), equal)

    def __str__(self) -> str:
        """Write the cursor for the next request."""
        return ".".join(map(str, (*self.times, self.equal)))


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` sets, from the place `after` on; None is all, and the beginning."""

    limit: int | None = None
    after: Cursor | None = None

    def rest(self, span: Span) -> Span:
        """Return what is left of `span` from the cursor's first time on."""
        return Span(min(max(span.start, self.after.times[0]), span.end), span.end) if self.after else span

    @property
    def needed(self) -> int | None:
        """How many sets from the cursor's times on any one slice has to show: the page, what is skipped, and one more."""
        if self.limit is None:
            return None
        return self.limit + 1 + (self.after.equal if self.after else 0)
