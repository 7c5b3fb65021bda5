"""The records of a run, and the right answers to its queries. One feed a view; a feed shares no code with its view."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from actors.columns.times import INT64_MIN
from actors.replies import Answer, Stats
from actors.timeline.span import Span
from actors.views.view import View
from tests.simulation.topic import Record

JUNK: tuple[bytes | None, ...] = (b"", None, b"nothing", b"\xff\xfe", b"{", b"_", b"R_")
"""Records that are no event of any view."""


class Feed:
    """The base of the feeds: a view that publishes nothing, with records in any partition."""

    dated = False
    """Whether a record has the time of an event, so that its clock can be ahead."""
    publishes = False
    """Whether the view has results."""
    budgets: Sequence[int]
    """Memory budgets, bytes, that are too small for all events."""
    punctual = False
    """Whether no event may be late: then a time that an answer's coverage calls complete is complete. The scenario sets it."""
    questions: Sequence[tuple[Span, Any]]
    """The spans and arguments of the queries."""
    junk: Sequence[bytes | None] = JUNK
    junk_rate = 0.03

    def view(self) -> View:
        """Return the view, new for each process."""
        raise NotImplementedError

    def holds(self, batch: Any, event: Any) -> bool:
        """Whether a batch, as the view decodes it, holds this event, or one that is `alike`."""
        raise NotImplementedError

    def alike(self, one: Any, other: Any) -> bool:
        """Whether a batch does not tell two events apart."""
        return bool(one == other)

    def records(self, chance: random.Random, count: int, since: float, until: float) -> list[Record]:
        """Return the records of one life of the topic, in order of time, some of them junk."""
        return [
            Record(at, chance.choice(self.junk), None) if chance.random() < self.junk_rate else self.record(chance, at)
            for at in sorted(chance.uniform(since, until) for _ in range(count))
        ]

    def record(self, chance: random.Random, at: float) -> Record:
        """Return a record that is an event and is written at `at`."""
        raise NotImplementedError

    def later(self, record: Record, by_ms: int) -> Record:
        """Return the same event with a later time. Only for a view that is `dated`."""
        raise NotImplementedError

    def time_of(self, event: Any) -> int:
        """Return the time of an event, ms. Only for a view that is `dated`."""
        time: int = event.time
        return time

    def shard(self, record: Record, partitions: int, chance: random.Random) -> int:
        """Return the partition that a record goes to."""
        return chance.randrange(partitions)

    def logged(self, partition: int, records: list[Record]) -> list[Record]:
        """Return the records of a partition as the partition has them, in order of their offsets from 0 on."""
        return records

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        """Assert that an answer in the middle of a run claims nothing false, given stats of a moment later.

        `given` are the events read by then, of each life in the order of each partition; `expected` also those to come.
        """
        raise NotImplementedError

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        """Assert that the last answer to a query is the right answer for `events`, which have the form of `given`.

        `lost` are events that the broker deleted before they were read: the coverage must name them.
        """
        raise NotImplementedError

    def published(
        self,
        records: Sequence[bytes],
        events: Sequence[Sequence[Any]],
        answers: Sequence[Answer],
        stats: Stats,
        *,
        repeated: bool,
    ) -> None:
        """Assert that `records` are the right results, each once; at least once if results may be `repeated`.

        `answers` to all queries, and `stats`, are of the same moment.
        """
        assert not records, "this view publishes no results"


def assert_named(answer: Answer, times: Iterable[int]) -> None:
    """Assert that the coverage of `answer` calls none of these times complete: they are of lost events."""
    since = answer.coverage.complete_from
    spans = [*answer.coverage.missing, Span(INT64_MIN, since if since is not None else INT64_MIN)]
    hidden = [time for time in times if not any(span.start <= time < span.end for span in spans)]
    assert not hidden, f"lost, but covered: {hidden[:3]}, {len(hidden)} in all, {answer.coverage}"
