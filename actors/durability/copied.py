"""A store whose checkpoints are also copied to another place, from which a process that has no files of its own takes them.

Used by the shards of a cluster. The other place is behind `Copies`; this file names, checks and writes the files.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from actors.columns.snapshot import DamagedError, State
from actors.durability.disk import Disk
from actors.durability.store import Store, kind_of, name_of, number_of

_CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Copied:
    """A file as the other place has it: its name, its length in bytes, and its SHA-256 in hexadecimal digits."""

    name: str
    nbytes: int
    sha256: str


class Copies(Protocol):
    """The copies of one store's files. Called on the thread of the store."""

    def fetch(self, store: "CopiedStore") -> int:
        """Have `store` take the newest whole checkpoint, unless it has it already.

        Returns the highest number of any file that is there, 0 without one. Raises OSError if that cannot be learned now.
        """

    def put(self, names: Sequence[str], content: Callable[[str], memoryview]) -> str | None:
        """Copy the files of a checkpoint, the last of `names`. A failure costs this copy only, and its reason is returned."""


class CopiedStore(Store):
    """The files in `folder` of `disk`, which outlast the process, and their `copies`. The first `open` fetches them."""

    def __init__(self, folder: Path, disk: Disk, copies: Copies) -> None:
        super().__init__(folder, disk)
        self._copies = copies
        self._fetched = False

    @override
    def open(self, *, at_least: int = 0) -> None:
        super().open(at_least=at_least)
        if not self._fetched:
            highest = self._copies.fetch(self)
            self._fetched = True
            super().open(at_least=max(at_least, highest))

    @override
    def write_checkpoint(self, state: State) -> tuple[int, int]:
        number, nbytes = super().write_checkpoint(state)
        generations = [str(row[1]) for row in state["aged"]]
        self.copy_problem = self._copies.put([*generations, name_of(_CHECKPOINT, number)], self.content)
        return number, nbytes

    def content(self, name: str) -> memoryview:
        """Return the mapped content of a file. Raises DamagedError if `name` is not the name of a file of a store."""
        return self._disk.map(self._path(name))

    def has(self, files: Sequence[Copied]) -> bool:
        """Whether all these files are here: each with its length, and the checkpoint, which names the others, byte by byte."""
        try:
            held = [(each, self.content(each.name)) for each in files]
        except (OSError, DamagedError):
            return False
        return all(
            len(data) == each.nbytes and (kind_of(each.name) != _CHECKPOINT or sha256_of(data) == each.sha256)
            for each, data in held
        )

    def take(self, files: Sequence[Copied], pieces: Callable[[Copied], Iterable[bytes | memoryview]]) -> None:
        """Replace all files by `files`, whose bytes `pieces` returns piece by piece. One piece at a time is in memory.

        Raises DamagedError, before anything is replaced, if a file has other bytes than its length and SHA-256 say; OSError.
        """
        written = [(self._path(each.name), each) for each in files]
        try:
            for path, each in written:
                self._receive(path.with_name(path.name + self.temporary), each, pieces(each))
        except Exception:  # whatever failed, nothing of it stays on the disk, and the caller gets the error
            for path, _ in written:
                with contextlib.suppress(OSError):
                    self._disk.remove(path.with_name(path.name + self.temporary))
            raise
        own = [name for name in self._disk.names(self.folder) if number_of(name) is not None]
        naming = [name for name in own if kind_of(name) == _CHECKPOINT]
        self._remove(naming)  # before what they name, as in `sweep`
        self._disk.sync_folder(self.folder)
        self._remove(name for name in own if name not in naming)
        for path, _ in sorted(written, key=lambda each: kind_of(each[1].name) == _CHECKPOINT):
            if kind_of(path.name) == _CHECKPOINT:  # after what it names
                self._disk.sync_folder(self.folder)
            self._disk.rename(path.with_name(path.name + self.temporary), path)
        self._disk.sync_folder(self.folder)

    def _receive(self, path: Path, wanted: Copied, pieces: Iterable[bytes | memoryview]) -> None:
        """Write one file, and compare it with what it should be. Raises DamagedError."""
        file = self._disk.create(path)
        try:
            nbytes, digest = 0, sha256()
            for piece in _up_to(pieces, wanted.nbytes):
                file.write(piece)
                digest.update(piece)
                nbytes += len(piece)
            file.sync()
        finally:
            file.close()
        if nbytes != wanted.nbytes or digest.hexdigest() != wanted.sha256:
            raise DamagedError(f"the copy of {wanted.name} has {nbytes} bytes, and not the {wanted.nbytes} that were written")


def sha256_of(data: bytes | memoryview) -> str:
    """Return the SHA-256 of `data` in hexadecimal digits."""
    return sha256(data).hexdigest()


def _up_to(pieces: Iterable[bytes | memoryview], nbytes: int) -> Iterator[bytes | memoryview]:
    """Yield pieces until they are longer than `nbytes`: a wrong copy must not fill the disk."""
    taken = 0
    for piece in pieces:
        taken += len(piece)
        yield piece
        if taken > nbytes:
            return
