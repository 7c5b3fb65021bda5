"""The view `top`, as the contract of `actors/views/view.py` defines it."""

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from typing_extensions import override

from actors.columns.snapshot import State
from actors.columns.text import Text
from actors.columns.times import NO_TIMES, Times
from actors.timeline.span import Span
from actors.views.top.decode import decode
from actors.views.top.slices import LiveTop, Ranked, Top, TopSummary
from actors.views.view import Column, Decoded, Field, Meta, Records, View

_BLOCK = 4_096
"""Number of ids written at once."""

_FIELDS = (Field("id", "text"), Field("value"))


class TopView(View):
    """The ids with the largest values. One live slice holds all ids and never retires."""

    @override
    def decode(self, records: Records) -> Decoded:
        return decode(records)

    @override
    def open(self, carry: None) -> LiveTop:
        return LiveTop()

    @override
    def revive(self, state: State) -> LiveTop:
        return LiveTop.of_state(state)

    @override
    def summary(self, state: State) -> TopSummary:
        return TopSummary.of_state(state)

    @override
    def nothing(self) -> TopSummary:
        return TopSummary(0, 0)

    @override
    def render(
        self,
        partial: tuple[Ranked, ...],
        span: Span,
        arguments: Top,
        form: str,
        members: Mapping[str, object],
    ) -> Iterator[bytes]:
        """Write `{"data":["id",…]}` and `members`, or one id a line. Largest value first, of equal ones the larger id.

        Cost: a sort of all ids before the first block, 0.3 us an id.
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

    @override
    def fields(self, arguments: Top) -> tuple[Field, ...]:
        return _FIELDS

    @override
    def columns(
        self,
        partial: tuple[Ranked, ...],
        span: Span,
        arguments: Top,
    ) -> Iterator[Mapping[str, Column]]:
        """Yield ids and values in the order and at the cost of `render`."""
        return ({"id": names, "value": values} for names, values in _blocks(partial, arguments.limit))

    @override
    def describe(self, before: TopSummary, meta: Meta) -> dict[str, object]:
        own: TopSummary = meta.summary
        return {
            "ids": own.ids,
            "superseded": own.gone,
            "forgottenUpTo": own.lowest_forgotten,
            "inSeveralPartitions": own.scattered,
        }


def _blocks(partial: tuple[Ranked, ...], limit: int | None) -> Iterator[tuple[list[str], Times]]:
    """Yield blocks of ids as text and their values, largest value first."""
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
