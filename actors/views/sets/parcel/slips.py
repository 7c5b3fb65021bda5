"""The slices of a matcher: its frozen ones have names, by which shelves know them, and may be given away.

A generation that is given away leaves a slip: its span, its number of sets and its proof stay, its sets do not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Protocol

from typing_extensions import override

from actors.columns.fields import integer
from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX
from actors.timeline.span import Span
from actors.views.sets.arguments import Explain, Page
from actors.views.sets.explain.told import Told
from actors.views.sets.pieces import Piece
from actors.views.sets.slices import FrozenSets, SetSummary
from actors.views.sets.view import SetsView
from actors.views.view import Block, Decoded, Due, Frozen, Live, Meta, Records, Shape, Silence, View

STUB_BYTES = 4_096
"""Memory of a generation that was given away: its collector and its description."""


class Shelved(Protocol):
    """What is in the topic of the shelves. Any thread may ask."""

    def place_of(self, name: str) -> int | None:
        """Return the offset at which the record of a generation ends, by its name; None if it is not there."""


@dataclass(frozen=True, slots=True)
class Slip:
    """Stands for the generation `name` that a shelf has. It is number `number`, and its record ends at the offset `at`.

    It has `count` sets, whose first times are in `span`; all their times are before `until`, if that is known.
    """

    name: str
    number: int
    at: int
    span: Span
    count: int
    until: int | None

    def row(self) -> tuple[str, int, int, int, int, int, int | None]:
        """Return the slip as plain values."""
        return self.name, self.number, self.at, self.span.start, self.span.end, self.count, self.until

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Slip":
        """Return the slip of plain values. Raises ValueError or TypeError."""
        name, number, at, start, end, count, until = row
        high = INT64_MAX + 1
        return cls(
            str(name),
            integer(number),
            integer(at),
            Span(integer(start), integer(end, high=high)),
            integer(count, 1),
            None if until is None else integer(until, high=high),
        )


@dataclass(frozen=True, slots=True)
class Away(Page):
    """A question for the slips of a span, and for nothing else."""


class NamedSets(FrozenSets):
    """The complete sets of a retired slice, or once they are given away, their slip."""

    def __init__(self, name: str, number: int, sets: FrozenSets, *, shelved: Shelved, slip: Slip | None = None) -> None:
        super().__init__(sets._pieces, sets._proof, sets._behind)  # noqa: SLF001  # of the same class
        self.name = name
        self.number = number
        self._shelved = shelved
        self._slip = slip

    @classmethod
    def of(cls, state: State, shelved: Shelved) -> "NamedSets":
        """Restore a slice from its `state`; copies nothing."""
        slip = None if state["slip"] is None else Slip.of(state["slip"])
        return cls(str(state["name"]), integer(state["number"]), FrozenSets.of_state(state), shelved=shelved, slip=slip)

    @override
    def state(self) -> State:
        slip = None if self._slip is None else self._slip.row()
        return {**super().state(), "name": self.name, "number": self.number, "slip": slip}

    @override
    def coarsen(self) -> None:
        """Give the sets away if a shelf can have them."""
        at, meta = self._shelved.place_of(self.name), super().meta()
        if self._slip is None and at is not None and meta.span is not None:
            summary: SetSummary = meta.summary
            self._slip = Slip(self.name, self.number, at, meta.span, summary.sets, summary.until)
            self._pieces = []

    @override
    def read(self, span: Span, arguments: Page) -> tuple[Any, ...]:
        """Return the pieces that overlap `span`, or the slip if some may."""
        if self._slip is None:
            return () if isinstance(arguments, Away) else super().read(span, arguments)
        slip = self._slip
        if isinstance(arguments, Explain):
            wanted = slip.span.start <= arguments.time and (slip.until is None or arguments.time < slip.until)
        else:
            wanted = slip.span.overlaps(arguments.rest(span))
        return (slip,) if wanted else ()

    @override
    def meta(self) -> Meta:
        slip = self._slip
        if slip is None:
            return super().meta()
        events = slip.count * len(self._proof.matrix)
        summary = SetSummary(slip.count, 0, self._proof, self._behind, slip.until)
        return Meta(slip.span, events, STUB_BYTES, 0, slip.span.end, summary)


class NumberedSets(Live):
    """A live slice whose successor's number is one more. The rest is as the slice `inner` has it."""

    def __init__(self, inner: Live, number: int, shelved: Shelved) -> None:
        self._inner = inner
        self._number = number
        self._shelved = shelved

    @override
    def add(self, batch: Any, watermark: int | None) -> Mapping[str, int]:
        return self._inner.add(batch, watermark)

    @override
    def close(self, watermark: int | None, silence: Silence | None) -> Due | None:
        return self._inner.close(watermark, silence)

    @property
    def due_at(self) -> int | None:
        """See the base."""
        return self._inner.due_at

    @property
    def full(self) -> bool:
        """See the base."""
        return self._inner.full

    @override
    def read(self, span: Span, arguments: Page) -> tuple[Piece | Told, ...]:
        found: tuple[Piece | Told, ...] = () if isinstance(arguments, Away) else self._inner.read(span, arguments)
        return found

    @override
    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        return self._inner.shed(nbytes)

    @override
    def freeze(self) -> tuple[Frozen, Any]:
        """Return the complete sets under a name that no other generation ever has."""
        frozen, carry = self._inner.freeze()
        assert isinstance(frozen, FrozenSets), "slices of sets freeze to such ones"
        name = f"{self._number}-{token_hex(8)}"
        return NamedSets(name, self._number, frozen, shelved=self._shelved), (self._number + 1, carry)

    @override
    def meta(self) -> Meta:
        return self._inner.meta()

    @override
    def state(self) -> State:
        return {"number": self._number, "live": self._inner.state()}


class MatcherSets(View):
    """The view `sets` for the shard that matches. Its manager asks `shelved` too, by files."""

    answers = SetsView.answers
    counts = SetsView.counts
    summarised = SetsView.summarised

    def __init__(self, view: SetsView, shelved: Shelved) -> None:
        self._view = view
        self.shelved = shelved
        self.categories = view.categories

    @override
    def decode(self, records: Records) -> Decoded:
        return self._view.decode(records)

    @override
    def open(self, carry: tuple[int, Any] | None) -> NumberedSets:
        number, inner = (0, None) if carry is None else carry
        return NumberedSets(self._view.open(inner), number, self.shelved)

    @override
    def revive(self, state: State) -> NumberedSets:
        return NumberedSets(self._view.revive(state["live"]), integer(state["number"]), self.shelved)

    @override
    def thaw(self, state: State) -> NamedSets:
        return NamedSets.of(state, self.shelved)

    @override
    def summary(self, state: State) -> SetSummary:
        return self._view.summary(state)

    @override
    def nothing(self) -> SetSummary:
        return self._view.nothing()

    @override
    def select(self, metas: Sequence[Meta], span: Span, arguments: Any) -> list[int]:
        return self._view.select(metas, span, arguments)

    @override
    def weigh(self, metas: Sequence[Meta], arguments: Any) -> int:
        return self._view.weigh(metas, arguments)

    @override
    def shape(self, arguments: Any) -> Shape:
        return self._view.shape(arguments)

    @override
    def blocks(self, partial: Any, span: Span, arguments: Any) -> Iterator[Block]:
        return self._view.blocks(partial, span, arguments)

    @override
    def describe(self, before: Any, meta: Meta) -> Any:
        return self._view.describe(before, meta)


def matcher(view: View, shelved: Shelved) -> View:
    """Return the view for the slices of the matcher."""
    assert isinstance(view, SetsView), "the module is that of this view"
    return MatcherSets(view, shelved)
