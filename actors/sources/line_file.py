"""The source of the lines of a file, plain or gzip, which can be read again from any line.

It has one partition, 0, whose offsets count lines.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from actors.columns.values import Values
from actors.sources.blocks import Blocks
from actors.sources.line_splitter import BLOCK, Splitter
from actors.sources.lines import LineSource
from actors.sources.packed import MAGIC, Unpacker
from actors.sources.polled import Gap, Place

_BEGINNING = 1 << 16


class FileStream:
    """A file, plain or gzip, read in blocks. Raises OSError if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        packed = self._file.read(len(MAGIC)) == MAGIC
        self._file.seek(0)
        self._unpacker = Unpacker(self._file) if packed else None
        self._cut_off = False

    @property
    def damage(self) -> str | None:
        """The place and kind of the damage at which the stream ended; None without damage."""
        return None if self._unpacker is None else self._unpacker.damage

    def read(self, timeout_s: float, most: int = BLOCK) -> list[bytes]:  # noqa: ARG002  # the protocol's
        """Return the next bytes; none at the end. Gives all bytes before a damage, and ends a last line that is whole there."""
        piece = self._file.read(most) if self._unpacker is None else self._unpacked(self._unpacker, most)
        return [piece] if piece else []

    def _unpacked(self, unpacker: Unpacker, most: int) -> bytes:
        piece = unpacker.read(most)
        if not piece and self._cut_off and self.damage is not None and unpacker.whole:
            piece = b"\n"
        self._cut_off = bool(piece) and not piece.endswith(b"\n")
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FileSource(LineSource):
    """Reads a file once to its end, from the offset that `open` gets. With `once`, a file that cannot be opened is an error.

    A gzip file is read up to its damage, if it is damaged: every whole line before it is given, the rest is a gap, and
    `on_failure` gets the reason.

    A file's identity is its inode and a hash of its beginning. So a copy is the same file, and other content is another file.
    """

    def __init__(self, path: Path, *, once: bool, on_error: Callable[[str], None], on_failure: Callable[[str], None]) -> None:
        self._path = path
        self._once = once
        self._on_failure = on_failure
        self._file: FileStream | None = None
        super().__init__(self._connected, on_error=on_error, steady=True)

    def open(self, place: Place) -> bool:
        """Begin at a line. Cost: 0.1 us a skipped line.

        If the file cannot be opened, raises OSError with `once`; else reports the reason, and returns False.
        """
        wanted, known = place.offsets.get(0, 0), place.identity or self._identity
        try:
            same = known is None or _is_still(self._path, known)
            if not same or not self._back_to(wanted):
                self.close()
                self._blocks = Blocks(self._connect(), whole=True)
                self._splitter, self._place, self._next = Splitter(), 0, 0
                self._lines = self._later = Values.of([])
                self.finished = self._ended = False
            self._identity = _identity_of(self._path)
        except OSError as error:
            if self._once:
                raise
            self._on_error(str(error))
            return False
        self._epoch = place.epoch + (not same)
        if not same:
            self._missing("recreated")
            return True
        while self._next < wanted and not self.finished:
            self.poll(wanted - self._next, 0.1)
        if self._next < wanted:
            self._missing("shrank")
        return True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = self._blocks = None

    def _connected(self) -> FileStream:
        self._file = FileStream(self._path)
        return self._file

    def _last(self) -> Values:
        """Return the last line if no line feed ended it. A line that the damage cuts off is dropped."""
        if self._file is None or self._file.damage is None:
            return super()._last()
        self._gaps.append(Gap(0, None, "damaged"))
        self._on_failure(f"{self._path}: {self._file.damage}; the lines before it are read")
        return Values.of([])


def _identity_of(path: Path) -> str:
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    return f"{path.stat().st_ino}:{len(beginning)}:{hashlib.blake2b(beginning, digest_size=16).hexdigest()}"


def _is_still(path: Path, known: str) -> bool:
    """Whether a file has the identity `known`: the same beginning; or, if the file is too short to compare, the same inode."""
    inode, length, digest = known.split(":")
    with path.open("rb") as file:
        beginning = file.read(int(length))
    if len(beginning) < int(length):
        return path.stat().st_ino == int(inode)
    return hashlib.blake2b(beginning, digest_size=16).hexdigest() == digest


def file_source(
    path: Path, *, once: bool = False, on_error: Callable[[str], None], on_failure: Callable[[str], None] | None = None
) -> FileSource:
    """Return a source of the lines of a file, read once to its end. See `FileSource`; a failure is an error by default."""
    return FileSource(path, once=once, on_error=on_error, on_failure=on_failure or on_error)
