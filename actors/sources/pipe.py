"""A pipe, a terminal or a file behind a descriptor, as a stream of bytes."""

import os
import selectors

from actors.sources.line_splitter import BLOCK


class PipeStream:
    """Reads from a descriptor that another object owns and closes."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._selector: selectors.BaseSelector | None = selectors.DefaultSelector()
        try:
            self._selector.register(descriptor, selectors.EVENT_READ)
        except (PermissionError, ValueError):  # a plain file is always ready, and no selector takes it
            self._selector.close()
            self._selector = None

    @property
    def may_wait(self) -> bool:
        """Whether bytes may come later: not in a plain file."""
        return self._selector is not None

    def ready(self, timeout_s: float) -> bool:
        """Return whether bytes, or the end, can be read within `timeout_s`."""
        return self._selector is None or bool(self._selector.select(timeout_s))

    def read(self, timeout_s: float, most: int = BLOCK) -> list[bytes] | None:
        """Return the bytes that can be read now, none at the end; None if no byte comes within `timeout_s`."""
        if not self.ready(timeout_s):
            return None
        piece = os.read(self.descriptor, most)
        return [piece] if piece else []

    def close(self) -> None:
        """Close the selector; the descriptor stays open."""
        if self._selector is not None:
            self._selector.close()
