"""A pipe, a terminal or a file behind a descriptor, read as bytes come."""

import os
import selectors

from actors.sources.line_splitter import BLOCK


class PipeStream:
    """A pipe, a terminal or a file behind a descriptor, read as bytes come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._selector: selectors.BaseSelector | None = selectors.DefaultSelector()
        try:
            self._selector.register(descriptor, selectors.EVENT_READ)
        except (PermissionError, ValueError):  # a plain file is always ready, and cannot be waited for
            self._selector.close()
            self._selector = None

    def read(self, timeout_s: float) -> bytes | None:
        """Return what is there."""
        if self._selector is not None and not self._selector.select(timeout_s):
            return None
        return os.read(self._descriptor, BLOCK)

    def close(self) -> None:
        """Stop waiting for the descriptor; it stays open."""
        if self._selector is not None:
            self._selector.close()
