"""Cuts blocks of bytes into lines. Used by the sources that read lines."""

LONGEST = 128 << 20
"""Bytes that are kept of a line. A longer line is cut to this length and refused."""

BLOCK = 1 << 19
"""Bytes that one read takes at most."""


class Splitter:
    """Cuts bytes into lines of at most `longest` bytes; the rest of a line is dropped. An empty last line does not count."""

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
        """Return the held bytes and `end`. A huge line is not copied to bytes, which would take its memory twice."""
        if not self._held:
            return end[: self._longest]
        held, self._held = self._held, bytearray()
        held += end[: self._longest - len(held)]
        return held if len(held) > BLOCK else bytes(held)  # type: ignore[return-value]  # it reads as bytes do
