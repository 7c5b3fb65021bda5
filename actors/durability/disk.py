"""The file system that the store uses, behind a contract, so that a test can replace it.

All state is written through `Disk`. Each failure is an OSError. No call is retried.
"""

import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO, Protocol


class Writing(Protocol):
    """A file that is being written."""

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""

    def sync(self) -> None:
        """Wait until the written bytes would outlast a loss of power."""

    def close(self) -> None:
        """Close the file. Does not make it safe."""


class Disk(Protocol):
    """The operations of a file system that the store needs. Each may block, and may raise OSError."""

    def make_folder(self, folder: Path) -> None:
        """Make `folder` and its parents if they are absent."""

    def names(self, folder: Path) -> list[str]:
        """Return the names of the files in `folder`, in no order."""

    def create(self, path: Path) -> Writing:
        """Begin an empty file; it replaces a file of the same name."""

    def read(self, path: Path) -> bytes:
        """Return the content of a file."""

    def map(self, path: Path) -> memoryview:
        """Return the content of a file, which the kernel reads page by page when it is accessed."""

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file; it replaces a file of the new name."""

    def remove(self, path: Path) -> None:
        """Delete a file."""

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in `folder` would outlast a loss of power."""


class LocalDisk:
    """The machine's own file system."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder."""
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """List a folder's files."""
        return [entry.name for entry in os.scandir(folder) if entry.is_file()]

    def create(self, path: Path) -> "LocalFile":
        """Begin a file."""
        return LocalFile(path)

    def read(self, path: Path) -> bytes:
        """Read a file."""
        return path.read_bytes()

    def map(self, path: Path) -> memoryview:
        """Map a file."""
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Make a folder's names safe."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class LocalFile:
    """A file that is being written on the machine's own file system."""

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
        """Make it safe."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close it."""
        self._file.close()
