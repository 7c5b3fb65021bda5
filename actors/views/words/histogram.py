"""Counts events by their second, from the rows of event types: by buckets of a width, and figures by buckets of a grid.

Runs on the answering thread, one block at a time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from actors.columns.times import Times, count_before
from actors.figures.buckets import END, RATE, START, buckets_of, in_blocks
from actors.timeline.span import Span
from actors.views.view import Block, Field, Shape
from actors.views.words.arguments import Figures
from actors.views.words.pieces import Rows

_BLOCK = 1_024
_MS = 1_000

SHAPE = Shape(
    "summary",
    (
        START,
        END,
        Field("count", meaning="Events of the bucket, by their second."),
        RATE,
        Field("max", meaning="The most events of one second."),
    ),
)


def counted(blocks: Sequence[Rows], span: Span, width: int) -> Iterator[Block]:
    """Yield the start and the count of each bucket that is not empty, by start. `span` and `width` are in ms.

    A second is in the bucket of its first ms, and counts if `span` overlaps it. Cost: 0.3 ms for each block of 16,384 pairs.
    """
    counts: Counter[int] = Counter()
    first, last = span.start // _MS, -(-span.end // _MS)
    for block in blocks:
        seconds, _, numbers = block.opened()
        low, high = count_before(seconds, first), count_before(seconds, last)
        places = seconds[low:high] * _MS // width
        if places.size:
            starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
            sums = np.add.reduceat(numbers[low:high], starts)
            counts.update(dict(zip(places[starts].tolist(), sums.tolist(), strict=True)))
    ordered = sorted(counts)
    for at in range(0, len(ordered), _BLOCK):
        part = ordered[at : at + _BLOCK]
        yield Block(([place * width for place in part], [counts[place] for place in part]))


def figures(blocks: Sequence[Rows], span: Span, asked: Figures) -> Iterator[Block]:
    """Yield the figures of each bucket that is not empty, by start. `span` is in ms, and widened to whole seconds.

    Memory: 16 bytes for each second with events. Cost: 0.3 ms for each block of 16,384 pairs, and a sort of the seconds.
    """
    first, last = span.start // _MS, -(-span.end // _MS)
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for block in blocks:
        seconds, _, numbers = block.opened()
        low, high = count_before(seconds, first), count_before(seconds, last)
        if low < high:
            found.append(_summed(seconds[low:high], numbers[low:high]))
    seconds, counts = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(seconds, kind="stable")
    seconds, counts = _summed(seconds[order], counts[order]) if order.size else (seconds, counts)
    whole = Span(first * _MS, last * _MS)
    own = buckets_of(seconds * _MS, asked.by, whole, _MS, asked.most, unit=_MS)
    places = np.array(own.bounds[:-1], np.int64)
    sums: list[int] = np.add.reduceat(counts[: own.bounds[-1]], places).tolist() if places.size else []
    most: list[int] = np.maximum.reduceat(counts[: own.bounds[-1]], places).tolist() if places.size else []
    yield from in_blocks([own.starts, own.ends, sums, own.rates(sums, _MS), most], own.following)


def _summed(seconds: Times, counts: Times) -> tuple[Times, Times]:
    """Return each of the ascending seconds once, with the sum of its counts. There is at least one."""
    starts = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
    return seconds[starts], np.add.reduceat(counts, starts)
