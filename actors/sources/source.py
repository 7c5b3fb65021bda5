"""What the front end reads from: whole polls of records, from offsets that the caller owns, with what is found to be missing.

Kafka, lines and commands have files of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from actors.sources.polled import Polled

Reason = Literal["deleted", "recreated", "shrank", "interrupted"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that are missing, and why: how many offsets where that is known, None where nobody can know.

    `deleted`: the broker removed them before they were read. `recreated`: what is read now is another topic or file of the
    same name, read from its beginning. `shrank`: what was read before is not all there any more; reading goes on at the end.
    `interrupted`: what cannot be read again went on at a later place.
    """

    partition: int
    count: int | None
    reason: Reason


class Source(Protocol):
    """Where records come from. One actor owns it."""

    @property
    def finished(self) -> bool:
        """Whether all is read, and nothing will ever come."""

    @property
    def endless(self) -> bool:
        """Whether it never says that it is finished, so that being at its end for now is the end of what there is."""

    @property
    def epoch(self) -> int:
        """How often what is read was deleted and made again."""

    @property
    def identity(self) -> str | None:
        """What tells the thing that is read from another one of its name; None where that is not known."""

    def open(self, offsets: Mapping[int, int], identity: str | None = None, epoch: int | None = None) -> bool:
        """Begin at `offsets`, taken of what had this `identity` in this `epoch`; None goes on with what is known here.

        A partition without an offset begins at the configured start, or at its beginning where others have one. What is
        another thing by now is read from its beginning, in the next epoch. False where there is no topic yet.
        """

    def extend(self) -> bool:
        """Begin to read partitions that are new. False where there is no topic."""

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return at most `count` records, those that come within `timeout_s`."""

    def gaps(self) -> list[Gap]:
        """Return what was found to be missing since the last call."""

    def only(self, partition: int | None) -> None:
        """Read this partition alone until told otherwise; None reads all of them again."""

    def offsets(self) -> dict[int, int]:
        """Return the offset of the next record, by partition."""

    def lag(self) -> dict[int, int]:
        """Return how many records are known to wait, by partition."""

    def commit(self) -> None:
        """Tell lag tools how far the reading is. Never waits, never fails."""

    def close(self) -> None:
        """Let go of the broker."""
