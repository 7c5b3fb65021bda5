"""The view `top`: decode, open, merge and render, behind the contract that the actors know."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from actors.columns.snapshot import State
from actors.columns.text import Text
from actors.columns.times import NO_TIMES, Times
from actors.timeline.span import Span
from actors.views.top.decode import decode
from actors.views.top.slices import FrozenTop, LiveTop, Ranked, Top, TopCarry, TopSummary
from actors.views.view import Column, Decoded, Due, Field, Meta, Records

_BLOCK = 4_096
"""Ids that are written at once."""

_FIELDS = (Field("id", "text"), Field("value"))


class TopView:
    """The ids with the largest values. Ids come and go in one live slice: nothing retires."""

    categories = 0

    def decode(self, records: Records) -> Decoded:
        """Read a whole poll."""
        return decode(records)

    def open(self, carry: TopCarry | None) -> LiveTop:
        """Start a live slice with everything that its predecessor had."""
        return LiveTop(carry)

    def revive(self, state: State) -> LiveTop:
        """Return the live slice of which `state` was taken."""
        return LiveTop.of_state(state)

    def thaw(self, state: State) -> FrozenTop:
        """Return the frozen slice of which `state` was taken."""
        return FrozenTop.of_state(state)

    def summary(self, state: State) -> TopSummary:
        """Return the summary of which `state` was taken."""
        return TopSummary.of_state(state)

    def nothing(self) -> TopSummary:
        """Return the summary of no slice."""
        return TopSummary(0, 0)

    def select(self, metas: Sequence[Meta], span: Span, arguments: Top) -> list[int]:  # noqa: ARG002  # the contract's
        """Return nothing: frozen slices are empty."""
        return []

    def merge(self, partials: Sequence[tuple[Ranked, ...]]) -> tuple[Ranked, ...]:
        """Join partial answers, which have no id in common."""
        return tuple(piece for partial in partials for piece in partial)

    def recall(self, gone: TopSummary, span: Span, arguments: Top) -> tuple[Ranked, ...]:  # noqa: ARG002
        """Return nothing: frozen slices hold no id."""
        return ()

    def publish(self, partial: tuple[Ranked, ...], due: Due) -> Iterator[bytes]:  # noqa: ARG002
        """Write nothing: the dataset is asked for."""
        return iter(())

    def render(
        self,
        partial: tuple[Ranked, ...],
        span: Span,  # noqa: ARG002  # the contract's
        arguments: Top,
        form: str,
        members: Mapping[str, object],
    ) -> Iterator[bytes]:
        """Write `{"data":["id",…]}` and `members`, largest value first, of equal ones the larger id by bytes; or an id a line.

        Cost: a sort of what was read before the first block, 0.3 us an id.
        """
        blocks = _blocks(partial, arguments.limit)
        if form == "ndjson":
            for names, _ in blocks:
                yield b"".join(msgspec.json.encode(name) + b"\n" for name in names)
            return
        lead = b'{"data":['
        for names, _ in blocks:
            yield lead + msgspec.json.encode(names)[1:-1]
            lead = b","
        yield (b"" if lead == b"," else lead) + b"]" + (b"," if members else b"") + msgspec.json.encode(members)[1:]

    def fields(self, arguments: Top) -> tuple[Field, ...]:  # noqa: ARG002
        """Return the id and its value."""
        return _FIELDS

    def columns(
        self,
        partial: tuple[Ranked, ...],
        span: Span,  # noqa: ARG002
        arguments: Top,
    ) -> Iterator[Mapping[str, Column]]:
        """Yield ids and values, as `render` ranks them, and at its cost."""
        return ({"id": names, "value": values} for names, values in _blocks(partial, arguments.limit))

    def describe(self, before: TopSummary, meta: Meta) -> dict[str, object]:  # noqa: ARG002
        """Return a slice's row of the stats."""
        own: TopSummary = meta.summary
        return {"ids": own.ids, "superseded": own.gone, "forgottenUpTo": own.lowest_forgotten}


def _blocks(partial: tuple[Ranked, ...], limit: int | None) -> Iterator[tuple[list[str], Times]]:
    """Yield ids as text, and their values, the largest value first, in blocks."""
    ids = Text.joining([piece.ids for piece in partial]) if partial else Text.of([])
    values = np.concatenate([NO_TIMES, *(piece.values for piece in partial)])
    order = np.argsort(~values, kind="stable")
    ranked = values[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, order.size)
    starts = np.append(0, ends[:-1])
    tied = np.flatnonzero(ends - starts > 1)
    for start, end in zip(starts[tied].tolist(), ends[tied].tolist(), strict=True):  # equal values: by id
        names = ids.take(order[start:end])
        places = sorted(range(end - start), key=names.__getitem__, reverse=True)
        order[start:end] = order[start:end][places]
    order = order[:limit]
    for start in range(0, order.size, _BLOCK):
        block = order[start : start + _BLOCK]
        yield [name.decode() for name in ids.take(block)], values[block]
