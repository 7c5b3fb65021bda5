"""The contract of every sink of results, with defaults for a sink that has nothing to go back to.

Used by the publisher, which decides when to write. The console and the file have a file each, the topic has a folder.
"""

from collections.abc import Iterator
from typing import Any

from actors.standing import Standing


class Fenced(RuntimeError):  # noqa: N818  # the broker reports it, and it is no error of this process
    """The results written since the last commit are lost: the stream has to restart from its checkpoint."""


class Superseded(Fenced):
    """Another process writes with the same id, and began later than this one. This process must not write again."""


class Refused(OSError):  # noqa: N818  # the broker reports it
    """Kafka refuses a right. What was written since the last commit is lost, as with Fenced, until the right is granted."""

    def __init__(self, right: str) -> None:
        super().__init__(f"Kafka refuses {right}")


class Sink:
    """Takes the records that are due to be published. The publisher owns it and calls it on its own thread.

    For each checkpoint the publisher calls `prepare`, whose place becomes a part of the checkpoint, and `commit` once the
    checkpoint is on disk. A `write` between the two means that the checkpoint was given up. At each start the publisher calls
    `look`, by which a checkpoint is chosen, then `committed`, and then `restore` with the place in that checkpoint. Any call
    may raise Fenced, Superseded or Refused.
    """

    written: int = 0
    """Records taken since the very first start, without those that a restart took back."""

    @property
    def delivered(self) -> int:
        """The number of written records that are safe, or that were finally given up. By default all."""
        return self.written

    def write(self, blocks: Iterator[bytes]) -> None:
        """Take all records in `blocks`, each ended by a line feed.

        Raises OSError if the sink can take nothing now. Then it has taken none of them.
        """
        raise NotImplementedError

    def poll(self) -> None:
        """Take acknowledgements. Never waits."""

    def prepare(self) -> Any:
        """Make all records taken so far outlast a crash. Return the place reached: dicts, lists, numbers, text or None.

        Waits some seconds at most. Raises OSError if that cannot be done now; the records stay taken.
        """

    def commit(self, checkpoint: int) -> None:
        """Show readers the records that `prepare` made safe, now that checkpoint number `checkpoint` is safe too.

        Raises OSError if that cannot be done now; then it may be called again.
        """

    def look(self) -> Standing | None:
        """Return the results that readers see; None if the sink does not track checkpoints. Disturbs no other process.

        Raises OSError if that cannot be read now.
        """
        return None

    def committed(self) -> int | None:
        """Fence off every earlier process. Then return the number of the newest committed checkpoint, 0 before the first one.

        None if the sink does not track checkpoints. Raises OSError if that cannot be done now.
        """
        return None

    def owns(self, place: Any) -> bool:  # noqa: ARG002  # a sink without a lasting name owns no place
        """Return whether this sink, and no other sink of its stream, made `place`. Needed if the number of sinks changes."""
        return False

    def restore(self, place: Any | None) -> None:
        """Take back the records written after `place`. None is the state of a first start, which keeps existing records.

        Raises OSError if that cannot be done now.
        """

    def close(self) -> None:
        """Release files and connections. Records that are not delivered by then are lost to this process."""
