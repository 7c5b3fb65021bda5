"""Figures of sequences by bucket of time: how many reached each step, at what rate, and how long each step took. All are exact.

Used outside of the actors, on the thread that answers.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import NO_TIMES, Times
from actors.figures.buckets import END, RATE, START, buckets_of, in_blocks
from actors.figures.ranks import PERCENTS, percentiles
from actors.timeline.span import Span
from actors.views.funnel.arguments import Figures
from actors.views.funnel.slices import Part
from actors.views.view import Block, Field, Shape

WHOLE = "whole"
_TOOK = "in the stream's unit; null without one, and for the first step."
SHAPE = Shape(
    "summary",
    (
        START,
        END,
        Field("step", "text", meaning="`whole`: all steps; else the name of a step."),
        Field("count", meaning="Sequences that begin in the bucket and have this step; of `whole`: all steps."),
        RATE,
        *(
            Field(f"p{percent}", optional=True, meaning=f"A percentile of the times from the step before, {_TOOK}")
            for percent in PERCENTS
        ),
        Field("max", optional=True, meaning=f"The longest of these times, {_TOOK}"),
    ),
)


def figures(parts: Sequence[Part], names: Sequence[str], span: Span, asked: Figures) -> Iterator[Block]:
    """Yield a row for the whole and one for each step, of each bucket that has sequences.

    Memory: 8 bytes for each step of each sequence, three times. Cost: opening the pieces, and a sort of each step.
    """
    first, gaps = _columns(parts, len(names))
    found = buckets_of(first, asked.by, span, asked.per_s, max(1, asked.most // (len(names) + 1)))
    measures: list[tuple[NDArray[np.bool_], Times | None]] = [(gaps[-1] > 0, gaps[-1] - gaps[0]), (gaps[0] > 0, None)]
    measures += [(later > 0, later - before) for before, later in pairwise(gaps)]
    rows = [_of_step(*measure, found.bounds) for measure in measures]
    steps = len(measures)
    counts = [count for bucket in zip(*(own[0] for own in rows), strict=True) for count in bucket]
    starts, ends = ([each for each in values for _ in range(steps)] for values in (found.starts, found.ends))
    rates = [count * asked.per_s / max(1, end - start) for count, start, end in zip(counts, starts, ends, strict=True)]
    took = [
        [value for bucket in zip(*(own[1][place] for own in rows), strict=True) for value in bucket]
        for place in range(len(PERCENTS) + 1)
    ]
    yield from in_blocks([starts, ends, [WHOLE, *names] * len(found.starts), counts, rates, *took], found.following)


def _columns(parts: Sequence[Part], steps: int) -> tuple[Times, NDArray[np.int64]]:
    """Return the first times of all sequences in the span, ascending; and for each step how much later it is plus one, or 0."""
    firsts, all_gaps = [NO_TIMES], [np.empty((steps, 0), np.int64)]
    for part in parts:
        first, gaps = part.piece.first(), part.piece.gaps()
        chosen = (first >= part.span.start) & (first < part.span.end) & (gaps[0] > 0)
        firsts.append(first[chosen])
        all_gaps.append(np.stack([gap[chosen] for gap in gaps]))
    first = np.concatenate(firsts)
    order = np.argsort(first, kind="stable")
    return first[order], np.concatenate(all_gaps, axis=1)[:, order]


def _of_step(there: NDArray[np.bool_], took: Times | None, bounds: Sequence[int]) -> tuple[list[int], list[list[int | None]]]:
    """Return for each bucket how many sequences have a step, and p50, p95 and the maximum of the times that it took."""
    until = np.concatenate((np.zeros(1, np.int64), np.cumsum(there)))
    counts: list[int] = np.diff(until[bounds]).tolist()
    if took is None:
        return counts, percentiles(NO_TIMES, [0] * len(counts))
    last = bounds[-1]
    return counts, percentiles(took[:last][there[:last]], counts)
