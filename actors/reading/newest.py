"""The newest records that were read, for display: the end of each poll, in a ring.

Of a poll at least the last record is kept, and beyond that some hundred records a second, so the cost does not grow with the
load. Memory is bounded: `BYTES`.
"""

from collections import deque

import numpy as np

from actors.sources.polled import Polled
from actors.timeline.samples import HEADERS_BYTES, KEY_BYTES, Sample, cut_headers, cut_key
from actors.views.view import Decoded

COUNT = 100
HEAD_BYTES = 512
_A_SECOND = 100.0
_OBJECTS_BYTES = 1_000
"""Bytes that Python takes for a sample, beside its parts."""

BYTES = COUNT * (HEAD_BYTES + KEY_BYTES + HEADERS_BYTES + _OBJECTS_BYTES)
"""The most bytes of a ring."""


class Newest:
    """The ring of one stream. If the view is not `timed`, its samples have no time."""

    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self._kept: deque[Sample] = deque(maxlen=COUNT)
        self._allowed = float(COUNT)
        self._at: float | None = None

    def take(self, polled: Polled, decoded: Decoded, now: float) -> None:
        """Keep the last records of a poll, as they were decoded. `now` is in seconds. Cost: 4 us for each that is kept."""
        size = len(polled.values)
        if not size:
            return
        passed = 0.0 if self._at is None else now - self._at
        self._at, self._allowed = now, min(float(COUNT), self._allowed + passed * _A_SECOND)
        many = min(size, max(1, int(self._allowed)))
        self._allowed = max(0.0, self._allowed - many)
        last = np.arange(size - many, size)
        accepted = np.ones(many, np.bool_) if decoded.accepted is None else decoded.accepted[last]
        times = iter(decoded.times[decoded.times.size - int(accepted.sum()) :].tolist())
        places = zip(
            last.tolist(),
            polled.partitions[last].tolist(),
            polled.offsets()[last].tolist(),
            polled.timestamps()[last].tolist(),
            accepted.tolist(),
            strict=True,
        )
        for index, partition, offset, written_at, is_event in places:
            value, time = polled.record_value(index), next(times) if is_event else None
            self._kept.append(
                Sample(
                    partition,
                    offset,
                    written_at,
                    is_event,
                    time if self._timed else None,
                    None if value is None else len(value),
                    (value or b"")[:HEAD_BYTES],
                    cut_key(polled.key_of(index)),
                    cut_headers(polled.headers_of(index)),
                )
            )

    def newest(self) -> tuple[Sample, ...]:
        """Return the kept records, the newest first."""
        return tuple(reversed(self._kept))
