"""What every writer of results is: it takes records, says how many are safe, and can be cut back to a checkpoint.

Used by the publisher, which knows when to write. The file and the topic have files of their own; the console is here.
"""

from collections.abc import Iterator
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
