"""The sink that writes results to standard output."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class ConsoleSink:
    """Writes records to standard output. Where nobody reads it any more, that is told, and they go nowhere.

    What was shown cannot be taken back: after a crash some results are shown again.
    """

    def __init__(self, *, on_error: Callable[[str], None]) -> None:
        self._on_error = on_error
        self._read = True
        self.written = 0

    @property
    def delivered(self) -> int:
        """All that is written."""
        return self.written

    def write(self, blocks: Iterator[bytes]) -> None:
        """Write, and flush."""
        try:
            for block in blocks if self._read else ():
                sys.stdout.buffer.write(block)
                self.written += block.count(b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # such as `| head`: trying again would hold everything up for ever
            self._read = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered has nowhere to go
            self._on_error("nobody reads standard output any more")

    def poll(self) -> None:
        """Do nothing."""

    def prepare(self) -> None:
        """Do nothing: there is no place to go back to."""

    def commit(self, checkpoint: int) -> None:
        """Do nothing: it was seen already."""

    def committed(self) -> None:
        """Return None: no checkpoint binds it."""

    def restore(self, place: Any | None) -> None:
        """Do nothing: what was shown stays."""

    def close(self) -> None:
        """Do nothing: standard output is not ours to close."""
