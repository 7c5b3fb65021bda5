"""Writes finished and pending batches as text or columns, in order of epoch and batch id, block by block.

Used outside of the actors, on the thread that answers the query. Opens one or two pieces at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise

import msgspec
import numpy as np

from actors.timeline.span import Span
from actors.views.segments.listing import Listing
from actors.views.segments.runs.rows import PendingRows, Piece, Rows, Table, clipped, ordered
from actors.views.view import Column, Field

_BLOCK = 1_024
"""Rows in a block. A block takes a millisecond, so other threads can run between two blocks."""


class _Finished(msgspec.Struct, gc=False):
    batch: int
    epoch: int
    order: int
    count: int
    first: int | None
    last: int | None


class _Pending(msgspec.Struct, gc=False):
    batch: int
    epoch: int
    missing: list[int]


_Row = _Finished | _Pending
_encoder = msgspec.json.Encoder()

_FINISHED = (
    *(Field(name) for name in ("batch", "epoch", "order", "count")),
    *(Field(name, optional=True) for name in ("first", "last")),
)
_PENDING = (Field("batch"), Field("epoch"), Field("missing", "integers"))


def write(pieces: Sequence[Piece], span: Span, listing: Listing, form: str, members: Mapping[str, object]) -> Iterator[bytes]:
    """Yield the answer in the form `json`, with `members` at its end, or `ndjson`. Cost: 0.7 us a row."""
    limited = _rows(pieces, span, listing)
    if form == "ndjson":
        while block := list(islice(limited, _BLOCK)):
            yield _encoder.encode_lines(block)
        return
    lead = b'{"pending":[' if listing.pending else b'{"segments":['
    while block := list(islice(limited, _BLOCK)):
        yield lead + _encoder.encode(block)[1:-1]
        lead = b","
    opening = b"" if lead == b"," else lead
    yield opening + b"]" + (b"," if members else b"") + _encoder.encode(dict(members))[1:]


def fields(listing: Listing) -> tuple[Field, ...]:
    """Return the fields of a row. A batch without numbers has neither `first` nor `last`."""
    return _PENDING if listing.pending else _FINISHED


def columns(pieces: Sequence[Piece], span: Span, listing: Listing) -> Iterator[Mapping[str, Column]]:
    """Yield the same rows as `write`, as columns. Cost: 1 us a row."""
    limited = _rows(pieces, span, listing)
    while block := list(islice(limited, _BLOCK)):
        found: dict[str, Column] = {}
        for field in fields(listing):
            values = [getattr(row, field.name) for row in block]
            found[field.name] = np.array(values, np.int64) if field.kind == "integer" and not field.optional else values
        yield found


def _rows(pieces: Sequence[Piece], span: Span, listing: Listing) -> Iterator[_Row]:
    rows = _pending(pieces, span, listing.after) if listing.pending else _finished(pieces, span, listing.after)
    return islice(rows, listing.limit)


def _finished(pieces: Sequence[Piece], span: Span, after: int | None) -> Iterator[_Row]:
    by_epoch: dict[int, list[Rows]] = {}
    for piece in pieces:
        if not isinstance(piece, PendingRows) and piece.span.overlaps(span):
            by_epoch.setdefault(piece.epoch, []).append(piece)
    epochs = sorted(by_epoch)
    if after is not None:
        # A piece of an epoch may overlap the span and have no row in it.
        newest = (epoch for epoch in reversed(epochs) if any(table.size for table in _swept(by_epoch[epoch], span)))
        epochs = list(islice(newest, 1))
        span = Span(min(max(span.start, after + 1), span.end), span.end)
    for epoch in epochs:
        for table in _swept(by_epoch[epoch], span):
            for low in range(0, table.shape[1], _BLOCK):
                for batch, order, count, first, last in zip(*table[:, low : low + _BLOCK].tolist(), strict=True):
                    yield _Finished(batch, epoch, order, count, first if count else None, last if count else None)


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


def _pending(pieces: Sequence[Piece], span: Span, after: int | None) -> Iterator[_Row]:
    start = span.start if after is None else max(span.start, after + 1)
    found = [
        (piece.epoch, batch, missing)
        for piece in pieces
        if isinstance(piece, PendingRows)
        for batch, missing in piece.waiting
        if span.start <= batch < span.end
    ]
    newest = max((epoch for epoch, _, _ in found), default=0)
    for epoch, batch, missing in sorted(found):
        if batch >= start and (after is None or epoch == newest):
            yield _Pending(batch, epoch, [place for place in range(missing.bit_length()) if missing >> place & 1])
