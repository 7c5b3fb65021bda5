"""A disk in memory for `actors.durability.disk`, and its content after a loss of power.

The bytes of a file are safe up to its last sync; a name is safe after a sync of its folder. By chance, unsafe bytes and names
survive a loss of power, are lost, survive in part, or become zeros.
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
    """A change of names that is not safe yet: the new file of each path, None if the path is removed."""

    names: tuple[tuple[Path, _File | None], ...]


class Platter:
    """The content of a disk. It outlives a process."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.names: dict[Path, _File] = {}
        self.safe: dict[Path, _File] = {}
        self.changes: list[_Change] = []

    def copy(self) -> "Platter":
        """Return a safe copy of everything that a reader sees."""
        made = Platter(self._chance)
        made.names = {path: _File(bytearray(file.data), len(file.data)) for path, file in self.names.items()}
        made.safe = dict(made.names)
        return made

    def lose_power(self) -> None:
        """Lose unsafe bytes and names, by chance."""
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
        """Change names. The change is not safe yet."""
        change = _Change(names)
        self.changes.append(change)
        _apply(self.names, change)

    def sync(self, folder: Path) -> None:
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
    """The disk of one process. After the process is `dead`, nothing is written to the platter any more."""

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
        self._platter.sync(folder)
        self.work("synced", fails=False)

    def write(self, file: _File, data: bytes | memoryview) -> None:
        """Append to a file. If it fails, a part of the bytes is written."""
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

    def work(self, operation: str, *, fails: bool = True) -> None:
        """Take some time. Fail by chance, or raise CrashError."""
        if self.dead:
            raise CrashError
        if self._faults.strikes("slow disk"):
            self._clock.advance(_SLOW_S * self._chance.random())
        if self._faults.strikes("crash"):
            self.dead = True
            raise CrashError
        kind = "disk reads" if operation in {"read", "names"} else "disk"
        if fails and self._faults.strikes(kind):
            raise OSError(self._chance.choice(_ERRORS), f"the disk fails to {operation}")


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
