"""Buckets of a span of time, and the columns that all summaries have."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from actors.columns.times import Times, count_before
from actors.timeline.grid import Cut, Grid
from actors.timeline.span import Span
from actors.views.view import Block, Field

START = Field("start", meaning="The beginning of the bucket within the range, in the stream's unit.")
END = Field("end", meaning="The end of the bucket within the range. Without `by`: after the last time.")
RATE = Field("rate", "number", meaning="`count` a second, from `start` to `end`.")


_BLOCK = 1_024
"""Rows of a block."""


class Buckets(NamedTuple):
    """The buckets that have some of the ascending times of a query, in order of time.

    `following` is the start of the first bucket that is left out. `bounds` are the places at which the times of each bucket
    begin, and the end of the last one.
    """

    starts: list[int]
    ends: list[int]
    bounds: list[int]
    following: int | None = None

    @property
    def sizes(self) -> list[int]:
        """How many times each bucket has."""
        return [high - low for low, high in pairwise(self.bounds)]

    def rates(self, counts: Sequence[int], per_s: int) -> list[float]:
        """Return counts as rates a second. A second has `per_s` units of the times."""
        parts = zip(counts, self.starts, self.ends, strict=True)
        return [count * per_s / max(1, end - start) for count, start, end in parts]


def buckets_of(times: Times, by: Grid | None, span: Span, per_s: int, most: int, *, unit: int = 1) -> Buckets:
    """Return the first `most` buckets of ascending `times`, all in `span`: of `by`, or one from the first time to the last.

    A time stands for `unit` units of time from it on. Cost: as `Grid.cut`.
    """
    if not times.size:
        return Buckets([], [], [0])
    if by is None:
        return Buckets([int(times[0])], [int(times[-1]) + unit], [0, times.size])
    cut: Cut = by.cut(times, per_s)
    starts = [max(start, span.start) for start in cut.starts]
    ends = [min(end, span.end) for end in cut.ends]
    if len(starts) <= most:
        return Buckets(starts, ends, [*cut.firsts, times.size])
    return Buckets(starts[:most], ends[:most], cut.firsts[: most + 1], starts[most])


def inside(times: Times, span: Span) -> slice:
    """Return the places of those of the ascending times that are in a span."""
    return slice(count_before(times, span.start), count_before(times, span.end))


def in_blocks(columns: Sequence[Sequence[Any]], following: object) -> Iterator[Block]:
    """Yield columns of equal length as blocks of bounded length; the last one has `following`."""
    count = len(columns[0])
    for low in range(0, max(count, 1), _BLOCK):
        last = low + _BLOCK >= count
        yield Block([list(column[low : low + _BLOCK]) for column in columns], following if last else None)
