"""The view `uniques`: implements the contract of `actors.views.view`."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from actors.columns.snapshot import State
from actors.records.form import Form
from actors.timeline.grid import Grid
from actors.timeline.periods import Periods
from actors.timeline.span import Span
from actors.views.uniques.agenda import Agenda
from actors.views.uniques.arguments import GRANULARITIES, Figures, Rows
from actors.views.uniques.cells import Ladder
from actors.views.uniques.decode import RecordDecoder, decode
from actors.views.uniques.live import LiveUniques
from actors.views.uniques.piece import Piece
from actors.views.uniques.render import SHAPE, SUMMARY, blocks, figures, lines
from actors.views.uniques.slices import FrozenUniques, UniquesSummary, selected
from actors.views.view import Block, Decoded, Due, Meta, Records, Shape, View

_MINUTE_S = 60


class UniquesTotal(msgspec.Struct, frozen=True, rename="camel"):
    """Periods of all collectors."""

    cells: Annotated[int, msgspec.Meta(description="Periods of any length.")]
    hashes: Annotated[int, msgspec.Meta(description="Users held in all of them.")]
    frames: Annotated[int, msgspec.Meta(description="Frames counted.")]


class UniquesView(View):
    """Unique users by period of the time zone `zone`, of the lengths `granularities`. Times are ms since 1970.

    A slice is full with about `max_cells` periods of all lengths, or `max_hashes` users in all of them. A period with more than
    `exact_users` users in one slice is estimated.
    Records may have the form `record`, with the roles user and time. Raises the errors of `Periods`.
    """

    answers = "frames"
    counts = UniquesTotal
    summarised = SUMMARY

    def __init__(
        self,
        *,
        zone: str = "UTC",
        granularities: Sequence[str] = GRANULARITIES,
        max_cells: int = 50_000,
        max_hashes: int = 2_000_000,
        exact_users: int = 1_000_000,
        record: Form | None = None,
    ) -> None:
        self._decode = decode if record is None else RecordDecoder(record).decode
        self.periods = Periods(zone)
        self._ladder = Ladder.of(granularities)
        self._max_cells = max_cells
        self._max_hashes = max_hashes
        self._exact_users = exact_users

    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll."""
        return self._decode(records)

    def open(self, carry: Agenda | None) -> LiveUniques:
        """Start a live slice with the agenda of its predecessor."""
        return LiveUniques(
            periods=self.periods,
            max_cells=self._max_cells,
            max_hashes=self._max_hashes,
            exact_users=self._exact_users,
            ladder=self._ladder,
            agenda=carry,
        )

    def revive(self, state: State) -> LiveUniques:
        """Return the live slice that `state` describes."""
        return LiveUniques.of_state(
            state,
            periods=self.periods,
            max_cells=self._max_cells,
            max_hashes=self._max_hashes,
            exact_users=self._exact_users,
            ladder=self._ladder,
        )

    def thaw(self, state: State) -> FrozenUniques:
        """Return the frozen slice that `state` describes."""
        return FrozenUniques.of_state(state)

    def summary(self, state: State) -> UniquesSummary:
        """Return the summary that `state` describes."""
        return UniquesSummary.of_state(state)

    def nothing(self) -> UniquesSummary:
        """Return the summary of no slice."""
        return UniquesSummary(0, 0, 0)

    def select(self, metas: Sequence[Meta], span: Span, arguments: Rows) -> list[int]:
        """Return the slices that may have a selected period. A period may begin long before the first minute of the slice.

        Cost: about 20 us a slice and level.
        """
        wanted = {level: arguments.wanted_of(level) for level in arguments.levels()}
        chosen = []
        for index, meta in enumerate(metas):
            for level, starts in wanted.items() if meta.span is not None else ():
                assert meta.span is not None, "the loop skips empty slices"
                first, last = self.periods.starts(level, meta.span)
                if arguments.wanted is None:
                    asked = span.start <= last and first < span.end
                else:
                    asked = bool(((first <= starts) & (starts <= last)).any())
                if asked:
                    chosen.append(index)
                    break
        return chosen

    def weigh(self, metas: Sequence[Meta], arguments: Rows) -> int:  # noqa: ARG002  # the contract's
        """Return the bytes of the hashes as they are read, and of their union."""
        return 2 * sum(meta.nbytes for meta in metas)

    def recall(self, gone: UniquesSummary, span: Span, arguments: Rows) -> tuple[Piece, ...]:
        """Return the selected months and years of dropped slices. Shorter periods are lost."""
        return selected(gone.long, span, arguments)

    def publish(self, partial: tuple[Piece, ...], due: Due) -> Iterator[bytes]:
        """Write the rows that are due, one a line, in the order of `due`."""
        return lines(partial, due.arguments, self.periods)

    def shape(self, arguments: Rows) -> Shape:
        """Return the shape of a period, or of a bucket."""
        return SUMMARY if isinstance(arguments, Figures) else SHAPE

    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Figures | None:  # noqa: ARG003
        """Return the arguments of a query for the users of each bucket; None if the stream does not keep minutes.

        Raises ValueError for a bucket that is not made of whole minutes.
        """
        if lengths and "minute" not in lengths:
            return None
        if by is not None and by.seconds % _MINUTE_S:
            raise ValueError("whole minutes, such as 1m, 5m, 1h or 1d")
        return Figures("minute", by=by, most=most)

    def blocks(
        self,
        partial: tuple[Piece, ...],
        span: Span,
        arguments: Rows,
    ) -> Iterator[Block]:
        """Yield periods by start. Times are seconds since 1970; `following` is the start of the first period left out."""
        if isinstance(arguments, Figures):
            return figures(partial, span, arguments, self.periods)
        return blocks(partial, arguments, self.periods)

    def describe(self, before: UniquesSummary, meta: Meta) -> UniquesTotal:  # noqa: ARG002  # the contract gives it
        """Return the counts of a slice."""
        own: UniquesSummary = meta.summary
        return UniquesTotal(own.cells, own.hashes, own.frames)
