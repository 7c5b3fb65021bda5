"""The lock of an output file: two processes on one file would write each line twice, and cut off the lines of each other.

Used by the file sink, on its thread.
"""

from pathlib import Path
from typing import TextIO

from actors.durability.lock import locked
from actors.sinks.file.extents import is_at
from actors.sinks.file.write_log import READ_ONLY


class FileLock:
    """Locks an output by a hidden file beside it, which survives renaming. Devices and pipes need no lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: TextIO | None = None

    def take(self) -> None:
        """Take the lock, again if its file was deleted, because then it keeps no process away.

        Raises OSError if another process has the lock, or if the disk refuses. There is no lock in a read-only folder.
        """
        path = self._path.with_name(f".{self._path.name}.lock")
        if self._lock is not None and is_at(self._lock.fileno(), path):
            return
        if self._path.exists() and not self._path.is_file():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # the first write reports it, if it still fails then
            return
        try:
            lock = locked(path)
        except BlockingIOError as error:
            raise OSError(f"{self._path}: process {error} writes to this file: give each service a file of its own") from None
        except OSError as error:
            if error.errno in READ_ONLY:  # the folder; the file itself may be writable
                return
            raise
        self.close()
        self._lock = lock

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
