"""The emergency brake: what to drop when the process takes more memory than its accounts say. A decision, not an act."""

from collections.abc import Sequence

_ON = 1.05
_OFF = 1.02
_TICKS = 2
_VAIN = 3
_REST_S = 30.0
_MOST_SHARE = 4
"""At most one generation of so many goes at once."""


class Brake:
    """Decides for one of `streams` streams, each of which takes its share of what is too much.

    It is pulled where two looks in a row find the process above 105 % of its budget, and lets go below 102 %. Where three pulls
    in a row have freed less than half of what they should, it rests for 30 s: then the memory is not where the accounts say.
    """

    def __init__(self, streams: int = 1) -> None:
        self._streams = streams
        self._ticks = 0
        self._vain = 0
        self._rests_until = 0.0
        self._before = 0
        self._expected = 0
        self.pulls = 0

    @staticmethod
    def worried(resident: int, budget: int) -> bool:
        """Whether it is worth while to look for what is free already."""
        return resident > _OFF * budget

    def pull(self, resident: int, budget: int, aged: Sequence[int], now: float) -> int:
        """Return how many of the oldest generations must go; `aged` are the bytes of each, oldest first."""
        if resident <= (_OFF if self._ticks >= _TICKS else _ON) * budget:
            self._ticks = self._vain = self._expected = 0
            return 0
        self._ticks += 1
        if self._ticks < _TICKS or now < self._rests_until or not aged:
            return 0
        if self._expected:
            self._vain = self._vain + 1 if self._before - resident < self._expected // 2 else 0
        if self._vain >= _VAIN:
            self._rests_until, self._vain, self._expected = now + _REST_S, 0, 0
            return 0
        excess = (resident - _OFF * budget) / self._streams
        most = -(-len(aged) // _MOST_SHARE)
        count = freed = 0
        while count < most and freed < excess:
            freed += aged[count]
            count += 1
        self._before, self._expected = resident, freed
        self.pulls += count
        return count
