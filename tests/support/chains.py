"""Slices of sets: a live one, and those that were frozen before it."""

from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views.sets.arguments import Page
from actors.views.sets.render import rows
from actors.views.sets.slices import FrozenSets, LiveSets
from actors.views.sets.view import SetsView


def sets_of(parts: list, span: Span = EVER) -> list[tuple[int, ...]]:
    pieces = tuple(piece for part in parts for piece in part)
    return [tuple(map(int, each)) for block in rows(pieces, span, None) for each in zip(*block, strict=True)]


class Chain:
    """A live slice and the slices that were frozen before it."""

    def __init__(self, steps: int, max_sets: int, within: int | None = None) -> None:
        self.view = SetsView(steps=[chr(65 + number) for number in range(steps)], max_sets=max_sets, within=within)
        self.live: LiveSets = self.view.open(None)
        self.frozen: list[FrozenSets] = []

    def add(self, events: Batch, watermark: int | None) -> None:
        self.live.add(events, watermark)
        while self.live.full:
            before = sets_of([self.live.read(EVER, Page())])
            frozen, carry = self.live.freeze()
            assert sets_of([frozen.read(EVER, Page())]) == before
            while frozen.settle():
                assert sets_of([frozen.read(EVER, Page())]) == before
            assert sets_of([frozen.read(EVER, Page())]) == before
            self.frozen.append(frozen)
            self.live = self.view.open(carry)
        for column in (*self.live._steps, *self.live._dead):
            column._check()

    def sets(self, span: Span = EVER) -> list[tuple[int, ...]]:
        return sets_of([each.read(span, Page()) for each in (*self.frozen, self.live)], span)

    def events(self) -> int:
        return sum(each.meta().events for each in (*self.frozen, self.live))

    def bound(self) -> int:
        total = self.view.nothing()
        for each in (*self.frozen, self.live):
            total = total.then(each.meta().summary)
        return total.bound
