"""The view `top`, as the contract of `actors/views/view.py` defines it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from typing_extensions import override

from actors.columns.snapshot import State
from actors.columns.text import Text
from actors.columns.times import NO_TIMES
from actors.records.form import Form
from actors.timeline.grid import Grid
from actors.timeline.span import Span
from actors.views.top.arguments import Figures, RankOf, Top
from actors.views.top.decode import decode
from actors.views.top.figures import SHAPE, figures
from actors.views.top.records import RecordDecoder
from actors.views.top.slices import LiveTop, Rank, Ranked, TopSummary, Valued, cleared_to
from actors.views.view import Block, Decoded, Field, Meta, Records, Shape, View

_BLOCK = 4_096
"""Number of ids written at once."""

_FEW = 10_000
"""Up to this many ids are picked from the table; for more, all of it is copied and sorted."""

_ROW_BYTES = 256
_ID_BYTES = 128
"""Bytes of the value, time and place of an id: copied, and sorted."""

_SHAPE = Shape("data", (Field("id", "text"), Field("value")), "value")
_WITH_VALUES = Shape("data", (Field("id", "text"), Field("value")))
_RANK = Shape("data", (Field("id", "text"), Field("value"), Field("rank")))


class TopTotal(msgspec.Struct, frozen=True, rename="camel"):
    """Ids of all collectors."""

    ids: Annotated[int, msgspec.Meta(description="Ids with a value.")]
    superseded: Annotated[int, msgspec.Meta(description="Events replaced by a later value of their id or by a DELETE.")]
    forgotten_up_to: Annotated[
        int | None, msgspec.Meta(description="The highest value that was forgotten because memory was short.")
    ]
    in_several_partitions: Annotated[int, msgspec.Meta(description="Ids whose records are in more than one partition.")]


class TopView(View):
    """The ids with the largest values. One live slice holds all ids and never retires.

    Records are `id_value`, or have the form `record` with the roles id and value.
    """

    answers = "ids"
    counts = TopTotal
    summarised = SHAPE
    metered = False  # the ids are not in order of time, so all of them would be read

    def __init__(self, *, record: Form | None = None) -> None:
        self._decode = decode if record is None else RecordDecoder(record).decode

    @override
    def decode(self, records: Records) -> Decoded:
        return self._decode(records)

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
    def weigh(self, metas: Sequence[Meta], arguments: Top) -> int:
        if arguments.limit is not None and arguments.limit <= _FEW:
            return _ROW_BYTES * arguments.limit
        own: list[TopSummary] = [meta.summary for meta in metas]
        return _ID_BYTES * sum(each.ids for each in own)

    @override
    def shape(self, arguments: Top) -> Shape:
        """Return an id and its value; JSON has the ids alone unless `values` are wanted. A rank is a third field."""
        if isinstance(arguments, RankOf):
            return _RANK
        if isinstance(arguments, Figures):
            return SHAPE
        return _WITH_VALUES if arguments.values else _SHAPE

    @override
    def blocks(self, partial: tuple[Ranked | Rank | Valued, ...], span: Span, arguments: Top) -> Iterator[Block]:
        """Yield ids, the largest value first; of equal values, the larger id by bytes first.

        Cost: a sort of all ids that were read, before the first block: 0.3 us an id.
        """
        if isinstance(arguments, RankOf):
            return (Block(([arguments.name.decode()], [each.value], [each.rank])) for each in partial if isinstance(each, Rank))
        if isinstance(arguments, Figures):
            return figures([each for each in partial if isinstance(each, Valued)], span, arguments)
        return _ranked([each for each in partial if isinstance(each, Ranked)], arguments.limit)

    @override
    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Figures:
        """Return the arguments of a query for the number of ids and their values, in each bucket."""
        return Figures(by=by, most=most)

    @override
    def remarks(self, partial: tuple[Ranked, ...], arguments: Top) -> Mapping[str, Any]:
        """Return `cleared`: the offset of the last clear that was read, by partition."""
        return {"cleared": cleared_to(partial)}

    @override
    def describe(self, before: TopSummary, meta: Meta) -> TopTotal:
        own: TopSummary = meta.summary
        return TopTotal(own.ids, own.gone, own.lowest_forgotten, own.scattered)


def _ranked(partial: Sequence[Ranked], limit: int | None) -> Iterator[Block]:
    """Yield ids as text, and their values, the largest value first."""
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
        yield Block(([name.decode() for name in ids.take(block)], values[block]))
