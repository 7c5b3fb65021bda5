"""Cuts blocks of bytes into lines. Used by the sources that read lines."""

LONGEST = 128 << 20
"""The longest line, in bytes. A longer line is cut to this length, and the view refuses it."""

BLOCK = 1 << 19
"""The most bytes of one read."""


class Splitter:
    """Cuts bytes into lines of at most `longest` bytes, and drops the rest of a longer line. Ignores an empty last line."""

    def __init__(self, longest: int | None = None) -> None:
        self._longest = LONGEST if longest is None else longest
        self._held = bytearray()

    def split(self, block: bytes) -> list[bytes]:
        """Return the lines that `block` completes, without line feeds."""
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = self._joined(lines[0])
        self._held += rest[: self._longest - len(self._held)]
        return lines

    def end(self) -> list[bytes]:
        """Return the last line if no line feed ended it."""
        last = self._joined(b"")
        return [last] if last else []

    def _joined(self, end: bytes) -> bytes:
        """Return the held bytes and `end`. A huge line stays a bytearray, because a copy would need its memory twice."""
        if not self._held:
            return end[: self._longest]
        held, self._held = self._held, bytearray()
        held += end[: self._longest - len(held)]
        return held if len(held) > BLOCK else bytes(held)  # type: ignore[return-value]  # it reads as bytes do
