"""The view `sets`, as the contract of `actors/views/view.py` defines it."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from typing_extensions import override

from actors.columns.snapshot import State
from actors.timeline.batch import Batch
from actors.timeline.span import Span
from actors.views.sets.bound import Proof, identity
from actors.views.sets.decode import SetDecoder
from actors.views.sets.page import Page
from actors.views.sets.pieces import Piece, Rows
from actors.views.sets.render import page, template, write
from actors.views.sets.slices import FrozenSets, LiveSets, SetCarry, SetSummary
from actors.views.view import Column, Decoded, Field, Meta, Records, View


class SetsView(View):
    """Sets of one event of each of `steps`, with ascending times. A slice has at most `max_sets` sets."""

    def __init__(self, *, steps: Sequence[str], max_sets: int) -> None:
        self.steps = tuple(steps)
        self.categories = len(self.steps)
        self._max_sets = max_sets
        self._decoder = SetDecoder(steps)
        self._form = template(steps)
        self._fields = tuple(Field(step.lower()) for step in steps)

    @override
    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll to one column of times per step."""
        times, categories, accepted, refusals = self._decoder.decode(records.values)
        columns = tuple(times[categories == step] for step in range(len(self.steps)))
        return Decoded(times, Batch(columns), accepted, refusals)

    @override
    def open(self, carry: SetCarry | None) -> LiveSets:
        return LiveSets(steps=len(self.steps), max_sets=self._max_sets, carry=carry)

    @override
    def revive(self, state: State) -> LiveSets:
        if len(state["steps"]) != len(self.steps):
            raise ValueError(f"{len(self.steps)} steps were expected, got {len(state['steps'])}")
        return LiveSets.of_state(state, max_sets=self._max_sets)

    @override
    def thaw(self, state: State) -> FrozenSets:
        return FrozenSets.of_state(state)

    @override
    def summary(self, state: State) -> SetSummary:
        return SetSummary.of_state(state)

    @override
    def nothing(self) -> SetSummary:
        return SetSummary(0, 0, Proof(identity(len(self.steps))))

    @override
    def select(self, metas: Sequence[Meta], span: Span, arguments: Page) -> list[int]:
        """Return the slices that overlap `span`, earliest first; for a limited page, only as many as surely fill it."""
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
    def render(
        self, partial: tuple[Piece, ...], span: Span, arguments: Page, form: str, members: Mapping[str, object]
    ) -> Iterator[bytes]:
        """Write sets as `{"sets":[…]}`, with `next` if there is another page, then `members`; or one set a line."""
        if form == "ndjson":
            for block, _ in page(partial, span, arguments):
                yield write(block, self._form + b"\n")
            return
        lead = b'{"sets":['
        end = dict(members)
        for block, following in page(partial, span, arguments):
            if block[0].size:
                yield lead + write(block, self._form + b",")[:-1]
                lead = b","
            if following is not None:
                end = {"next": str(following), **members}
        opening = b"" if lead == b"," else lead
        yield opening + b"]" + (b"," if end else b"") + msgspec.json.encode(end)[1:]

    @override
    def fields(self, arguments: Page | None = None) -> tuple[Field, ...]:
        return self._fields

    @override
    def columns(self, partial: tuple[Piece, ...], span: Span, arguments: Page) -> Iterator[Mapping[str, Column]]:
        """Yield the times of sets, block by block. Cost: decompression, about 8 ns a time."""
        return (self.named(block) for block, _ in page(partial, span, arguments))

    def named(self, block: Rows) -> Mapping[str, Column]:
        """Return a block of `page` as columns by name."""
        return {field.name: column for field, column in zip(self._fields, block, strict=True)}

    @override
    def describe(self, before: SetSummary, meta: Meta) -> dict[str, object]:
        """Return a slice's row of the stats. Its bound is the increase over the bound of all earlier slices."""
        own: SetSummary = meta.summary
        return {
            "validSetCount": own.sets,
            "outOfOrderMessagesCount": own.residue,
            "setSize": own.sets,
            "bound": before.then(own).proof.bound - before.proof.bound,
        }
