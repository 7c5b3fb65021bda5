"""The contract of every source: whole polls of records from a place that the caller owns, and the gaps that were found.

Kafka, lines, files and commands have a file each.
"""

from typing import Protocol

from actors.replies import Trouble
from actors.sources.polled import Gap, Place, Polled


class Source(Protocol):
    """Reads the records of a topic, a file or a program. One actor owns it, and calls it on its own thread."""

    @property
    def finished(self) -> bool:
        """Whether every record is read, and no more will come."""

    @property
    def endless(self) -> bool:
        """Whether the source is never finished. Then the present end of every partition counts as the end."""

    def open(self, place: Place) -> bool:
        """Begin at `place`. Returns False if there is no topic yet. May wait seconds.

        A partition without an offset begins at the configured start, or at its beginning if other partitions have an offset.
        A place without an identity belongs to the present topic. A recreated topic is read from its beginning, in the next
        epoch.
        """

    def extend(self) -> bool:
        """Begin to read partitions that are new. Returns False if there is no topic. May wait seconds."""

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return at most `count` records that come within `timeout_s`. Raises OSError or KafkaException if reading fails."""

    def rest(self, timeout_s: float) -> None:
        """Wait until there may be records, at most `timeout_s`. If the source cannot know of records, it does not wait."""

    def trouble(self) -> Trouble | None:
        """Return why the source gives no records now, None if it can. Never waits. Cost: a look at the clock, mostly."""

    def gaps(self) -> list[Gap]:
        """Return the gaps that were found since the last call. They lie before the records of the last poll."""

    def only(self, partition: int | None) -> None:
        """Read this partition alone until the next call; None reads all of them again."""

    def place(self) -> Place:
        """Return the place after the last poll. Cost: O(partitions)."""

    def lag(self) -> dict[int, int]:
        """Return the known lag in records, by partition."""

    def commit(self) -> None:
        """Commit the offsets for lag tools. Never waits, never fails."""

    def close(self) -> None:
        """Disconnect. May wait seconds."""
