"""What is produced in a run, and what the answers should be. One feed a view; each shares no code with the view."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from actors.messages import Answer, Stats
from actors.views.view import View
from tests.simulation.topic import Record

JUNK: tuple[bytes | None, ...] = (b"", None, b"nothing", b"\xff\xfe", b"{", b"_", b"R_")
"""Records that are no event of any view."""


class Feed(Protocol):
    """A view's side of a run."""

    @property
    def question(self) -> Any:
        """The arguments of the query that is asked."""

    def view(self) -> View:
        """Return the view, new for each process."""

    def holds(self, batch: Any, event: Any) -> bool:
        """Whether a batch, as the view decodes it, holds this event."""

    def records(self, chance: random.Random, count: int, since: float, until: float) -> list[Record]:
        """Return what is written in one life of the topic, in order of time."""

    def shard(self, record: Record, partitions: int, chance: random.Random) -> int:
        """Return the partition that a record goes to."""

    def claim(self, answer: Answer, stats: Stats | None, expected: Callable[[], Sequence[Any]]) -> None:
        """Assert that an answer in the middle says nothing untrue, given stats of a moment later. `expected` is all that was and will be written."""

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        """Assert that the last answer is that of the oracle over `events`, of each life in the order of each partition.

        `lost` are events that the broker deleted before they were read: coverage must name them.
        """

    def shifted(self, records: list[Record]) -> list[Record]:
        """Return the records of the first partition, as it has them."""

    def published(self, records: Sequence[bytes], events: Sequence[Sequence[Any]], *, repeated: bool) -> None:
        """Assert that these results are all that there should be, each once; or, where they may be `repeated`, at least."""
