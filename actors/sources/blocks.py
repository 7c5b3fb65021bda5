"""The blocks in which a stream of bytes is cut into lines."""

import time
from typing import Protocol

from actors.sources.line_splitter import BLOCK


class Stream(Protocol):
    """A stream of bytes."""

    def read(self, timeout_s: float, most: int) -> bytes | None:
        """Return the next bytes, at most `most`; b"" at the end, None if no byte came within `timeout_s`."""


class Blocks:
    """Collects the bytes of `stream` into blocks of at most 512 KiB.

    If `whole`, each block except the last one has exactly 512 KiB: the blocks depend on the bytes alone, and not on when the
    bytes come. Else a block has the bytes that are there.
    """

    def __init__(self, stream: Stream, *, whole: bool) -> None:
        self._stream = stream
        self._whole = whole
        self._pieces: list[bytes] = []
        self._nbytes = 0
        self._ended = False

    def read(self, timeout_s: float) -> list[bytes] | None:
        """Return the pieces of the next block; none at the end. Returns None if the block did not come within `timeout_s`.

        Raises OSError if the stream fails. The next call then continues at the next byte.
        """
        until = time.monotonic() + timeout_s
        while self._nbytes < BLOCK and not self._ended:
            waits = self._whole or not self._pieces
            piece = self._stream.read(max(0.0, until - time.monotonic()) if waits else 0.0, BLOCK - self._nbytes)
            if piece is None:
                if waits:
                    return None
                break
            self._ended = not piece
            if piece:
                self._pieces.append(piece)
                self._nbytes += len(piece)
        pieces, self._pieces, self._nbytes = self._pieces, [], 0
        return pieces
