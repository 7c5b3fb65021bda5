"""The view `funnel`: implements the contract of `actors.views.view`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, assert_never

import msgspec

from actors.columns.snapshot import State
from actors.records.form import Form
from actors.timeline.grid import Grid
from actors.timeline.span import Span
from actors.views.funnel.arguments import Asked, Figures, Listing, Story, Totals
from actors.views.funnel.decode import RecordDecoder
from actors.views.funnel.figures import SHAPE, figures
from actors.views.funnel.lines import lines
from actors.views.funnel.pieces import PIECE_ROWS
from actors.views.funnel.render import sequences, story
from actors.views.funnel.slices import FrozenFunnel, FunnelCarry, FunnelSummary, LiveFunnel, Part
from actors.views.funnel.totals import Table, counts
from actors.views.view import Block, Decoded, Due, Field, Meta, Records, Shape, View

_TIME_BYTES = 8
_KEY_BYTES = 100
_OPEN_PIECES = 8

_STEP = (
    Field("step", "text"),
    *(Field(name) for name in ("reached", "open", "lapsed")),
    *(Field(name, "number", optional=True) for name in ("ofPrevious", "ofFirst", "p50", "p95", "max")),
)
_TOTALS = Shape("steps", _STEP)
_BY_PERIOD = Shape("steps", (Field("start"), *_STEP))
_STORY = Shape(
    "events",
    (
        Field("key", "key"),
        Field("time"),
        Field("step", "text"),
        Field("sequence", optional=True),
        Field("state", "text"),
        Field("reason", "text", optional=True),
    ),
)


class FunnelTotal(msgspec.Struct, frozen=True, rename="camel"):
    """Sequences of all collectors, since the start."""

    complete: Annotated[int, msgspec.Meta(description="Complete sequences that are final.")]
    lapsed: Annotated[int, msgspec.Meta(description="Sequences that lack a step for good.")]
    unmatched: Annotated[int, msgspec.Meta(description="Events that stand in no sequence for good.")]
    held: Annotated[int, msgspec.Meta(description="Events that are not final yet.")]


class FunnelView(View):
    """Sequences of one event of each of `steps` by key, in order, `within` a time in the `unit` of the stream.

    A name may be listed for several steps; in answers each step has its own one of the `labels`, by default the names.
    A slice is full with `max_sequences` final rows. Records have the form `record`, with the roles step and time, and the role
    key unless it is the key of the record.
    """

    answers = "complete"
    counts = FunnelTotal
    summarised = SHAPE

    def __init__(
        self,
        *,
        steps: Sequence[str],
        within: int,
        record: Form,
        labels: Sequence[str] | None = None,
        unit: str = "ms",
        max_sequences: int = 200_000,
    ) -> None:
        self._steps = tuple(labels or steps)
        self._pattern = tuple(map(list(steps).index, steps))
        self._within = within
        self._unit = unit
        self._max_sequences = max_sequences
        self._decoder = RecordDecoder(steps, record)
        times = (Field(step, optional=True, group="steps") for step in self._steps)
        self._listing = Shape(
            "sequences", (Field("key", "key"), Field("state", "text"), *times, Field("lapsesAt", optional=True))
        )

    @property
    def within(self) -> int:
        """The longest time of a sequence, in the unit of the stream."""
        return self._within

    @property
    def step_count(self) -> int:
        """The number of steps of a sequence."""
        return len(self._steps)

    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll."""
        return self._decoder.decode(records)

    def open(self, carry: FunnelCarry | None) -> LiveFunnel:
        """Start a live slice with the events that are not final."""
        return LiveFunnel(pattern=self._pattern, within=self._within, max_sequences=self._max_sequences, carry=carry)

    def revive(self, state: State) -> LiveFunnel:
        """Return the live slice that `state` describes."""
        return LiveFunnel.of_state(state, pattern=self._pattern, within=self._within, max_sequences=self._max_sequences)

    def thaw(self, state: State) -> FrozenFunnel:
        """Return the frozen slice that `state` describes."""
        return FrozenFunnel.of_state(state, steps=len(self._steps))

    def summary(self, state: State) -> FunnelSummary:
        """Return the summary that `state` describes."""
        return FunnelSummary.of_state(state)

    def nothing(self) -> FunnelSummary:
        """Return the summary of no slice."""
        return FunnelSummary()

    def weigh(self, metas: Sequence[Meta], arguments: Asked) -> int:
        """Return the bytes of the times between steps, or of the pieces that a listing has open at once."""
        own: list[FunnelSummary] = [meta.summary for meta in metas]
        count = sum(each.complete + each.lapsed + each.unmatched + each.held for each in own)
        row = _TIME_BYTES * (len(self._steps) + 2)
        match arguments:
            case Totals():
                return row * count
            case Figures():
                return 3 * row * count
            case Listing():
                return (row + _KEY_BYTES) * min(count, _OPEN_PIECES * PIECE_ROWS)
            case Story():
                return (row + _KEY_BYTES) * min(count, PIECE_ROWS)
            case _:
                assert_never(arguments)

    def publish(self, partial: tuple[Part, ...], due: Due) -> Iterator[bytes]:  # noqa: ARG002  # the contract's
        """Write the sequences that have become final, one a line. Events without a sequence are not written."""
        return lines(partial, self._steps, self._within)

    def shape(self, arguments: Asked) -> Shape:
        """Return the shape of a step, of a sequence, or of an event of a key."""
        match arguments:
            case Totals(by):
                return _TOTALS if by is None else _BY_PERIOD
            case Figures():
                return SHAPE
            case Listing():
                return self._listing
            case Story():
                return _STORY
            case _:
                assert_never(arguments)

    def blocks(self, partial: tuple[Part, ...], span: Span, arguments: Asked) -> Iterator[Block]:
        """Yield the rows of an answer. The parts have the span of the query."""
        match arguments:
            case Totals(by):
                return self._table(partial, arguments).rows(self._steps, by_period=by is not None)
            case Figures():
                return figures(partial, self._steps, span, arguments)
            case Listing():
                return sequences(partial, arguments, self._within)
            case Story(key):
                apart = len(set(self._pattern)) < len(self._pattern)
                return story(partial, key, self._steps, self._within, apart=apart)
            case _:
                assert_never(arguments)

    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Figures:  # noqa: ARG003
        """Return the arguments of a query for how many sequences reached each step, and how long it took, in each bucket."""
        return Figures(by, per_s, most)

    def remarks(self, partial: tuple[Part, ...], arguments: Asked) -> Mapping[str, Any]:
        """Return how many sequences are complete, open and lapsed."""
        return counts(partial, self._within) if isinstance(arguments, Totals) else {}

    def describe(self, before: FunnelSummary, meta: Meta) -> FunnelTotal:  # noqa: ARG002  # the contract's
        """Return the counts of a slice."""
        own: FunnelSummary = meta.summary
        return FunnelTotal(own.complete, own.lapsed, own.unmatched, own.held)

    def _table(self, partial: tuple[Part, ...], totals: Totals) -> Table:
        return Table(partial, totals, steps=len(self._steps), within=self._within, unit=self._unit)
