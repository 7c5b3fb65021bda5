"""The older one of two instances: the second one begins with a copy of its disk, and both write to one output."""

from dataclasses import dataclass

from tests.simulation.disk import Platter
from tests.simulation.process import Process
from tests.simulation.topic import Ledger


@dataclass
class Older:
    """An instance whose disk was copied. Until `wakes_at` it is frozen. `process` is None once the process has crashed."""

    process: Process | None
    platter: Platter
    ledger: Ledger
    wakes_at: float

    def awake(self, now: float) -> Process | None:
        """Return the process, if it is alive and not frozen."""
        return self.process if now >= self.wakes_at else None
