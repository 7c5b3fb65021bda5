"""Cuts ordered events into pieces, each of which becomes one micro-batch. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actors.reading.poison import Origin
from actors.timeline.batch import Batch
from actors.views.view import Events


class Piece(NamedTuple):
    """Events for one micro-batch. With them the stream is complete up to `until`; None if no time is complete yet.

    `origin` locates the records; it is None for events that were put in order.
    """

    events: Events
    until: int | None
    origin: Origin | None = None


def cut(batch: Batch, until: int | None, events: int) -> Iterator[Piece]:
    """Yield an ordered batch in pieces of about `events` events, cut at times. Cost: O(pieces), no copy."""
    longest = max(batch.times, key=len)
    step = max(1, events // len(batch.times))
    for bound in longest[step::step].tolist():
        piece, batch = batch.split(bound)
        if piece.count:
            yield Piece(piece, None if until is None else min(bound, until))
    if batch.count:
        yield Piece(batch, until)


def cut_exactly(batch: Batch, until: int | None, events: int) -> Iterator[Piece]:
    """Yield an ordered batch in pieces of exactly `events` events, and a rest: events of one time may be in several pieces.

    The events are in order of time, and of category at the same time. Cost: one sort.
    """
    times = np.concatenate(batch.times)
    categories = np.repeat(np.arange(len(batch.times)), [column.size for column in batch.times])
    order = np.lexsort((categories, times))
    for start in range(events, times.size, events):
        chosen = np.bincount(categories[order[start - events : start]], minlength=len(batch.times))
        piece, batch = batch.split_at(chosen.tolist())
        yield Piece(piece, None if until is None else min(int(times[order[start]]), until))
    yield Piece(batch, until)
