"""The files that a file sink has written to: which records are in which file.

Used by the file sink, on its thread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.replies import Place
from actors.sinks.file.extents import Tail
from actors.sinks.file.line_index import LineIndex, Run

_MOST_PARTS = 1_000
"""Older files whose records can be found by number. A checkpoint names each of them."""


@dataclass(slots=True)
class Part:
    """The records in one file: those of `index`, after `first` records in older files. The file had `begin` bytes before.

    `tail` is the end of the last record that was written, as a proof that the file still has the records.
    """

    path: Path
    inode: int
    first: int
    begin: int
    index: LineIndex
    tail: Tail = field(default_factory=Tail)
    unchanged: list[Any] | None = None

    @property
    def count(self) -> int:
        """The number of records that can be found."""
        return self.index.count

    @property
    def size(self) -> int:
        """The end of the last record in the file."""
        return max(self.begin, self.index.end)

    def find(self, number: int) -> Place | None:
        """Return the place of its record `number`, from 0. After a restart the file is read once for that."""
        try:
            found = self.index.find(self.path, number)
        except OSError:  # another process has deleted the file
            return None
        return None if found is None else Place(self.path, *found)

    def drop(self, runs: int) -> None:
        """Forget the records of the oldest runs."""
        self.first += self.index.drop(runs)
        self.unchanged = None

    def saved(self) -> list[Any]:
        """Return the part for a checkpoint."""
        return [self.path.name, self.inode, self.first, self.begin, self.count, self.size, self.index.runs]


def part_of(path: Path, saved: Sequence[Any]) -> Part:
    """Return a part of a checkpoint. Versions without runs took all lines of the file from `begin` on for records."""
    _, inode, first, begin, count, size, *more = saved
    runs = [Run(*run) for run in more[0]] if more else [Run(begin, size, count, None)]
    return Part(path, inode, first, begin, LineIndex([run for run in runs if run.count], end=size))


class Parts:
    """The parts of one output, oldest first. The last one grows. At most `most_runs` runs are kept in all: 43 MB."""

    def __init__(self, parts: Iterable[Part] = (), *, most_runs: int = 1 << 16) -> None:
        self._parts: list[Part] = []
        self._most_runs = most_runs
        self._older_runs = 0
        for part in parts:
            self.add(part)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def last(self) -> Part:
        """The part that grows."""
        return self._parts[-1]

    def add(self, part: Part) -> None:
        """Begin a part."""
        self._parts.append(part)
        del self._parts[: max(0, len(self._parts) - 1 - _MOST_PARTS)]
        self._count()
        self.bound()

    def pop(self) -> None:
        """Forget the last part."""
        self._parts.pop()
        self._count()

    def bound(self) -> None:
        """Forget the oldest records if there are too many runs. Call it after each write, because a write may add runs."""
        excess = self._older_runs + len(self.last.index) - self._most_runs
        if excess <= 0:
            return
        excess += self._most_runs // 8  # so the next writes need not do it
        for part in self._parts:
            if (runs := min(excess, len(part.index))) > 0:
                part.drop(runs)
                excess -= runs
        self._parts[:-1] = [part for part in self._parts[:-1] if part.count]
        self._count()

    def place(self, order: int) -> Place | None:
        """Return the place of the `order`-th record, from 1 on; None if there is no such record, or if it is gone."""
        for part in reversed(self._parts):
            if part.first < order <= part.first + part.count:
                return part.find(order - 1 - part.first)
        return None

    def older(self) -> list[list[Any]]:
        """Return all parts but the last one for a checkpoint. Cost: nothing for a part that was returned before."""
        for part in self._parts[:-1]:
            part.unchanged = part.unchanged or part.saved()
        return [part.unchanged for part in self._parts[:-1] if part.unchanged]

    def _count(self) -> None:
        self._older_runs = sum(len(part.index) for part in self._parts[:-1])
