"""What goes wrong, by the seed: every part of the simulated world asks here before it works."""

import random
from collections import Counter
from collections.abc import Mapping

from tests.simulation.trace import Trace


class CrashError(BaseException):
    """The process is dead, in the middle of whatever it did. No product code may catch it."""


class TroubleError(Exception):
    """What a part raises that fails: an exception that the product has never heard of."""


class Faults:
    """Strikes by chance, each kind at its own rate, until `on` is False. `struck` counts."""

    def __init__(self, chance: random.Random, rates: Mapping[str, float], trace: Trace) -> None:
        self._chance = chance
        self._rates = rates
        self._trace = trace
        self.on = True
        self.struck: Counter[str] = Counter()

    def strikes(self, kind: str) -> bool:
        """Whether `kind` goes wrong this time."""
        rate = self._rates.get(kind, 0.0)
        if not self.on or not rate or self._chance.random() >= rate:
            return False
        self.struck[kind] += 1
        self._trace.note("fault", kind)
        return True
