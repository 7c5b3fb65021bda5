"""Frozen slices of batches, and the summary of a slice.

Rows of finished batches alone: what waits goes on to the successor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.columns import fields
from actors.columns.snapshot import State
from actors.timeline.span import Span, span_of_state, span_state
from actors.views.segments.listing import Listing
from actors.views.segments.runs.rows import SEAL_FROM, Piece, RawRows, Rows, rows_of
from actors.views.view import Meta


@dataclass(frozen=True, slots=True)
class SegmentsSummary:
    """Batches finished, batches that wait, numbers in the finished ones, and bytes in the spool of what waits."""

    finished: int = 0
    pending: int = 0
    numbers: int = 0
    spilled_bytes: int = 0

    @staticmethod
    def of_state(state: State) -> "SegmentsSummary":
        """Return the summary of which `state` was taken."""
        finished, pending, numbers, spilled_bytes = (fields.integer(each, 0, 2**64 - 1) for each in fields.listed(state))
        return SegmentsSummary(finished, pending, numbers, spilled_bytes)

    def state(self) -> State:
        """Return what `of_state` makes the same summary of."""
        return self.finished, self.pending, self.numbers, self.spilled_bytes

    def then(self, later: "SegmentsSummary") -> "SegmentsSummary":
        """Return both as one; what waits is the later one's, since it was carried there."""
        return SegmentsSummary(self.finished + later.finished, later.pending, self.numbers + later.numbers, later.spilled_bytes)


class FrozenSegments:
    """The finished batches of a retired slice. Not thread-safe: its collector owns it; what it reads out is immutable."""

    def __init__(self, pieces: Sequence[Rows], summary: SegmentsSummary, *, segments: int, span: Span | None) -> None:
        self._pieces = list(pieces)
        self._raw = [
            index for index, piece in enumerate(pieces) if isinstance(piece, RawRows) and piece.table.shape[1] >= SEAL_FROM
        ]
        self._summary = summary
        self._segments = segments
        self._span = span

    @staticmethod
    def of_state(state: State, *, segments: int) -> "FrozenSegments":
        """Return the slice of which `state` was taken; nothing is copied."""
        pieces = [rows_of(each) for each in fields.listed(state["pieces"])]
        summary = SegmentsSummary.of_state(state["summary"])
        return FrozenSegments(pieces, summary, segments=segments, span=span_of_state(state["span"]))

    def state(self) -> State:
        """Return what `of_state` makes the same slice of."""
        return {
            "pieces": [piece.state() for piece in self._pieces],
            "summary": self._summary.state(),
            "span": span_state(self._span),
        }

    def settle(self) -> bool:
        """Seal one raw piece; returns whether another one is left. Cost: 8 ms at the most."""
        if self._raw:
            index = self._raw.pop()
            piece = self._pieces[index]
            assert isinstance(piece, RawRows), "only raw pieces are left to seal"
            self._pieces[index] = piece.sealed()
        return bool(self._raw)

    def read(self, span: Span, arguments: Listing) -> tuple[Piece, ...]:
        """Return the pieces that overlap `span`; nothing waits here. Cost: O(pieces); nothing is opened."""
        if arguments.pending:
            return ()
        return tuple(piece for piece in self._pieces if piece.span.overlaps(span))

    def coarsen(self) -> None:
        """Give up nothing: rows are exact."""

    def meta(self) -> Meta:
        """Describe the slice. A late event changes nothing of it, yet nothing says until when ids are complete."""
        return Meta(
            span=self._span,
            events=self._segments * self._summary.finished,
            nbytes=sum(piece.nbytes for piece in self._pieces),
            dead_bytes=0,
            final_until=None,
            summary=self._summary,
        )
