"""Figures of values by bucket of the time of each id's last record: their number, rate and percentiles. All are exact.

Used outside of the actors, on the thread that answers.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from actors.columns.times import NO_TIMES
from actors.figures.buckets import END, RATE, START, buckets_of, in_blocks
from actors.figures.ranks import PERCENTS, percentiles
from actors.timeline.span import Span
from actors.views.top.arguments import Figures
from actors.views.top.slices import Valued
from actors.views.view import Block, Field, Shape

_MS = 1_000

SHAPE = Shape(
    "summary",
    (
        START,
        END,
        Field("count", meaning="Ids whose last record is in the bucket."),
        RATE,
        *(Field(f"p{percent}", meaning="A percentile of their values.") for percent in PERCENTS),
        Field("max", meaning="The largest of their values."),
    ),
)


def figures(partial: Sequence[Valued], span: Span, asked: Figures) -> Iterator[Block]:
    """Yield the figures of each bucket that is not empty, by start. Cost: two sorts of the values, 0.2 us an id."""
    times = np.concatenate([NO_TIMES, *(each.times for each in partial)])
    values = np.concatenate([NO_TIMES, *(each.values for each in partial)])
    order = np.argsort(times, kind="stable")
    found = buckets_of(times[order], asked.by, span, _MS, asked.most)
    shown = percentiles(values[order[: found.bounds[-1]]], found.sizes)
    yield from in_blocks([found.starts, found.ends, found.sizes, found.rates(found.sizes, _MS), *shown], found.following)
