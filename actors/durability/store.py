"""One stream's files: generations, each written once, and checkpoints, each of which names its generations.

Owned by the keeper. A file is written under a temporary name, made safe, and then renamed, so that no file is ever incomplete
under its final name. The two newest checkpoints are kept with their generations: the older one is needed if the newest is not
readable, or its results are not committed.
"""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from actors.columns import snapshot
from actors.columns.snapshot import State
from actors.durability.disk import Disk

_NAME = re.compile(r"(generation|checkpoint)-([0-9]{10,18})\.firn")
_TEMPORARY = ".tmp"
_KEPT_CHECKPOINTS = 2


class Store:
    """The files in `folder` of `disk`. Any method may raise OSError; then no file under a final name has changed.

    `lasting` is false if the files end with the process, so that no later process reads them.
    """

    temporary = _TEMPORARY
    """The end of the name of a file that is not whole yet."""

    copy_problem: str | None = None
    """Why the newest checkpoint is not in the other place, if there is one."""

    def __init__(self, folder: Path, disk: Disk, *, lasting: bool = True) -> None:
        self.folder = folder
        self.lasting = lasting
        self._disk = disk
        self._serial = 0
        self._void: set[str] = set()

    def open(self, *, at_least: int = 0) -> None:
        """Make the folder if it is absent. Call this first. New numbers are above those of all files and above `at_least`."""
        self._disk.make_folder(self.folder)
        self._disk.sync_folder(self.folder.parent)
        self._serial = max([self._serial, at_least, *(number for _, number in self._files())])

    def write_generation(self, state: State) -> tuple[str, int]:
        """Write a generation. Returns its name, which is never used again, and its bytes."""
        self._serial += 1
        return self._write("generation", self._serial, state)

    def write_checkpoint(self, state: State) -> tuple[int, int]:
        """Write the next checkpoint. Returns its number and its bytes. It is safe on disk when this returns."""
        self._serial += 1
        _, nbytes = self._write("checkpoint", self._serial, state)
        return self._serial, nbytes

    def checkpoints(self) -> list[int]:
        """Return the numbers of all checkpoints, the newest first."""
        return sorted((number for kind, number in self._files() if kind == "checkpoint"), reverse=True)

    def read_checkpoint(self, number: int) -> State:
        """Read a checkpoint. Raises DamagedError."""
        return snapshot.read("checkpoint", self._disk.read(self.folder / name_of("checkpoint", number)))

    def read_generation(self, name: str) -> State:
        """Read a generation into memory. Raises DamagedError."""
        return snapshot.read("generation", self._disk.read(self._path(name)))

    def map_generation(self, name: str) -> State:
        """Map a generation: its bytes are read from the disk when they are accessed. Raises DamagedError."""
        return snapshot.read("generation", self._disk.map(self._path(name)))

    def remove_checkpoint(self, number: int) -> None:
        """Delete a checkpoint that must not be loaded."""
        self._disk.remove(self.folder / name_of("checkpoint", number))
        self._disk.sync_folder(self.folder)

    def sweep(self, named: Iterable[str]) -> list[str]:
        """Delete every file but the two newest checkpoints and the generations `named`. Returns the names deleted.

        A checkpoint is deleted, safely on disk, before the generations that it names. Files of other names stay.
        """
        whole = [name for name in (name_of("checkpoint", number) for number in self.checkpoints()) if name not in self._void]
        kept = {*named, *whole[:_KEPT_CHECKPOINTS]}
        ours = [name for name in self._disk.names(self.folder) if _NAME.fullmatch(name.removesuffix(_TEMPORARY)) is not None]
        self._void.intersection_update(ours)
        old = [name for name in ours if name not in kept]
        naming = [name for name in old if name.startswith("checkpoint")]
        self._remove(naming)
        if len(naming) < len(old):
            if naming:
                self._disk.sync_folder(self.folder)
            self._remove([name for name in old if name not in naming])
        return old

    def _remove(self, names: Iterable[str]) -> None:
        """Delete files. An error is raised after all other files are deleted."""
        problem = None
        for name in names:
            try:
                self._disk.remove(self.folder / name)
            except OSError as error:
                problem = error
        if problem is not None:
            raise problem

    def _write(self, kind: str, number: int, state: State) -> tuple[str, int]:
        """Write a whole file, or none. A part of a file is deleted, because it would keep a full disk full."""
        name = name_of(kind, number)
        path = self.folder / name
        begun = temporary = path.with_name(name + _TEMPORARY)
        try:
            file = self._disk.create(temporary)
            try:
                nbytes = snapshot.write(kind, state, file.write)
                file.sync()
            finally:
                file.close()
            self._disk.rename(temporary, path)
            begun = path
            self._disk.sync_folder(self.folder)
        except Exception:  # an error of the disk, or a state that cannot be written; the caller gets the error
            self._void.add(name)
            with contextlib.suppress(OSError):  # if it cannot be deleted now, the next sweep does
                self._disk.remove(begun)
            raise
        return name, nbytes

    def _files(self) -> list[tuple[str, int]]:
        found = map(_NAME.fullmatch, self._disk.names(self.folder))
        return [(match[1], int(match[2])) for match in found if match is not None]

    def _path(self, name: str) -> Path:
        """Return the path of a generation. The name comes from a file: only a generation's name may become a path."""
        if _NAME.fullmatch(name) is None:
            raise snapshot.DamagedError(f"{name!r} is not the name of a generation")
        return self.folder / name


def name_of(kind: str, number: int) -> str:
    """Return the name of a file.

    >>> name_of("checkpoint", 7), number_of("checkpoint-0000000007.firn"), kind_of("checkpoint-0000000007.firn")
    ('checkpoint-0000000007.firn', 7, 'checkpoint')
    """
    return f"{kind}-{number:010}.firn"


def number_of(name: str) -> int | None:
    """Return the number of a file by its name; None if it is not the name of a generation or of a checkpoint."""
    match = _NAME.fullmatch(name)
    return None if match is None else int(match[2])


def kind_of(name: str) -> str:
    """Return `checkpoint` or `generation` by the name of a file; an empty text if it is neither."""
    match = _NAME.fullmatch(name)
    return "" if match is None else match[1]
