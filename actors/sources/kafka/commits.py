"""The offsets that are committed to the group, so that lag tools see how far the stream has read.

The Kafka source owns it, and sends what is due.
"""

import math
from collections.abc import Mapping

_AGAIN_S = 2.0
_ALL_S = 60.0
"""A broker forgets an offset if it was not committed again within `offsets.retention.minutes`, seven days by default."""


class Commits:
    """Chooses the offsets to commit: those that have changed since they were committed, and once a minute all of them."""

    def __init__(self) -> None:
        self._all_at = -math.inf
        self._sent: dict[int, int] = {}

    def due(self, offsets: Mapping[int, int], now: float) -> dict[int, int]:
        """Return the ones of `offsets`, by partition, that are to be committed now. Cost: O(partitions)."""
        if now - self._all_at >= _ALL_S:
            self._all_at, self._sent = now, {}
        changed = {number: offset for number, offset in offsets.items() if self._sent.get(number) != offset}
        self._sent |= changed
        return changed

    def failed(self, now: float) -> None:
        """Commit all offsets again within some seconds, because a commit has failed."""
        self._all_at = min(self._all_at, now - _ALL_S + _AGAIN_S)

    def forget(self) -> None:
        """Commit all offsets next time, because the topic is another one."""
        self._all_at = -math.inf
