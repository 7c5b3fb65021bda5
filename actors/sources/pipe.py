"""A pipe, a terminal or a file behind a descriptor, as a stream of bytes."""

import os
import selectors

from actors.sources.line_splitter import BLOCK


class PipeStream:
    """Reads from a descriptor that another object owns and closes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._selector: selectors.BaseSelector | None = selectors.DefaultSelector()
        try:
            self._selector.register(descriptor, selectors.EVENT_READ)
        except (PermissionError, ValueError):  # a plain file is always ready, and no selector takes it
            self._selector.close()
            self._selector = None

    def read(self, timeout_s: float) -> bytes | None:
        """Return the bytes that can be read now, b"" at the end; None if no byte comes within `timeout_s`."""
        if self._selector is not None and not self._selector.select(timeout_s):
            return None
        return os.read(self._descriptor, BLOCK)

    def close(self) -> None:
        """Close the selector; the descriptor stays open."""
        if self._selector is not None:
            self._selector.close()
