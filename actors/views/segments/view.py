"""The view `segments`: decode, open, merge, publish and render, behind the contract that the actors know."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actors.columns.snapshot import State
from actors.timeline.span import Span
from actors.views.segments.carry import SegmentsCarry
from actors.views.segments.decode import SegmentDecoder
from actors.views.segments.frozen import FrozenSegments, SegmentsSummary
from actors.views.segments.listing import Listing
from actors.views.segments.render import columns, fields, write
from actors.views.segments.runs.merging import lines
from actors.views.segments.runs.rows import Piece
from actors.views.segments.runs.spool import Spool
from actors.views.segments.slices import LiveSegments
from actors.views.view import Column, Decoded, Due, Field, Meta, Records


class SegmentsView:
    """Batches of `segments` sorted segments, each published as one sorted line when its last segment has come.

    The time of an event is its batch id. A slice lists about `max_batches` batches, and holds `spill_bytes` of what waits
    before it uses the `spool`.
    """

    def __init__(self, *, segments: int = 10, max_batches: int = 100_000, spool: Spool, spill_bytes: int = 32 << 20) -> None:
        self._segments = segments
        self._max_batches = max_batches
        self._spool = spool
        self._spill_bytes = spill_bytes
        self._decoder = SegmentDecoder(segments, spool)

    @property
    def categories(self) -> int:
        """None: segments are taken as they come."""
        return 0

    def decode(self, records: Records) -> Decoded:
        """Read a whole poll."""
        return self._decoder.decode(records)

    def open(self, carry: SegmentsCarry | None) -> LiveSegments:
        """Start a live slice with what its predecessor left."""
        return LiveSegments(
            segments=self._segments,
            max_batches=self._max_batches,
            spool=self._spool,
            spill_bytes=self._spill_bytes,
            carry=carry,
        )

    def revive(self, state: State) -> LiveSegments:
        """Return the live slice of which `state` was taken, on the spool of this view.

        Raises OSError when that has no room.
        """
        return LiveSegments.of_state(
            state,
            segments=self._segments,
            max_batches=self._max_batches,
            spool=self._spool,
            spill_bytes=self._spill_bytes,
        )

    def thaw(self, state: State) -> FrozenSegments:
        """Return the frozen slice of which `state` was taken."""
        return FrozenSegments.of_state(state, segments=self._segments)

    def summary(self, state: State) -> SegmentsSummary:
        """Return the summary of which `state` was taken."""
        return SegmentsSummary.of_state(state)

    def nothing(self) -> SegmentsSummary:
        """Return the summary of no slice."""
        return SegmentsSummary()

    def select(self, metas: Sequence[Meta], span: Span, arguments: Listing) -> list[int]:  # noqa: ARG002  # the contract's
        """Return the slices that overlap `span`: which epoch is the newest in the answer, only their rows tell."""
        return [index for index, meta in enumerate(metas) if meta.span is not None and meta.span.overlaps(span)]

    def merge(self, partials: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Join partial answers; order does not matter, as rendering sorts."""
        return tuple(piece for partial in partials for piece in partial)

    def recall(self, gone: SegmentsSummary, span: Span, arguments: Listing) -> tuple[Piece, ...]:  # noqa: ARG002  # the contract's
        """Return nothing: of dropped batches only the counts are known."""
        return ()

    def publish(self, partial: tuple[Any, ...], due: Due) -> Iterator[bytes]:  # noqa: ARG002  # the contract's
        """Write the line of each batch that is due. Alike each time it is called. Opens one piece of each run at a time."""
        return lines(partial)

    def render(
        self, partial: tuple[Piece, ...], span: Span, arguments: Listing, form: str, members: Mapping[str, object]
    ) -> Iterator[bytes]:
        """Write batches as `{"segments":[…]}`, or `{"pending":[…]}`, then `members`; or a batch a line."""
        return write(partial, span, arguments, form, members)

    def fields(self, arguments: Listing) -> tuple[Field, ...]:
        """Return what is said of a finished batch, or of a pending one."""
        return fields(arguments)

    def columns(self, partial: tuple[Piece, ...], span: Span, arguments: Listing) -> Iterator[Mapping[str, Column]]:
        """Yield batches as `render` orders them, and at its cost."""
        return columns(partial, span, arguments)

    def describe(self, before: SegmentsSummary, meta: Meta) -> dict[str, object]:  # noqa: ARG002  # the contract's
        """Return a slice's row of the stats: batches, numbers in the finished ones, and bytes of the others on disk."""
        own: SegmentsSummary = meta.summary
        return {
            "finished": own.finished,
            "pending": own.pending,
            "numbers": own.numbers,
            "spilledBytes": own.spilled_bytes,
        }
