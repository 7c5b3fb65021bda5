"""Parts of answers of `words` as they go from one process of a cluster to another. See `actors.cluster.parcels`."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.timeline.span import Span
from actors.views.view import View
from actors.views.words.arguments import Buckets, Counting, Figures
from actors.views.words.frequent import Frequent
from actors.views.words.pieces import Piece, Remembered, Rows, total
from actors.views.words.slices import WordSummary

ARGUMENTS: Mapping[str, type[Any]] = {each.__name__: each for each in (Counting, Buckets, Figures)}


def packed(view: View, partial: Sequence[Piece] | Sequence[Rows], arguments: Counting) -> State:
    """Return the sum of the counts: exact up to `max_names` names, beyond them with an error. Cost: as much as to render it."""
    if not partial:
        return None
    if isinstance(arguments, Buckets):
        rows = _by_second(cast("Sequence[Rows]", partial))
        return None if rows is None else {"seconds": rows}
    sums = total(cast("Sequence[Piece]", partial), cast("WordSummary", view.nothing()).max_names)
    return {"sums": sums.state()}


def unpacked(view: View, state: State) -> tuple[Piece, ...] | tuple[Rows, ...]:  # noqa: ARG001  # the protocol's
    """Return the counts of a state."""
    if state is None:
        return ()
    if "seconds" in state:
        return (Rows.of_state(state["seconds"]),)
    return (Remembered(Frequent.of_state(state["sums"])),)


def merged(view: View, partials: Sequence[Any], arguments: Counting) -> Any:  # noqa: ARG001  # the protocol's
    """Return the counts of shards as those of one. `packed` adds them up."""
    return tuple(piece for each in partials for piece in each)


def joined(
    view: View,
    partials: Sequence[Any],
    *,
    until: int | None,  # noqa: ARG001  # the protocol's
    idle: bool,  # noqa: ARG001
    clock: int | None,  # noqa: ARG001  # the protocol's
    span: Span,  # noqa: ARG001
    arguments: Counting,  # noqa: ARG001
) -> Any:
    """Join the counts of shards."""
    return view.merge(partials)


def _by_second(blocks: Sequence[Rows]) -> State:
    """Return the counts of all names by second, as the state of one block."""
    opened = [block.opened() for block in blocks]
    seconds = np.concatenate([each[0] for each in opened])
    order = np.argsort(seconds, kind="stable")
    if not seconds.size:
        return None
    seconds, numbers = seconds[order], np.concatenate([each[2] for each in opened])[order]
    starts: Times = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
    found = seconds[starts]
    sums = np.add.reduceat(numbers, starts)
    return int(found[0]), int(found[-1]), (found, np.zeros(found.size, np.int64), sums)
