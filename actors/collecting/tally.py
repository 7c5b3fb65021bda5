"""Counters that only grow, for metrics.

A stream's counters fall when it goes back to a checkpoint, but a Prometheus counter must not fall. Used by the front end and
the manager.
"""

from collections import Counter
from collections.abc import Mapping


class Tally:
    """The sum of all increases since this process began, by name. Work that is repeated after a failure counts again.

    >>> tally = Tally()
    >>> tally.begin({"records": 100})  # the counts of a checkpoint
    >>> tally.note({"records": 130})
    >>> tally.begin({"records": 110})  # back to an earlier checkpoint
    >>> tally.note({"records": 115})
    >>> dict(tally.total)
    {'records': 35}
    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._last: Mapping[str, int] = {}

    def begin(self, counts: Mapping[str, int]) -> None:
        """Set the counts from which the next increases are measured."""
        self._last = dict(counts)

    def note(self, counts: Mapping[str, int]) -> None:
        """Add the increases since the last `note` or `begin`. Cost: O(names)."""
        for name, count in counts.items():
            self.total[name] += max(0, count - self._last.get(name, 0))
        self._last = dict(counts)
