"""How far back the memory budget reaches if the stream goes on as its newest generations did. Pure: decided from metas alone.

The live page shows it. If there is no basis for a forecast, it has the reason instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.views.view import Meta

_NEWEST = 16
"""The number of newest generations that count, as the sample of the stream's present rate."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast: `room_bytes` for generations, each with `bytes_per_time` of the stream's unit, `reach` back that far.

    Computed from the newest `generations`. `reach` is None if it is unknown, and `why` has the reason.
    """

    room_bytes: int
    bytes_per_time: float | None = None
    reach: int | None = None
    generations: int = 0
    why: str | None = None


def forecast(aged: Sequence[Meta], room_bytes: int) -> Forecast:
    """Return how far back generations reach in `room_bytes` if they are like the newest of `aged`. Cost: O(1).

    A generation on disk counts with the bytes of its file, because it took as many in memory.

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
