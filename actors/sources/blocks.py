"""The blocks in which a stream of bytes is cut into lines."""

import time
from typing import Protocol

from actors.sources.line_splitter import BLOCK

_TURN_S = 0.05
"""The longest time for a block whose bytes come one by one. The caller must handle messages meanwhile."""


class Stream(Protocol):
    """A stream of bytes."""

    def read(self, timeout_s: float, most: int) -> list[bytes] | None:
        """Return the pieces of the bytes that are there, at most `most` bytes; none at the end.

        Waits for the first byte. Returns None if no byte came within `timeout_s`. Raises OSError if the stream fails.
        """


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
        began = time.monotonic()
        until = began + timeout_s
        while self._nbytes < BLOCK and not self._ended:
            pieces = self._stream.read(max(0.0, until - time.monotonic()), BLOCK - self._nbytes)
            if pieces is None:
                return None
            self._ended = not pieces
            self._pieces += pieces
            self._nbytes += sum(map(len, pieces))
            if not self._whole:
                break
            if self._nbytes < BLOCK and not self._ended and time.monotonic() >= max(until, began + _TURN_S):
                return None
        pieces, self._pieces, self._nbytes = self._pieces, [], 0
        return pieces
