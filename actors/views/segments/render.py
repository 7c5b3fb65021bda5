"""Lists finished and pending batches as columns, in order of epoch and batch id, block by block.

Used outside of the actors, on the thread that answers the query. Opens one or two pieces at a time.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import numpy as np

from actors.columns.times import Times
from actors.figures.ranks import PERCENTS, percentiles
from actors.timeline.span import Span
from actors.views.segments.arguments import Listing
from actors.views.segments.runs.rows import PendingRows, Piece, Rows, Table, clipped, ordered
from actors.views.view import Block, Field, Shape

_BLOCK = 1_024
"""Rows in a block. A block takes a millisecond, so other threads can run between two blocks."""


FINISHED = Shape(
    "segments",
    (
        *(Field(name) for name in ("batch", "epoch", "order", "count")),
        *(Field(name, optional=True) for name in ("first", "last")),
    ),
)
"""A finished batch. One without numbers has neither `first` nor `last`."""

SUMMARY = Shape(
    "summary",
    (
        Field("epoch", meaning="How often the topic was recreated before."),
        Field("start", meaning="The lowest id of a batch."),
        Field("end", meaning="The highest id of a batch, plus one."),
        Field("count", meaning="Finished batches."),
        Field("numbers", meaning="Numbers in all of them."),
        *(Field(f"p{percent}", meaning="A percentile of the numbers in a batch.") for percent in PERCENTS),
        Field("max", meaning="The most numbers in a batch."),
    ),
)

PENDING = Shape("pending", (Field("batch"), Field("epoch"), Field("missing", "integers")))


def blocks(pieces: Sequence[Piece], span: Span, listing: Listing) -> Iterator[Block]:
    """Yield the batches of `listing` in `span`. Cost: 0.1 us a finished batch, 1 us a pending one."""
    return _pending(pieces, span, listing) if listing.pending else _finished(pieces, span, listing)


def _finished(pieces: Sequence[Piece], span: Span, listing: Listing) -> Iterator[Block]:
    by_epoch: dict[int, list[Rows]] = {}
    for piece in pieces:
        if not isinstance(piece, PendingRows) and piece.span.overlaps(span):
            by_epoch.setdefault(piece.epoch, []).append(piece)
    epochs = sorted(by_epoch)
    if listing.after is not None:
        # A piece of an epoch may overlap the span and have no row in it.
        newest = (epoch for epoch in reversed(epochs) if any(table.size for table in _swept(by_epoch[epoch], span)))
        epochs = list(islice(newest, 1))
        span = Span(min(max(span.start, listing.after + 1), span.end), span.end)
    left = sys.maxsize if listing.limit is None else listing.limit
    for epoch in epochs:
        for table in _swept(by_epoch[epoch], span):
            chosen = table[:, :left]
            for low in range(0, chosen.shape[1], _BLOCK):
                batches, orders, counts, *bounds = chosen[:, low : low + _BLOCK]
                own = np.full(batches.size, epoch)
                yield Block((batches, own, orders, counts, *(_optional(bound, counts) for bound in bounds)))
            left -= chosen.shape[1]
            if not left:
                return


def figures(pieces: Sequence[Piece], span: Span) -> Iterator[Block]:
    """Yield the figures of the finished batches in `span`, a row for each epoch. Cost: 0.1 us a batch."""
    found: dict[int, list[Table]] = {}
    for piece in pieces:
        if not isinstance(piece, PendingRows) and piece.span.overlaps(span):
            table = clipped(piece.open(), span.start, span.end)[[0, 2]]
            if table.size:
                found.setdefault(piece.epoch, []).append(table)
    rows = []
    for epoch, tables in sorted(found.items()):
        batches, counts = np.concatenate(tables, axis=1)
        shown = [each for (each,) in percentiles(counts, [counts.size])]
        rows.append([epoch, int(batches.min()), int(batches.max()) + 1, counts.size, int(counts.sum()), *shown])
    yield Block([list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in SUMMARY.fields])


def _optional(bounds: Times, counts: Times) -> list[int | None]:
    """Return the bounds, with None in place of those of a batch without numbers."""
    values: list[int | None] = bounds.tolist()
    for place in np.flatnonzero(counts == 0).tolist():
        values[place] = None
    return values


def _swept(pieces: Sequence[Rows], span: Span) -> Iterator[Table]:
    """Yield the rows of one epoch in `span` by batch id. Rows before the start of the next piece can be yielded at once."""
    inside = sorted((piece for piece in pieces if piece.span.overlaps(span)), key=lambda piece: piece.span.start)
    held: Table | None = None
    for piece, following in pairwise((*inside, None)):
        assert piece is not None, "only the last pair has no next piece"
        opened = clipped(piece.open(), span.start, span.end)
        held = opened if held is None or not held.size else ordered(np.concatenate((held, opened), axis=1))
        until = following.span.start if following is not None else span.end
        yield clipped(held, span.start, until)
        held = clipped(held, max(span.start, until), span.end)


def _pending(pieces: Sequence[Piece], span: Span, listing: Listing) -> Iterator[Block]:
    found = sorted(
        (piece.epoch, batch, missing)
        for piece in pieces
        if isinstance(piece, PendingRows)
        for batch, missing in piece.waiting
        if span.start <= batch < span.end
    )
    after = listing.after
    if after is not None and found:
        newest, _, _ = found[-1]
        found = [(epoch, batch, missing) for epoch, batch, missing in found if epoch == newest and batch > after]
    chosen = found[: listing.limit]
    for low in range(0, len(chosen), _BLOCK):
        epochs, batches, masks = zip(*chosen[low : low + _BLOCK], strict=True)
        missing = [[place for place in range(mask.bit_length()) if mask >> place & 1] for mask in masks]
        yield Block((list(batches), list(epochs), missing))
