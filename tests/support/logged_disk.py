"""A disk in memory that logs every operation, and the possible states of the disk after a loss of power.

Data are safe after a sync of their file, a name is safe after a sync of its folder. All other changes are `pending`: each
model of loss decides which of them survive. Renames are atomic, as on every journalling file system.
"""

import errno
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Files = dict[Path, bytes]

_MOST_SUBSETS = 16
_CUTS = 4


@dataclass(frozen=True, slots=True)
class Made:
    """A folder was created."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Wrote:
    """Bytes were written at a place of the file `inode`."""

    inode: int
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """The bytes of a file became safe."""

    inode: int


@dataclass(frozen=True, slots=True)
class Named:
    """Names of a folder changed, all at once; None: the name was removed."""

    folder: Path
    names: tuple[tuple[Path, int | None], ...]


@dataclass(frozen=True, slots=True)
class FolderSynced:
    """The names in a folder became safe."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of the test in the log."""

    what: Any


Operation = Made | Wrote | Synced | Named | FolderSynced | Mark


@dataclass
class LoggedDisk:
    """Keeps files in memory; `log` has every change in order. `before` may raise the disk's failure."""

    files: dict[Path, int] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    log: list[Operation] = field(default_factory=list)
    before: Callable[[str, Path], None] = lambda _what, _path: None
    _data: dict[int, bytearray] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Files, folders: set[Path]) -> "LoggedDisk":
        """Return a disk that holds `files`, all of them safe. Its log begins with them."""
        disk = cls()
        for folder in folders:
            disk.make_folder(folder)
        for path, data in files.items():
            file = disk.create(path)
            file.write(data)
            file.sync()
        disk.log += [FolderSynced(folder) for folder in disk.folders]
        return disk

    def contents(self) -> Files:
        """Return the content of each file."""
        return {path: bytes(self._data[inode]) for path, inode in self.files.items()}

    def make_folder(self, folder: Path) -> None:
        self.before("make_folder", folder)
        for each in reversed([folder, *folder.parents]):
            if each not in self.folders:
                self.folders.add(each)
                self.log.append(Made(each))

    def names(self, folder: Path) -> list[str]:
        self.before("names", folder)
        if folder not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(folder))
        return [path.name for path in self.files if path.parent == folder]

    def create(self, path: Path) -> "LoggedFile":
        self.before("create", path)
        inode = len(self._data)
        self._data[inode] = bytearray()
        self._name(path.parent, (path, inode))
        return LoggedFile(self, path, inode)

    def read(self, path: Path) -> bytes:
        self.before("read", path)
        return bytes(self._data[self._inode(path)])

    def map(self, path: Path) -> memoryview:
        return memoryview(self.read(path))

    def rename(self, old: Path, new: Path) -> None:
        self.before("rename", old)
        self._name(new.parent, (new, self._inode(old)), (old, None))

    def remove(self, path: Path) -> None:
        self.before("remove", path)
        self._inode(path)
        self._name(path.parent, (path, None))

    def sync_folder(self, folder: Path) -> None:
        self.before("sync_folder", folder)
        self.log.append(FolderSynced(folder))

    def write(self, path: Path, inode: int, data: bytes | memoryview) -> None:
        """Append to a file. If the write fails, append a half of the bytes."""
        whole = bytes(data)
        try:
            self.before("write", path)
        except OSError:
            self._append(inode, whole[: len(whole) // 2])
            raise
        self._append(inode, whole)

    def _append(self, inode: int, data: bytes) -> None:
        if data:
            self.log.append(Wrote(inode, len(self._data[inode]), data))
            self._data[inode] += data

    def _name(self, folder: Path, *names: tuple[Path, int | None]) -> None:
        self.log.append(Named(folder, names))
        _rename(self.files, names)

    def _inode(self, path: Path) -> int:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self.files[path]


class LoggedFile:
    """A file that is being written."""

    def __init__(self, disk: LoggedDisk, path: Path, inode: int) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode

    def write(self, data: bytes | memoryview) -> None:
        self._disk.write(self._path, self._inode, data)

    def sync(self) -> None:
        self._disk.before("sync", self._path)
        self._disk.log.append(Synced(self._inode))

    def close(self) -> None:
        self._disk.before("close", self._path)


class PassingDisk:
    """Passes every operation on to another disk. A subclass replaces some of them."""

    def __init__(self, disk: Any) -> None:
        self.disk = disk

    def __getattr__(self, operation: str) -> Any:
        return getattr(self.disk, operation)


# What a loss of power leaves -----------------------------------------------------------------------------------------


def left_after(log: Sequence[Operation], chance: random.Random) -> Iterator[tuple[str, Files]]:
    """Yield each state that a loss of power right after `log` may leave, with the name of the model.

    All pending changes are lost; or all survive except for the end of the last write; or any part of them survives, in any
    order.
    """
    pending = _pending(log)
    unsafe, first = set(pending), min(pending, default=len(log))
    safe = _Replayed()
    safe.replay(log[:first])

    def left(fate: Callable[[int], Operation | None]) -> Files:
        """Return the files if `fate` returns the change that a pending place of the log makes, or None if it is lost."""
        replayed = safe.copy()
        replayed.replay(fate(place) if place in unsafe else log[place] for place in range(first, len(log)))
        return replayed.files()

    yield "unsynced lost", left(lambda _: None)
    yield "all there", left(lambda place: log[place])
    last = max((place for place, each in enumerate(log) if isinstance(each, Wrote)), default=-1)
    torn = list(_torn(log[last], chance)) if last in pending else []
    for end in torn:
        yield "last write torn", left(lambda place, end=end: end if place == last else log[place])
    for kept in _subsets(pending, chance):
        yield "unsynced reordered", left(lambda place, kept=kept: log[place] if place in kept else None)
        if last in kept:
            fates = {place: log[place] for place in kept} | {last: chance.choice(torn)}
            yield "unsynced reordered, last write torn", left(fates.get)


def _pending(log: Sequence[Operation]) -> list[int]:
    """Return the places of pending changes in the log."""
    synced: set[int | Path] = set()
    pending = []
    for place in range(len(log) - 1, -1, -1):
        match log[place]:
            case Synced(what) | FolderSynced(what):
                synced.add(what)
            case Wrote(what) | Named(what):
                if what not in synced:
                    pending.append(place)
            case Made(folder):
                if folder.parent not in synced and folder.parent != folder:
                    pending.append(place)
    return pending[::-1]


@dataclass
class _Replayed:
    """The disk after a part of a log: names and their inodes, the bytes of each inode, and the folders."""

    names: dict[Path, int] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    folders: frozenset[Path] = frozenset()

    def copy(self) -> "_Replayed":
        return _Replayed(dict(self.names), dict(self.data), self.folders)

    def replay(self, operations: Iterable[Operation | None]) -> None:
        """Make the changes of `operations`; None is a change that is lost."""
        for each in operations:
            match each:
                case Wrote(inode, at, piece):
                    held = self.data.get(inode, b"")
                    self.data[inode] = held[:at].ljust(at, b"\0") + piece + held[at + len(piece) :]
                case Named(_, changed):
                    _rename(self.names, changed)
                case Made(folder):
                    self.folders |= {folder}

    def files(self) -> Files:
        """Return the files in folders that are there."""
        there = {folder for folder in self.folders if self.folders.issuperset(folder.parents)}
        return {path: self.data.get(inode, b"") for path, inode in self.names.items() if path.parent in there}


def _torn(write: Operation, chance: random.Random) -> Iterator[Wrote]:
    """Yield the results of an incomplete write: its first bytes, followed by nothing, zeros or random bytes."""
    assert isinstance(write, Wrote), "only writes tear"
    size = len(write.data)
    cuts = (
        range(size) if size <= _CUTS else sorted({0, 1, size // 2, size - 1, *(chance.randrange(size) for _ in range(_CUTS))})
    )
    for cut in cuts:
        head = write.data[:cut]
        for tail in (b"", bytes(size - cut), chance.randbytes(size - cut)):
            yield Wrote(write.inode, write.at, head + tail)


def _subsets(places: list[int], chance: random.Random) -> Iterator[frozenset[int]]:
    if 2 ** len(places) <= _MOST_SUBSETS:
        for count in range(len(places) + 1):
            yield from map(frozenset, itertools.combinations(places, count))
        return
    for _ in range(_MOST_SUBSETS):
        share = chance.random()
        yield frozenset(place for place in places if chance.random() < share)


def _rename(names: dict[Path, int], changed: tuple[tuple[Path, int | None], ...]) -> None:
    for path, inode in changed:
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


class FailingDisk(PassingDisk):
    """A disk on which `before` may raise at each operation. A write that fails writes a half of its bytes."""

    def __init__(self, disk: Any) -> None:
        super().__init__(disk)
        self.before: Callable[[str, Path], None] = nothing

    def __getattr__(self, operation: str) -> Any:
        method = super().__getattr__(operation)

        def called(path: Path, *rest: Path) -> Any:
            self.before(operation, path)
            made = method(path, *rest)
            return FailingFile(self, path, made) if operation == "create" else made

        return called


class FailingFile:
    """A file on a disk that fails."""

    def __init__(self, disk: FailingDisk, path: Path, file: Any) -> None:
        self._disk = disk
        self._path = path
        self._file = file
        self.close = file.close

    def write(self, data: bytes | memoryview) -> None:
        try:
            self._disk.before("write", self._path)
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        self._file.write(data)

    def sync(self) -> None:
        self._disk.before("sync", self._path)
        self._file.sync()


class Touched:
    """Lets every operation pass, and stores it. It must not raise, because the keeper would treat that as a failure of the disk."""

    def __init__(self) -> None:
        self.all: set[tuple[str, Path]] = set()

    def __call__(self, what: str, path: Path) -> None:
        self.all.add((what, path))


def nothing(what: str, path: Path) -> None:
    """Let an operation pass."""
