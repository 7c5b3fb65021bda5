"""The lines of ours that stay in an output file, because bytes of another program follow.

Used by the file sink, on its thread.
"""

from collections.abc import Iterable
from zlib import crc32

from actors.sinks.file.extents import Extent, joined, lines_of, read_at


class LeftLines:
    """Lines of ours that a restart or a failed write leaves in the file, because bytes of another program follow.

    An equal result adopts such a line instead of being written again. Each line is adopted once. False if no line is left.
    """

    def __init__(self) -> None:
        self._starts: dict[tuple[int, int], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def extents(self) -> list[Extent]:
        """The places of the lines, for a checkpoint. Cost: a sort of all lines."""
        return joined(Extent(start, start + key[0]) for key, starts in self._starts.items() for start in starts)

    def clear(self) -> None:
        """Forget all lines."""
        self._starts.clear()

    def remember(self, file: int, ours: Iterable[Extent]) -> None:
        """Add the whole lines in these bytes of an open file."""
        for start, end in joined(ours):
            for line in lines_of(read_at(file, start, end - start)):
                if line.endswith(b"\n"):
                    self._starts.setdefault((len(line), crc32(line)), []).append(start)
                start += len(line)  # noqa: PLW2901  # the place of the next line

    def adopt(self, file: int, line: bytes) -> int | None:
        """Return the place of an equal line, which counts as the result from now on; None if there is no such line."""
        key = len(line), crc32(line)
        found = None
        while found is None and (starts := self._starts.get(key)):
            start = starts.pop(0)
            if not starts:
                del self._starts[key]
            if read_at(file, start, len(line)) == line:
                found = start
        return found
