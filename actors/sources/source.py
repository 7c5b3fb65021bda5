"""The contract of every source: whole polls of records from offsets that the caller owns, and the gaps that were found.

Kafka, lines, files and commands have a file each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from actors.sources.polled import Polled

Reason = Literal["deleted", "recreated", "shrank", "interrupted"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing records of one partition: the number of offsets, None if it is unknown, and the reason.

    `deleted`: the broker deleted them before they were read. `recreated`: the topic or file was replaced by another one of the
    same name, which is read from its beginning. `shrank`: records that were read before are gone; reading goes on at the end.
    `interrupted`: a source that cannot be read again went on at a later place.
    """

    partition: int
    count: int | None
    reason: Reason


class Source(Protocol):
    """Where records come from. One actor owns it, and calls it on its own thread."""

    @property
    def finished(self) -> bool:
        """Whether every record is read, and no more will come."""

    @property
    def endless(self) -> bool:
        """Whether it is never finished. Then the present end of every partition counts as the end."""

    @property
    def epoch(self) -> int:
        """How often the topic or file was recreated."""

    @property
    def identity(self) -> str | None:
        """An id that a recreated topic or file does not share; None if it is unknown."""

    def open(self, offsets: Mapping[int, int], identity: str | None = None, epoch: int | None = None) -> bool:
        """Begin at `offsets`, which belong to this `identity` and `epoch`; None stands for the present ones.

        A partition without an offset begins at the configured start, or at its beginning if other partitions have an offset.
        A recreated topic is read from its beginning, in the next epoch. False if there is no topic yet. May wait seconds.
        """

    def extend(self) -> bool:
        """Begin to read partitions that are new. False if there is no topic. May wait seconds."""

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return at most `count` records, those that come within `timeout_s`."""

    def gaps(self) -> list[Gap]:
        """Return the gaps that were found since the last call."""

    def only(self, partition: int | None) -> None:
        """Read this partition alone until the next call; None reads all of them again."""

    def offsets(self) -> dict[int, int]:
        """Return the offset of the next record, by partition."""

    def lag(self) -> dict[int, int]:
        """Return the known lag in records, by partition."""

    def commit(self) -> None:
        """Commit the offsets for lag tools. Never waits, never fails."""

    def close(self) -> None:
        """Disconnect. May wait seconds."""
