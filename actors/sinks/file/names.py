"""The names of an output file: its own path, and the paths of its renamed files, which end with numbers.

Used by the file sink, on its thread.
"""

from pathlib import Path
from typing import Any

from actors.sinks.file.extents import Tail

_LAST = 1 << 62


class Names:
    """Finds the present file and the renamed files of one output. Each call reads the folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def present(self) -> list[Path]:
        """Return the paths of the present file, if it exists, and of the renamed files."""
        if not self._path.parent.is_dir():
            return []
        return [path for path in self._path.parent.iterdir() if self.number(path) > 0 and path.is_file()]

    def following(self) -> int:
        """Return the number for the next renamed file."""
        return 1 + max((self.number(path) for path in self.present() if path != self._path), default=0)

    def number(self, path: Path) -> int:
        """Return the number that a renamed file has; for the present file a larger number, for any other file 0."""
        if path == self._path:
            return _LAST
        stem, _, number = path.name.rpartition(".")
        return int(number) if stem == self._path.name and number.isascii() and number.isdecimal() else 0

    def younger(self, than: Path) -> list[Path]:
        """Return the paths of the files that were begun after `than`."""
        return [path for path in self.present() if self.number(path) > self.number(than)]

    def find(self, place: dict[str, Any]) -> Path | None:
        """Return the file of a checkpoint, under its present name; None if no file is certainly that one."""
        tail = Tail.before(place["size"], place["tail"])
        alike = [path for path in self.present() if self.number(path) >= place["next"] and _has(path, tail)]
        same = [path for path in alike if path.stat().st_ino == place["inode"]]
        copied = [path for path in alike if path == self._path and place["size"]]
        return next(iter([*same, *copied]), None)


def _has(path: Path, tail: Tail) -> bool:
    with path.open("rb") as file:
        return tail.is_in(file.fileno())
