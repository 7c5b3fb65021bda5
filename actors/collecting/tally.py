"""Counts that only grow, of counts that a stream takes back to a checkpoint when it starts again.

Used by who keeps such counts, for metrics: they ask what this process has done, and a count that falls looks like a restart.
"""

from collections import Counter
from collections.abc import Mapping


class Tally:
    """What was counted since this process began, by name. What is done again after a failure counts again.

    >>> tally = Tally()
    >>> tally.begin({"records": 100})  # as a checkpoint says
    >>> tally.note({"records": 130})
    >>> tally.begin({"records": 110})  # back to another one
    >>> tally.note({"records": 115})
    >>> dict(tally.total)
    {'records': 35}
    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._last: Mapping[str, int] = {}

    def begin(self, counts: Mapping[str, int]) -> None:
        """Count on from `counts`, which this process has not done."""
        self._last = dict(counts)

    def note(self, counts: Mapping[str, int]) -> None:
        """Add what `counts` have grown by since they were last seen. Cost: O(names)."""
        for name, count in counts.items():
            self.total[name] += max(0, count - self._last.get(name, 0))
        self._last = dict(counts)
