"""A half-open range of event time. Only this file decides whether two spans overlap.

Used by every layer above. The unit is the stream's.
"""

from dataclasses import dataclass

from actors.columns.fields import integer, listed
from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX, INT64_MIN


@dataclass(frozen=True, slots=True)
class Span:
    """The times `t` with `start <= t < end`, in the stream's unit. Empty if `start == end`.

    `end` may be one more than the largest int64, so a span can contain every time.

    >>> Span(10, 20).overlaps(Span(20, 30))
    False
    >>> Span(10, 20).hull(Span(40, 50))
    Span(start=10, end=50)
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        """Reject a span that ends before it starts.

        Raises ValueError.
        """
        if self.start > self.end:
            raise ValueError(f"a span must not end before it starts, got [{self.start}, {self.end})")

    def overlaps(self, other: "Span") -> bool:
        """Whether a time is in both spans. Spans that only touch do not overlap."""
        return max(self.start, other.start) < min(self.end, other.end)

    def contains(self, other: "Span") -> bool:
        """Whether every time of `other` is in this span."""
        return self.start <= other.start and other.end <= self.end

    def hull(self, other: "Span") -> "Span":
        """Return the smallest span that contains both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


EVER = Span(INT64_MIN, INT64_MAX + 1)


def span_of_state(value: State) -> Span | None:
    """Restore a span from its state; None from None."""
    if value is None:
        return None
    start, end = listed(value)
    return Span(integer(start), integer(end, high=INT64_MAX + 1))


def span_state(value: Span | None) -> State:
    """Return the state for `span_of_state`."""
    return None if value is None else (value.start, value.end)
