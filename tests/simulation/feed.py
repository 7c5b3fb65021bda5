"""What is produced in a run, and what the answers should be. One feed a view; each shares no code with the view."""

import random
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from actors.columns.times import INT64_MIN
from actors.replies import Answer, Stats
from actors.timeline.span import Span
from actors.views.view import View
from tests.simulation.topic import Record

JUNK: tuple[bytes | None, ...] = (b"", None, b"nothing", b"\xff\xfe", b"{", b"_", b"R_")
"""Records that are no event of any view."""


class Feed(Protocol):
    """A view's side of a run."""

    publishes: bool
    """Whether the view has results."""
    budgets: Sequence[int]
    """Bytes of memory that are too few, so that something has to go."""
    punctual: bool
    """Whether none may be late: what is complete by an answer's coverage is complete. The scenario says so."""

    @property
    def questions(self) -> Sequence[tuple[Span, Any]]:
        """The spans and arguments of the queries that are asked."""

    def view(self) -> View:
        """Return the view, new for each process."""

    def holds(self, batch: Any, event: Any) -> bool:
        """Whether a batch, as the view decodes it, holds this event, or one that is `alike`."""

    def alike(self, one: Any, other: Any) -> bool:
        """Whether a batch does not tell two events apart."""

    def records(self, chance: random.Random, count: int, since: float, until: float) -> list[Record]:
        """Return what is written in one life of the topic, in order of time."""

    def shard(self, record: Record, partitions: int, chance: random.Random) -> int:
        """Return the partition that a record goes to."""

    def logged(self, partition: int, records: list[Record]) -> list[Record]:
        """Return the records of a partition, in order of their offsets from 0 on, as it has them."""

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        """Assert that an answer in the middle says nothing untrue, given stats of a moment later.

        `given` are the events read by then, of each life in the order of each partition; `expected` also those to come.
        """

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        """Assert that the last answer to a question is that of the oracle over `events`, which are as those `given`.

        `lost` are events that the broker deleted before they were read: coverage must name them.
        """

    def published(
        self,
        records: Sequence[bytes],
        events: Sequence[Sequence[Any]],
        answers: Sequence[Answer],
        stats: Stats,
        *,
        repeated: bool,
    ) -> None:
        """Assert that these results are all that there should be, each once; or, where they may be `repeated`, at least.

        `answers` to all questions, and `stats`, are of the same moment.
        """


def unnamed(answer: Answer, times: Iterable[int]) -> list[int]:
    """Return those of `times` that the coverage of `answer` calls complete, and neither lacking nor gone."""
    since = answer.coverage.complete_from
    spans = [*answer.coverage.missing, Span(INT64_MIN, since if since is not None else INT64_MIN)]
    return [time for time in times if not any(span.start <= time < span.end for span in spans)]
