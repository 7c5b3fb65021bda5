"""The lock of a data folder, and of an output file: one process at a time may use it."""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from actors.durability.disk import Disk

_NAME = re.compile(r"[0-9a-f]{12}")


@contextmanager
def owned(folder: Path) -> Iterator[str]:
    """Lock `folder`, created if absent, for this process. Yields the random name that the folder got when it was created.

    The kernel releases the lock when the process ends, however it ends. Raises ValueError if another process holds the lock or
    the folder's name is damaged, OSError if the folder cannot be created or written to.
    """
    disk = Disk()
    absent = [each for each in (folder, *folder.parents) if not each.exists()]
    disk.make_folder(folder)
    for each in absent:
        disk.sync_folder(each.parent)
    try:
        lock = locked(folder / "lock")
    except BlockingIOError as error:
        raise ValueError(f"data_dir: {folder} is in use by process {error}") from None
    with lock:
        yield _name(folder / "name", disk)


def locked(path: Path) -> TextIO:
    """Create and lock the file `path` until it is closed, or the process ends. Its content is the process id.

    Raises BlockingIOError with the process id of the other process if that one holds the lock, and OSError as `open` does.
    """
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise BlockingIOError(holder) from None
    except OSError:
        lock.close()
        raise
    return lock


def _name(path: Path, disk: Disk) -> str:
    """Return the folder's random name, which never changes, because transactional ids are made from it.

    A new name is safe on disk before it is returned.
    """
    if not path.exists():
        name = uuid.uuid4().hex[:12]
        temporary = path.with_suffix(".tmp")
        file = disk.create(temporary)
        try:
            file.write(name.encode())
            file.sync()
        finally:
            file.close()
        disk.rename(temporary, path)
        disk.sync_folder(path.parent)
        return name
    name = path.read_bytes().decode("ascii", "replace").strip()
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{path}: expected a name of twelve hexadecimal digits, got {name[:40]!r}")
    return name
