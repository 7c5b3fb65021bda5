"""The sink that writes results to standard output."""

import os
import sys
from collections.abc import Callable, Iterator

from actors.sinks.sink import Sink


class ConsoleSink(Sink):
    """Writes records to standard output. If its reader has gone, `on_error` is called once and further records are dropped.

    Records on a screen cannot be taken back: after a crash some results are shown again.
    """

    def __init__(self, *, on_error: Callable[[str], None]) -> None:
        self._on_error = on_error
        self._read = True

    def write(self, blocks: Iterator[bytes]) -> None:
        """Write, and flush."""
        try:
            for block in blocks if self._read else ():
                sys.stdout.buffer.write(block)
                self.written += block.count(b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # such as `| head`: to try again would hold up the stream for ever
            self._read = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the buffered bytes need a place to go
            self._on_error("standard output is closed: further results are dropped")
