"""The folder of a shard: one for each lease, so that no two processes ever write to one folder.

A new lease takes the files of the newest earlier one as hard links. Files never change once they have their names, so a process
that still writes by the earlier lease, such as one that was frozen, changes and deletes nothing of the new one.
"""

import os
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"lease-([0-9]{1,19})")
_FILE = ".firn"
_TRIES = 3


def folder_of(shard: Path, epoch: int) -> Path:
    """Make the folder of the lease `epoch` below that of the shard, with the files of the newest earlier lease; return it.

    Folders of still earlier leases are deleted. Raises OSError.
    """
    own = shard / f"lease-{epoch}"
    own.mkdir(parents=True, exist_ok=True)
    found = {int(match[1]): path for path in shard.iterdir() if (match := _NAME.fullmatch(path.name)) is not None}
    earlier = sorted((number for number in found if number < epoch), reverse=True)
    if earlier:
        for _ in range(_TRIES):
            before = _files(found[earlier[0]])
            for path in before:
                _link(path, own / path.relative_to(found[earlier[0]]))
            if _files(found[earlier[0]]) == before:  # else its process wrote a checkpoint meanwhile
                break
    for number in earlier[1:]:
        shutil.rmtree(found[number], ignore_errors=True)
    return own


def _files(folder: Path) -> list[Path]:
    """Return the files of a lease: checkpoints first, so that what they name is linked after them."""
    return sorted(path for path in folder.rglob(f"*{_FILE}") if path.is_file())


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, or a copy if the file system has no links. A file that is gone by now is left out."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except (FileExistsError, FileNotFoundError):
        return
    except OSError:
        temporary = new.with_suffix(".copy")
        try:
            shutil.copyfile(old, temporary)
        except FileNotFoundError:
            return
        temporary.replace(new)
