"""The view `sets`, as the contract of `actors/views/view.py` defines it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import msgspec
from typing_extensions import override

from actors.columns.snapshot import State
from actors.records.form import Form
from actors.timeline.batch import Batch
from actors.timeline.grid import Grid
from actors.timeline.span import Span
from actors.views.sets.arguments import Buckets, Explain, Numbers, Page
from actors.views.sets.bound import Proof, identity
from actors.views.sets.decode import DecodedSets, SetDecoder
from actors.views.sets.explain.told import explained, shape_of
from actors.views.sets.histogram import counted
from actors.views.sets.numbers import MOST_STEPS, SHAPE, forget, numbers
from actors.views.sets.numbers import weigh as weigh_numbers
from actors.views.sets.pieces import Piece
from actors.views.sets.records import RecordDecoder
from actors.views.sets.render import page, template
from actors.views.sets.slices import MOST_OPEN_SETS, FrozenSets, LiveSets, SetCarry, SetSummary
from actors.views.sets.within.slices import TimedCarry, TimedSets
from actors.views.view import Block, Decoded, Field, Meta, Records, Shape, View

_SHORT_SETS = 1_024
"""A page of at most this many sets is written at once, so no piece is open while it is sent."""

_OPENED_SETS = 32_768
"""The most sets that are decompressed at once for writing: the current piece, and the rest of the piece before it."""

_TIME_BYTES = 8

_COUNTS = Shape("buckets", (Field("start"), Field("count")))


class SetsTotal(msgspec.Struct, frozen=True, rename="camel"):
    """Sets of all collectors, since the start."""

    valid_set_count: Annotated[int, msgspec.Meta(description="Complete sets.")]
    out_of_order_messages_count: Annotated[int, msgspec.Meta(description="Events that wait for a match.")]
    set_size: Annotated[int, msgspec.Meta(description="Complete sets.")]
    bound: Annotated[int, msgspec.Meta(description="The proven maximum of sets (min-cut): no choice of sets has more.")]
    waiting_by_step: Annotated[
        dict[str, int], msgspec.Meta(description="Events that wait for a match, by their step; empty if the slice is aged.")
    ]


class SetsView(View):
    """Sets of one event of each of `steps`, with ascending times. A slice has at most `max_sets` sets.

    The last event of a set is at most `within` after the first one, in the unit of the times; None: any time after it.
    Records are `STEP_TIME`, or have the form `record` with the roles step and time.
    """

    answers = "sets"
    counts = SetsTotal
    summarised = SHAPE

    def __init__(self, *, steps: Sequence[str], max_sets: int, within: int | None = None, record: Form | None = None) -> None:
        self.steps = tuple(steps)
        self.categories = len(self.steps)
        self._max_sets = max_sets
        self._within = within
        self._decode = _of_text(steps) if record is None else RecordDecoder(steps, record).decode
        self._explained = shape_of(steps)
        self._shape = Shape("sets", tuple(Field(step.lower()) for step in steps), template(steps))

    @override
    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll to one column of times per step."""
        times, masks, accepted, refusals = self._decode(records)
        columns = tuple(times[mask] for mask in masks)
        return Decoded(times, Batch(columns), accepted, refusals)

    @override
    def open(self, carry: SetCarry | None) -> LiveSets:
        if self._within is None:
            return LiveSets(steps=len(self.steps), max_sets=self._max_sets, carry=carry)
        assert carry is None or isinstance(carry, TimedCarry), "slices of a view are of one kind"
        return TimedSets(steps=len(self.steps), max_sets=self._max_sets, within=self._within, carry=carry)

    @override
    def revive(self, state: State) -> LiveSets:
        if len(state["steps"]) != len(self.steps):
            raise ValueError(f"{len(self.steps)} steps were expected, got {len(state['steps'])}")
        if ("queue" in state) != (self._within is not None):
            raise ValueError("a slice of sets was expected with a limit, or without one, as the settings have it")
        if self._within is None:
            return LiveSets.of_state(state, max_sets=self._max_sets)
        return TimedSets.of(state, max_sets=self._max_sets, within=self._within)

    @override
    def thaw(self, state: State) -> FrozenSets:
        return FrozenSets.of_state(state)

    @override
    def summary(self, state: State) -> SetSummary:
        return SetSummary.of_state(state)

    @override
    def nothing(self) -> SetSummary:
        return SetSummary(0, 0, Proof(identity(len(self.steps))), None if self._within is None else 0, 0)

    @override
    def select(self, metas: Sequence[Meta], span: Span, arguments: Page) -> list[int]:
        """Return the slices that overlap `span`, earliest first; for a limited page, only as many as surely fill it.

        For an explanation, those that may have a set with the event.
        """
        if isinstance(arguments, Explain):
            return [index for index, meta in enumerate(metas) if _may_have(meta, arguments)]
        wanted = arguments.rest(span)
        ordered = [
            (meta.span, index, meta.summary.sets)
            for index, meta in enumerate(metas)
            if meta.span is not None and meta.span.overlaps(wanted)
        ]
        ordered.sort(key=lambda entry: (entry[0].start, entry[1]))
        chosen: list[int] = []
        sure, reach = 0, wanted.start
        for own, index, sets in ordered:
            if arguments.needed is not None and sure >= arguments.needed and own.start >= reach:
                break
            chosen.append(index)
            if own.start > wanted.start and own.end <= span.end:
                sure += sets
                reach = max(reach, own.end)
        return chosen

    @override
    def weigh(self, metas: Sequence[Meta], arguments: Page) -> int:
        """Return the bytes of a page: sets of the live slice are copied; if the page is not short, pieces are open too."""
        if isinstance(arguments, Explain):
            return _TIME_BYTES * len(self.steps) * _OPENED_SETS
        if isinstance(arguments, Numbers):
            return weigh_numbers(sum(meta.summary.sets for meta in metas), len(self.steps))
        copied = MOST_OPEN_SETS if arguments.needed is None else min(arguments.needed, MOST_OPEN_SETS)
        opened = _OPENED_SETS if copied > _SHORT_SETS else 0
        return _TIME_BYTES * len(self.steps) * (copied + opened)

    @override
    def shape(self, arguments: Page) -> Shape:
        """Return a time for each step; JSON has an event for each. Buckets have a start and a count, a summary has figures."""
        if isinstance(arguments, Numbers):
            return SHAPE
        if isinstance(arguments, Explain):
            return self._explained
        return _COUNTS if isinstance(arguments, Buckets) else self._shape

    @override
    def blocks(self, partial: tuple[Piece, ...], span: Span, arguments: Page) -> Iterator[Block]:
        """Yield the times of sets; `following` is a `Cursor`. Cost: opening the pieces, about 8 ns a time."""
        if isinstance(arguments, Explain):
            return explained(partial, arguments, self.steps, self._within)
        if isinstance(arguments, Numbers):
            return numbers(partial, [step.lower() for step in self.steps], span, arguments)
        if isinstance(arguments, Buckets):
            return counted(partial, span, arguments.width)
        return page(partial, span, arguments)

    @override
    @classmethod
    def buckets(cls, width: int) -> Buckets:
        """Return the arguments of a query for the number of sets in each bucket, by their first time."""
        return Buckets(width=width)

    @override
    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Numbers:
        """Return the arguments of a query for how many sets there are, and how long they took, in each bucket."""
        return Numbers(by=by, per_s=per_s, most=max(1, most // MOST_STEPS))

    @override
    @classmethod
    def forget(cls) -> None:
        """Free the columns that summaries keep: up to 32 MB for sets of three steps."""
        forget()

    @override
    def describe(self, before: SetSummary, meta: Meta) -> SetsTotal:
        """Return the counts of a slice. Its bound is the increase over the bound of all earlier slices."""
        own: SetSummary = meta.summary
        waiting = dict(zip(self.steps, own.waiting, strict=True)) if own.waiting else {}
        return SetsTotal(own.sets, own.residue, own.sets, before.then(own).bound - before.bound, waiting)


def _may_have(meta: Meta, wanted: Explain) -> bool:
    """Return whether a slice may have a set with the event."""
    until = meta.summary.until
    return meta.span is not None and meta.span.start <= wanted.time and (until is None or wanted.time < until)


def _of_text(steps: Sequence[str]) -> Callable[[Records], DecodedSets]:
    """Return the decoder of records such as `R_1685695916000`."""
    decoder = SetDecoder(steps)
    return lambda records: decoder.decode(records.values)
