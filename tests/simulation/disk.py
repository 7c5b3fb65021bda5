"""A disk in memory that knows what is safe, behind `actors.durability.disk.Disk`; and what is left of it when the power fails.

A file's bytes are safe up to its last sync, a name since the last sync of its folder. What is not safe may be there after a
loss of power, or be gone, or be there in part or as zeros, each by chance.
"""

import errno
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import CrashError, Faults

_SLOW_S = 1.0
_ERRORS = (errno.ENOSPC, errno.EIO, errno.EFBIG)


@dataclass(eq=False)
class _File:
    data: bytearray = field(default_factory=bytearray)
    safe: int = 0


@dataclass(frozen=True)
class _Change:
    """A change of names that is not safe yet: each path's file from now on; None where there is none any more."""

    names: tuple[tuple[Path, _File | None], ...]


class Platter:
    """What outlives a process."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.names: dict[Path, _File] = {}
        self.safe: dict[Path, _File] = {}
        self.changes: list[_Change] = []

    def lose_power(self) -> None:
        """Lose, by chance, what is not safe."""
        chance = self._chance
        kept = chance.choice([0.0, 0.5, 1.0])
        ordered = chance.random() < 0.5
        for change in self.changes:
            if chance.random() < kept:
                _apply(self.safe, change)
            elif ordered:
                break
        for file in dict.fromkeys(self.safe.values()):
            left = chance.randint(file.safe, len(file.data))
            torn = chance.randint(file.safe, left)
            file.data[torn:] = bytes(left - torn) if chance.random() < 0.5 else file.data[torn:left]
            file.safe = len(file.data)
        self.names, self.changes = dict(self.safe), []

    def change(self, *names: tuple[Path, _File | None]) -> None:
        """Change names, for now."""
        change = _Change(names)
        self.changes.append(change)
        _apply(self.names, change)

    def settle(self, folder: Path) -> None:
        """Make the names in a folder safe."""
        for change in self.changes:
            if change.names[0][0].parent == folder:
                _apply(self.safe, change)
        self.changes = [change for change in self.changes if change.names[0][0].parent != folder]


def _apply(names: dict[Path, _File], change: _Change) -> None:
    for path, file in change.names:
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


class SimulatedDisk:
    """The disk as one process sees it. After that is dead, nothing reaches the platter any more."""

    def __init__(self, platter: Platter, clock: SimulatedClock, chance: random.Random, faults: Faults) -> None:
        self._platter = platter
        self._clock = clock
        self._chance = chance
        self._faults = faults
        self.dead = False

    def make_folder(self, folder: Path) -> None:
        self.work("make_folder")

    def names(self, folder: Path) -> list[str]:
        self.work("names")
        return [path.name for path in self._platter.names if path.parent == folder]

    def create(self, path: Path) -> "SimulatedFile":
        self.work("create")
        file = _File()
        self._platter.change((path, file))
        return SimulatedFile(self, file)

    def read(self, path: Path) -> bytes:
        self.work("read")
        if path not in self._platter.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return bytes(self._platter.names[path].data)

    def map(self, path: Path) -> memoryview:
        return memoryview(self.read(path))

    def rename(self, old: Path, new: Path) -> None:
        self.work("rename")
        self._platter.change((new, self._platter.names[old]), (old, None))
        self.work("renamed", fails=False)

    def remove(self, path: Path) -> None:
        self.work("remove")
        if path not in self._platter.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        self._platter.change((path, None))

    def sync_folder(self, folder: Path) -> None:
        self.work("sync_folder")
        self._platter.settle(folder)
        self.work("synced", fails=False)

    def write(self, file: _File, data: bytes | memoryview) -> None:
        """Append to a file; of what fails, a part."""
        part = self._chance.randint(0, len(data))
        try:
            self.work("write")
        except BaseException:
            if not self.dead or self._chance.random() < 0.5:
                file.data += data[:part]
            raise
        file.data += data

    def sync(self, file: _File) -> None:
        """Make a file's bytes safe."""
        self.work("sync")
        file.safe = len(file.data)

    def work(self, what: str, *, fails: bool = True) -> None:
        """Take some time; fail by chance, or die."""
        if self.dead:
            raise CrashError
        if self._faults.strikes("slow disk"):
            self._clock.advance(_SLOW_S * self._chance.random())
        if self._faults.strikes("crash"):
            self.dead = True
            raise CrashError
        kind = "disk reads" if what in {"read", "names"} else "disk"
        if fails and self._faults.strikes(kind):
            raise OSError(self._chance.choice(_ERRORS), f"the disk fails to {what}")


class SimulatedFile:
    """A file that is being written."""

    def __init__(self, disk: SimulatedDisk, file: _File) -> None:
        self._disk = disk
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        self._disk.write(self._file, memoryview(data).cast("B"))

    def sync(self) -> None:
        self._disk.sync(self._file)

    def close(self) -> None:
        pass
