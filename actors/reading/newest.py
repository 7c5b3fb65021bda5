"""The newest records that were read, for display: the end of each poll, in a ring.

Of a poll at least the last record is kept, and beyond that some hundred records a second, so the cost does not grow with the
load. Memory is bounded: `BYTES`.
"""

from collections import deque

from actors.sources.polled import Polled
from actors.timeline.samples import HEADERS_BYTES, KEY_BYTES, VALUE_BYTES, Sample, cut_headers, cut_key, cut_value
from actors.views.view import Decoded

COUNT = 100
_A_SECOND = 100.0
_OBJECTS_BYTES = 1_000
"""Bytes that Python takes for a sample, beside its parts."""

BYTES = COUNT * (VALUE_BYTES + KEY_BYTES + HEADERS_BYTES + _OBJECTS_BYTES)
"""The most bytes of a ring."""


class Newest:
    """The ring of one stream. If the view is not `timed`, its samples have no time."""

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self._kept: deque[Sample] = deque(maxlen=COUNT)
        self._allowed = float(COUNT)
        self._at: float | None = None

    def take(self, polled: Polled, decoded: Decoded, now: float) -> None:
        """Keep the last records of a poll, as they were decoded. `now` is in seconds. Cost: 5 us for each that is kept."""
        size = len(polled.values)
        if not size:
            return
        passed = 0.0 if self._at is None else now - self._at
        self._at, self._allowed = now, min(float(COUNT), self._allowed + passed * _A_SECOND)
        many = min(size, max(1, int(self._allowed)))
        self._allowed = max(0.0, self._allowed - many)
        accepted = [True] * many if decoded.accepted is None else decoded.accepted[size - many :].tolist()
        event = decoded.times.size - sum(accepted)
        offsets = polled.offsets()
        for index, is_event in enumerate(accepted, size - many):
            time = None
            if is_event:
                time = int(decoded.times[event]) if self._timed else None
                event += 1
            value = polled.record_value(index)
            self._kept.append(
                Sample(
                    int(polled.partitions[index]),
                    int(offsets[index]),
                    polled.written_at(index),
                    is_event,
                    time,
                    None if value is None else len(value),
                    cut_value(value),
                    cut_key(polled.key_of(index)),
                    cut_headers(polled.headers_of(index)),
                )
            )

    def newest(self) -> tuple[Sample, ...]:
        """Return the kept records, the newest first."""
        return tuple(reversed(self._kept))
