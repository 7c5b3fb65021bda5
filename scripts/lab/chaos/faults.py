"""The faults of a chaos run: of the service, of its broker and of the network between them; and a plan of faults by a seed.

`ordeal.py` makes the faults happen.
"""

import os
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from random import Random


class Fault(Enum):
    """One kind of fault, by the name that the report uses."""

    KILL = "kill -9 at a random moment"
    KILL_IN_RECOVERY = "kill -9 during recovery"
    KILL_AT_TEMPORARY = "kill -9 as a temporary file appears"
    KILL_AT_FILE = "kill -9 as a file gets its name"
    KILL_AT_GENERATION = "kill -9 as a generation is there"
    KILL_AT_REMOVAL = "kill -9 as an old file goes"
    PAUSE = "SIGSTOP and SIGCONT of the service"
    CUT = "connections cut"
    REFUSE = "connections cut, and refused for a while"
    STALL = "connections stalled"
    PAUSE_BROKER = "SIGSTOP and SIGCONT of the broker"
    KILL_BROKER = "kill -9 of the broker"
    RIGHT = "a right taken back for a while"
    TRANSACTION = "an open transaction in the input"
    AHEAD = "records whose clocks are ahead"
    FROZEN = "frozen, replaced, and awake again"
    TWIN = "a second instance over a copy of data_dir"
    RIVAL = "a second instance over the same data_dir"

    @property
    def kills(self) -> bool:
        """Whether the fault ends the service."""
        return self in _KILLS

    @property
    def of_broker(self) -> bool:
        """Whether the fault needs a broker that this run started."""
        return self in {Fault.PAUSE_BROKER, Fault.KILL_BROKER, Fault.RIGHT}

    @property
    def of_instances(self) -> bool:
        """Whether a second instance of the service is started."""
        return self in {Fault.FROZEN, Fault.TWIN, Fault.RIVAL}


_KILLS = {
    Fault.KILL: 35,
    Fault.KILL_IN_RECOVERY: 25,
    Fault.KILL_AT_TEMPORARY: 12,
    Fault.KILL_AT_FILE: 10,
    Fault.KILL_AT_GENERATION: 10,
    Fault.KILL_AT_REMOVAL: 8,
}
"""The share of each kind of kill, in per cent."""

_BESIDE = {
    Fault.PAUSE: 0.06,
    Fault.CUT: 0.08,
    Fault.REFUSE: 0.05,
    Fault.STALL: 0.06,
    Fault.PAUSE_BROKER: 0.05,
    Fault.KILL_BROKER: 0.02,
    Fault.RIGHT: 0.06,
    Fault.TRANSACTION: 0.06,
    Fault.AHEAD: 0.06,
    Fault.FROZEN: 0.04,
    Fault.TWIN: 0.03,
    Fault.RIVAL: 0.02,
}
"""How many other faults there are for each kill."""


def plan(kills: int, chance: Random, *, own_broker: bool, on_disk: bool, publishes: bool) -> list[Fault]:
    """Return `kills` kills of all kinds in a random order, with the other faults among them, each at least once.

    Faults of the broker need a broker of this run; some kills need a service that writes to disk. Faults of two instances also
    need a view that publishes.
    """
    kinds = [kind for kind in _KILLS if on_disk or kind in {Fault.KILL, Fault.KILL_IN_RECOVERY}]
    planned = kinds[:kills] + chance.choices(kinds, [_KILLS[kind] for kind in kinds], k=max(0, kills - len(kinds)))
    for fault, share in _BESIDE.items():
        if (own_broker or not fault.of_broker) and ((on_disk and publishes) or not fault.of_instances):
            planned += [fault] * max(1, round(share * kills))
    chance.shuffle(planned)
    return planned


class Watch:
    """Watches a folder and the folders below it for changes, by listing them again and again."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def names(self) -> set[str]:
        """Return the files that exist now. Cost: some 50 us a folder, 1 us a file."""
        return set(_files(self._folder))

    def wait(self, fault: Fault, limit_s: float) -> bool:
        """Wait for the moment of `fault`. Return True at that moment, or False after `limit_s`."""
        before = self.names()
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            now = self.names()
            if self.seen(fault, before, now):
                return True
            before = now
            time.sleep(0.0003)
        return False

    @staticmethod
    def seen(fault: Fault, before: set[str], now: set[str]) -> bool:
        """Whether the changes between two listings are those that `fault` waits for."""
        fresh, gone = now - before, before - now
        if fault is Fault.KILL_AT_TEMPORARY:
            return any(map(_temporary, fresh))
        if fault is Fault.KILL_AT_FILE:
            return any(not _temporary(name) for name in fresh)
        if fault is Fault.KILL_AT_GENERATION:
            return any(not _temporary(name) and "generation" in name for name in fresh)
        return any(not _temporary(name) for name in gone)


def _temporary(name: str) -> bool:
    return name.endswith(".tmp")


def _files(folder: str) -> Iterator[str]:
    """Yield the files below `folder`. A file that disappears during the listing is left out."""
    try:
        entries: Sequence[os.DirEntry[str]] = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry.path
