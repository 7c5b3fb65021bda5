"""What every writer of results is: it takes records, says how many are safe, and can be cut back to a checkpoint.

Used by the publisher, which knows when to write. The file and the topic have files of their own; the console is here.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Fenced(RuntimeError):  # noqa: N818  # it is no error of ours: the broker has said so
    """What was written since the last commit is gone: the stream has to start again from its checkpoint."""


class Sink(Protocol):
    """Where records go that are due to be published. The publisher owns it.

    With every checkpoint: `prepare`, whose place becomes a part of it; then, once it is safe on disk, `commit`, with no `write`
    between: a `write` after `prepare` says that this checkpoint is given up. At a start, or a start again: `committed`, then
    `restore` with the place of the checkpoint taken up. Any call may raise `Fenced`.
    """

    def write(self, blocks: Iterator[bytes]) -> None:
        """Take all records in `blocks`, each ended by a line feed.

        Raises OSError where it can take nothing now, and then has taken nothing of it.
        """

    @property
    def written(self) -> int:
        """Records taken since the very first start, of those that a restart did not take back."""

    @property
    def delivered(self) -> int:
        """Records of those that are safe, or given up for good."""

    def poll(self) -> None:
        """Look for news of what is under way. Never waits."""

    def prepare(self) -> Any:
        """Make all that was taken so far outlast a crash, and return the place reached: dicts, lists, numbers, text, None.

        Waits some seconds at most. Raises OSError where it cannot be done now; what was taken stays taken.
        """

    def commit(self, checkpoint: int) -> None:
        """Let readers see what `prepare` made safe: the checkpoint of that number, which holds its place, is safe too.

        Raises OSError where it cannot be done now; it may be called again.
        """

    def committed(self) -> int | None:
        """Return the number of the newest checkpoint that was committed, 0 where none was, None where the sink does not care.

        Raises OSError where that cannot be known now.
        """

    def restore(self, place: Any | None) -> None:
        """Take back what was written after `place`; None: begin as at a first start, and keep what is there.

        Raises OSError where it cannot be done now.
        """

    def close(self) -> None:
        """Let go; what is not delivered by then is lost to this process."""


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
