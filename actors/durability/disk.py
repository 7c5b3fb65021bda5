"""The file system that the store uses. A test replaces it by an object with the same methods.

All state is written through `Disk`. Each failure is an OSError. No call is retried.
"""

import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO


class File:
    """A file that is being written."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`. A disk that is nearly full may write a part first."""
        rest = memoryview(data)
        while rest:
            taken = self._file.write(rest)
            if not taken:
                raise OSError(errno.EIO, "the disk takes no more bytes and reports no reason", self._file.name)
            rest = rest[taken:]

    def sync(self) -> None:
        """Wait until the written bytes would outlast a loss of power."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file. Does not make it safe."""
        self._file.close()


class Disk:
    """The machine's file system, as far as the store needs it. Each method may block, and may raise OSError."""

    def make_folder(self, folder: Path) -> None:
        """Make `folder` and its parents if they are absent."""
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """Return the names of the files in `folder`, in no order."""
        return [entry.name for entry in os.scandir(folder) if entry.is_file()]

    def create(self, path: Path) -> File:
        """Begin an empty file; it replaces a file of the same name."""
        return File(path)

    def read(self, path: Path) -> bytes:
        """Return the content of a file."""
        return path.read_bytes()

    def map(self, path: Path) -> memoryview:
        """Return the content of a file, which the kernel reads page by page when it is accessed."""
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file; it replaces a file of the new name."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in `folder` would outlast a loss of power."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
