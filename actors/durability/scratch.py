"""A disk for the checkpoints of a process that leaves nothing behind: all files in one anonymous temporary file.

Used for a store that is not lasting. The kernel frees the space when the process ends, however it ends.
"""

import errno
import os
import weakref
from pathlib import Path

from typing_extensions import override

from actors.durability.disk import Disk, File
from actors.durability.spool import Handle, Spool

_BLOCK_BYTES = 1 << 20
_WHOLE_BYTES = 1 << 16
"""Bytes from which on what is written becomes a block of its own, so that it is not copied first."""


class ScratchFile(File):
    """A file as blocks of a spool, each of at most about 1 MiB, or a longer one. It can be read after `close`."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._blocks: list[Handle] = []
        self._begun = bytearray()

    @override
    def write(self, data: bytes | memoryview) -> None:
        if memoryview(data).nbytes >= _WHOLE_BYTES:
            self.close()
            self._blocks.append(self._spool.put(memoryview(data).cast("B")))
            return
        self._begun += data
        if len(self._begun) >= _BLOCK_BYTES:
            self._put()

    @override
    def sync(self) -> None:
        """Do nothing: no other process reads the file."""

    @override
    def close(self) -> None:
        if self._begun:
            self._put()

    def read(self) -> bytes:
        """Return the content."""
        return b"".join(map(self._spool.get, self._blocks))

    def free(self) -> None:
        """Free the blocks."""
        for block in self._blocks:
            self._spool.free(block)
        self._blocks.clear()

    def _put(self) -> None:
        data, self._begun = self._begun, bytearray()
        self._blocks.append(self._spool.put(data))


class ScratchDisk(Disk):
    """Keeps files in a spool in the system's temporary folder (see `TMPDIR`), so that they take no memory. One thread uses it.

    The first write makes the temporary file. Folders are not made: the path of a file is only its name.
    """

    def __init__(self) -> None:
        self._spool = Spool()
        self._files: dict[Path, ScratchFile] = {}
        weakref.finalize(self, self._spool.close)

    @override
    def make_folder(self, folder: Path) -> None:
        """Do nothing."""

    @override
    def sync_folder(self, folder: Path) -> None:
        """Do nothing."""

    @override
    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self._files if path.parent == folder]

    @override
    def create(self, path: Path) -> ScratchFile:
        self._free(path)
        file = self._files[path] = ScratchFile(self._spool)
        return file

    @override
    def read(self, path: Path) -> bytes:
        return self._found(path).read()

    @override
    def map(self, path: Path) -> memoryview:
        return memoryview(self.read(path))

    @override
    def rename(self, old: Path, new: Path) -> None:
        file = self._found(old)
        self._free(new)
        self._files[new] = file
        del self._files[old]

    @override
    def remove(self, path: Path) -> None:
        self._found(path)
        self._free(path)

    def _found(self, path: Path) -> ScratchFile:
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._files[path]

    def _free(self, path: Path) -> None:
        file = self._files.pop(path, None)
        if file is not None:
            file.free()
