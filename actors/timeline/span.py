"""A half-open range of event time. The one place where Firnline decides what overlaps.

Used by every layer above; knows nothing of the unit, which belongs to the stream.
"""

from dataclasses import dataclass

from actors.columns.fields import integer, listed
from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX, INT64_MIN


@dataclass(frozen=True, slots=True)
class Span:
    """The times `t` with `start <= t < end`, in the stream's own unit. Empty where `start == end`.

    `end` may be one past the largest int64, so that a span can contain every time there is.

    >>> Span(10, 20).overlaps(Span(20, 30))
    False
    >>> Span(10, 20).hull(Span(40, 50))
    Span(start=10, end=50)
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        """Reject a span that runs backwards.

        Raises ValueError.
        """
        if self.start > self.end:
            raise ValueError(f"a span must not end before it starts, got [{self.start}, {self.end})")

    def overlaps(self, other: "Span") -> bool:
        """Whether some time lies in both: half-open, so neighbours that touch do not overlap."""
        return max(self.start, other.start) < min(self.end, other.end)

    def contains(self, other: "Span") -> bool:
        """Whether every time of `other` lies in this span."""
        return self.start <= other.start and other.end <= self.end

    def hull(self, other: "Span") -> "Span":
        """Return the smallest span that contains both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


EVER = Span(INT64_MIN, INT64_MAX + 1)


def span_of_state(value: State) -> Span | None:
    """Return the span of which [start, end] was taken, None of None."""
    if value is None:
        return None
    start, end = listed(value)
    return Span(integer(start), integer(end, high=INT64_MAX + 1))


def span_state(value: Span | None) -> State:
    """Return what `span` makes the same span of."""
    return None if value is None else (value.start, value.end)
