"""Frozen slices of finished batches, and the summary of a slice. Pending batches are carried to the next live slice."""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.columns import fields
from actors.columns.snapshot import State
from actors.timeline.span import Span, span_of_state, span_state
from actors.views.segments.arguments import Listing
from actors.views.segments.runs.rows import PIECE_BYTES, SEAL_FROM, Piece, Rows
from actors.views.view import Frozen, Meta


@dataclass(frozen=True, slots=True)
class SegmentsSummary:
    """Counts of one slice, or of consecutive slices."""

    finished: int = 0
    """Finished batches."""
    pending: int = 0
    """Incomplete batches."""
    numbers: int = 0
    """Numbers in the finished batches."""
    spilled_bytes: int = 0
    """Bytes of the incomplete batches in the spool."""

    @staticmethod
    def of_state(state: State) -> "SegmentsSummary":
        """Return the summary that `state` describes."""
        finished, pending, numbers, spilled_bytes = (fields.integer(each, 0, 2**64 - 1) for each in fields.listed(state))
        return SegmentsSummary(finished, pending, numbers, spilled_bytes)

    def state(self) -> State:
        """Return the state for `of_state`."""
        return self.finished, self.pending, self.numbers, self.spilled_bytes

    def then(self, later: "SegmentsSummary") -> "SegmentsSummary":
        """Return the summary of both slices. Pending batches are those of the later slice, which received them as carry."""
        return SegmentsSummary(self.finished + later.finished, later.pending, self.numbers + later.numbers, later.spilled_bytes)


class FrozenSegments(Frozen):
    """The finished batches of a retired slice. Not thread-safe: one collector owns it. Pieces are immutable."""

    def __init__(self, pieces: Sequence[Rows], summary: SegmentsSummary, *, segments: int, span: Span | None) -> None:
        self._pieces = list(pieces)
        self._raw = [index for index, piece in enumerate(pieces) if not piece.is_sealed and len(piece.columns[0]) >= SEAL_FROM]
        self._summary = summary
        self._segments = segments
        self._span = span

    @staticmethod
    def of_state(state: State, *, segments: int) -> "FrozenSegments":
        """Return the slice that `state` describes. Copies nothing."""
        pieces = [Rows.of_state(each) for each in fields.listed(state["pieces"])]
        summary = SegmentsSummary.of_state(state["summary"])
        return FrozenSegments(pieces, summary, segments=segments, span=span_of_state(state["span"]))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return {
            "pieces": [piece.state() for piece in self._pieces],
            "summary": self._summary.state(),
            "span": span_state(self._span),
        }

    def settle(self) -> bool:
        """Compress one piece; return whether more uncompressed pieces are left. Cost: at most 8 ms."""
        if self._raw:
            index = self._raw.pop()
            self._pieces[index] = self._pieces[index].sealed()
        return bool(self._raw)

    def read(self, span: Span, arguments: Listing) -> tuple[Piece, ...]:
        """Return the pieces that overlap `span`, still compressed. A frozen slice has no pending batch. Cost: O(pieces)."""
        if arguments.pending:
            return ()
        return tuple(piece for piece in self._pieces if piece.span.overlaps(span))

    def meta(self) -> Meta:
        """Describe the slice. No time is final: a later slice may still finish a batch with a smaller id."""
        return Meta(
            span=self._span,
            events=self._segments * self._summary.finished,
            nbytes=sum(piece.nbytes + PIECE_BYTES for piece in self._pieces),
            dead_bytes=0,
            final_until=None,
            summary=self._summary,
        )
