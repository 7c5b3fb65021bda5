"""The emergency brake decides how many generations to drop if the process takes more memory than is accounted."""

from collections.abc import Sequence

_ON = 1.05
_OFF = 1.02
_TICKS = 2
_VAIN = 3
_REST_S = 30.0
_MOST_SHARE = 4
"""At most one quarter of the generations is dropped at once."""


class Brake:
    """Decides for one stream of `streams`. Each stream frees 1/`streams` of the excess.

    The brake starts if two measurements in a row are above 105 % of the budget, and ends below 102 %. It pauses for 30 s if
    three pulls in a row have freed less than half of the expected bytes: the excess is then not in the slices.
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
        """Return whether the process is so large that freed memory should be returned to the system."""
        return resident > _OFF * budget

    @staticmethod
    def exceeded(resident: int, budget: int) -> bool:
        """Return whether the process is so large that the brake starts if that goes on."""
        return resident > _ON * budget

    def pull(self, resident: int, budget: int, aged: Sequence[int], now: float) -> int:
        """Return how many of the oldest generations to drop. `aged` has the bytes of each, oldest first; `now` in seconds."""
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
