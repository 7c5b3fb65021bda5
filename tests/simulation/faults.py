"""The faults of a run. Every part of the simulated world asks for a fault before it works."""

import random
from collections import Counter
from collections.abc import Mapping

from tests.simulation.trace import Trace


class CrashError(BaseException):
    """The process died in the middle of a task. No product code may catch this."""


class BrokenError(BaseException):
    """A law was broken while another task was blocked. No product code may catch this either."""


class TroubleError(Exception):
    """The failure of a part: an exception type that the product does not know."""


class Faults:
    """Faults by chance, each kind at its own rate, until `on` is False. `struck` counts them."""

    def __init__(self, chance: random.Random, rates: Mapping[str, float], trace: Trace) -> None:
        self._chance = chance
        self._rates = rates
        self._trace = trace
        self.on = True
        self.struck: Counter[str] = Counter()

    def strikes(self, kind: str) -> bool:
        """Whether a fault of this kind happens now."""
        rate = self._rates.get(kind, 0.0)
        if not self.on or not rate or self._chance.random() >= rate:
            return False
        self.struck[kind] += 1
        self._trace.note("fault", kind)
        return True
