"""The view `segments`: implements the contract of `actors.views.view`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import msgspec

from actors.columns.snapshot import State
from actors.records.form import Form
from actors.timeline.grid import Grid
from actors.timeline.span import Span
from actors.views.segments.arguments import Figures, Listing
from actors.views.segments.carry import SegmentsCarry
from actors.views.segments.decode import SegmentDecoder
from actors.views.segments.frozen import FrozenSegments, SegmentsSummary
from actors.views.segments.records import RecordDecoder
from actors.views.segments.render import FINISHED, PENDING, SUMMARY, blocks, figures
from actors.views.segments.runs.merging import lines
from actors.views.segments.runs.rows import Piece
from actors.views.segments.runs.spool import Spool
from actors.views.segments.slices import LiveSegments
from actors.views.view import Block, Decoded, Due, Meta, Records, Shape, View

_OPEN_ROWS = 65_536
"""Finished batches of a slice that a listing has open at once."""

_ROW_BYTES = 64


class SegmentsTotal(msgspec.Struct, frozen=True, rename="camel"):
    """Batches of all collectors."""

    finished: Annotated[int, msgspec.Meta(description="Finished batches.")]
    pending: Annotated[int, msgspec.Meta(description="Batches that wait for a segment.")]
    numbers: Annotated[int, msgspec.Meta(description="Numbers in finished batches.")]
    spilled_bytes: Annotated[int, msgspec.Meta(description="Bytes of pending segments in the temporary file.")]


class SegmentsView(View):
    """Batches of `segments` sorted segments. A batch is published as one sorted line when its last segment arrives.

    The time of an event is its batch id. A slice has about `max_batches` finished batches. Pending batches that take more than
    `spill_bytes` are moved to the `spool`. Records may have the form `record`, with the roles batch, segment and data.
    """

    answers = "finished"
    counts = SegmentsTotal
    timed = False
    summarised = SUMMARY

    def __init__(
        self,
        *,
        segments: int = 10,
        max_batches: int = 100_000,
        spool: Spool,
        spill_bytes: int = 32 << 20,
        record: Form | None = None,
    ) -> None:
        self._segments = segments
        self._max_batches = max_batches
        self._spool = spool
        self._spill_bytes = spill_bytes
        own = SegmentDecoder(segments, spool) if record is None else RecordDecoder(record, segments, spool)
        self._decode: Callable[[Records], Decoded] = own.decode

    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll."""
        return self._decode(records)

    def open(self, carry: SegmentsCarry | None) -> LiveSegments:
        """Start a live slice with the carry of its predecessor."""
        return LiveSegments(
            segments=self._segments,
            max_batches=self._max_batches,
            spool=self._spool,
            spill_bytes=self._spill_bytes,
            carry=carry,
        )

    def revive(self, state: State) -> LiveSegments:
        """Return the live slice that `state` describes. Its spooled pieces are written to the spool of this view.

        Raises OSError if the spool has no room.
        """
        return LiveSegments.of_state(
            state,
            segments=self._segments,
            max_batches=self._max_batches,
            spool=self._spool,
            spill_bytes=self._spill_bytes,
        )

    def thaw(self, state: State) -> FrozenSegments:
        """Return the frozen slice that `state` describes."""
        return FrozenSegments.of_state(state, segments=self._segments)

    def summary(self, state: State) -> SegmentsSummary:
        """Return the summary that `state` describes."""
        return SegmentsSummary.of_state(state)

    def nothing(self) -> SegmentsSummary:
        """Return the summary of no slice."""
        return SegmentsSummary()

    def weigh(self, metas: Sequence[Meta], arguments: Listing) -> int:
        """Return the bytes of a listing: pending batches are copied, and finished ones are opened a piece at a time."""
        own: list[SegmentsSummary] = [meta.summary for meta in metas]
        if isinstance(arguments, Figures):
            return _ROW_BYTES * sum(each.finished for each in own)
        return _ROW_BYTES * sum(each.pending + min(each.finished, _OPEN_ROWS) for each in own)

    def publish(self, partial: tuple[Any, ...], due: Due) -> Iterator[bytes]:  # noqa: ARG002  # the contract's
        """Write the line of each completed batch: the same bytes at each call. Opens one piece of each run at a time."""
        return lines(partial)

    def shape(self, arguments: Listing) -> Shape:
        """Return the shape of finished or of pending batches."""
        if isinstance(arguments, Figures):
            return SUMMARY
        return PENDING if arguments.pending else FINISHED

    def blocks(self, partial: tuple[Piece, ...], span: Span, arguments: Listing) -> Iterator[Block]:
        """Yield batches by epoch and id."""
        return figures(partial, span) if isinstance(arguments, Figures) else blocks(partial, span, arguments)

    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Figures:  # noqa: ARG003
        """Return the arguments of a query for the number of batches and of their numbers, by epoch."""
        return Figures()

    def describe(self, before: SegmentsSummary, meta: Meta) -> SegmentsTotal:  # noqa: ARG002  # the contract's
        """Return the counts of a slice."""
        own: SegmentsSummary = meta.summary
        return SegmentsTotal(own.finished, own.pending, own.numbers, own.spilled_bytes)
