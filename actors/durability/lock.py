"""One process a data folder: the second one is told who has it."""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.durability.disk import LocalDisk

_NAME = re.compile(r"[0-9a-f]{12}")


@contextmanager
def owned(folder: Path) -> Iterator[str]:
    """Have `folder`, made where it is absent, for this process alone; yields the name that it got when it was made.

    The kernel gives it free when the process ends, however it ends. Raises ValueError where another process has it, or where
    its name is damaged, OSError where it cannot be made or written to.
    """
    disk = LocalDisk()
    absent = [each for each in (folder, *folder.parents) if not each.exists()]
    disk.make_folder(folder)
    for each in absent:
        disk.sync_folder(each.parent)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ValueError(f"data_dir: {folder} is in use by process {lock.read().strip() or 'unknown'}") from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield _name(folder / "name", disk)


def _name(path: Path, disk: LocalDisk) -> str:
    """Return the folder's name in the world: a random one that stays with it, as what is out is known by it.

    It is safe before anybody hears of it.
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
