"""What slices tell of the events of a step at a time, and the rows that are made of it. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from actors.columns.times import count_before
from actors.views.sets.arguments import Explain
from actors.views.sets.pieces import Piece
from actors.views.view import Block, Field, Shape

_BLOCK = 1_024


class Lack(Enum):
    """What an event lacks that stands in no set."""

    LATER = "an event of a later step"
    EARLIER = "events of the earlier steps that are in no other set"
    REST = "the rest of a set, of which an earlier event is in reach"
    LAPSED = "a set within the limit"
    ROOM = "a slice that has room"


class Told(NamedTuple):
    """A number of events that stand in no set, and what they lack. If it is an event of a later step, `step` is its number."""

    events: int
    lack: Lack
    step: int = 0


def pieces_at(pieces: Sequence[Piece], wanted: Explain) -> list[Piece]:
    """Return the pieces that may have a set with the event. Cost: O(pieces), without decompression."""
    return [piece for piece in pieces if piece.span.start <= wanted.time and (piece.until is None or wanted.time < piece.until)]


def shape_of(steps: Sequence[str]) -> Shape:
    """Return the shape of an explanation: how many events, their state and why, and the times of their set."""
    times = tuple(Field(step.lower(), optional=True, group="set") for step in steps)
    return Shape("events", (Field("count"), Field("state", "text"), Field("reason", "text", optional=True), *times))


def explained(partial: Sequence[Piece | Told], wanted: Explain, steps: Sequence[str], within: int | None) -> Iterator[Block]:
    """Yield a row for each set of the events, by time, and then one for each reason why others stand in none.

    Equal sets are one row with their count. Cost: 0.4 ms for each compressed piece.
    """
    left = wanted.limit
    found = [_at(each, wanted) for each in partial if isinstance(each, Piece)]
    if found:
        rows = np.stack([np.concatenate(columns) for columns in zip(*found, strict=True)])
        unique, counts = np.unique(rows, axis=1, return_counts=True)
        unique, counts = unique[:, :left], counts[:left]
        left = None if left is None else left - counts.size
        for low in range(0, counts.size, _BLOCK):
            own = counts[low : low + _BLOCK].tolist()
            times = [column[low : low + _BLOCK].tolist() for column in unique]
            yield Block([own, ["set"] * len(own), [None] * len(own), *times])
    told: Counter[tuple[Lack, int]] = Counter()
    for each in partial:
        if isinstance(each, Told):
            told[each.lack, each.step] += each.events
    lines = [(count, _state(lack), _reason(lack, step, wanted, steps, within)) for (lack, step), count in told.items()][:left]
    columns = [list(column) for column in zip(*lines, strict=True)] if lines else [[], [], []]
    yield Block([*columns, *([None] * len(lines) for _ in steps)])


def _state(lack: Lack) -> str:
    return "waiting" if lack in {Lack.LATER, Lack.REST, Lack.ROOM} else "unmatched"


def _reason(lack: Lack, step: int, wanted: Explain, steps: Sequence[str], within: int | None) -> str:
    earlier = " and ".join(steps[: wanted.step])
    match lack:
        case Lack.LATER if within is None:
            return f"waits for {steps[step]}"
        case Lack.LATER:
            return f"waits for the rest of a set, until {wanted.time + (within or 0)}"
        case Lack.REST:
            return f"waits for the rest of a set with an earlier {steps[0]}"
        case Lack.LAPSED:
            return f"lapsed: no set for it within {within}"
        case Lack.ROOM:
            return "waits for the next collector"
        case Lack.EARLIER:
            return f"no {earlier} before it{'' if within is None else ', in reach,'} that is in no other set"


def _at(piece: Piece, wanted: Explain) -> list[np.ndarray]:
    """Return the sets of a piece that have the event."""
    rows = piece.opened()
    low, high = (count_before(rows[wanted.step], time) for time in (wanted.time, wanted.time + 1))
    return [column[low:high] for column in rows]
