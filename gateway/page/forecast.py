"""How far back the budget reaches, if the stream goes on as its newest generations did: a decision from metas alone.

Used by the live page's pictures. It never guesses: where nothing is known, it says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.views.view import Meta

_NEWEST = 16
"""Generations that are looked at: as many as tell how it goes now."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """So many `room_bytes` for generations, each of which takes `bytes_per_time` of the stream's unit; so they `reach` back.

    Taken from the newest `generations`. `reach` is None where it is unknown, and `why` says the reason.
    """

    room_bytes: int
    bytes_per_time: float | None = None
    reach: int | None = None
    generations: int = 0
    why: str | None = None


def forecast(aged: Sequence[Meta], room_bytes: int) -> Forecast:
    """Return how far back generations reach that are like the newest of `aged`, in `room_bytes`. Cost: O(1).

    A generation on the disk counts with the bytes of its file: that is what it took of memory.

    >>> from actors.timeline.span import Span
    >>> meta = lambda start: Meta(Span(start, start + 100), 9, 50, 0, None, None)
    >>> forecast([meta(0), meta(100)], 1_000).reach
    2000
    >>> forecast([], 1_000).why
    'no generation has retired yet'
    """
    spans = [(meta.span, max(meta.nbytes, meta.file_bytes)) for meta in aged[-_NEWEST:] if meta.span is not None]
    if not spans:
        return Forecast(room_bytes, why="no generation has retired yet")
    hull = spans[0][0]
    for span, _ in spans:
        hull = hull.hull(span)
    length, nbytes = hull.end - hull.start, sum(size for _, size in spans)
    if length <= 0 or nbytes <= 0:
        return Forecast(room_bytes, generations=len(spans), why="the newest generations take no time")
    rate = nbytes / length
    return Forecast(room_bytes, rate, int(max(0, room_bytes) / rate), len(spans))
