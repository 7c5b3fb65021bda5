"""The topics of results of a simulated cluster, the product's publisher over them, and the law of what readers see."""

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from scripts.service.cluster.results import Results
from tests.simulation.clock import SimulatedClock
from tests.simulation.cluster.group import Coordinator, Told
from tests.simulation.faults import Faults

OUTPUT, BOOK = "rows", "book"
_OWNER = "leases-results-events"
_SHORT_S, _LONG_S = 0.01, 6.0

Period = tuple[str, int]
"""A granularity and a start, seconds since 1970."""


@dataclass(eq=False)
class _Transaction:
    began: float
    state: str = "open"


class ResultTopics:
    """The output topic and the book. Readers see the records up to the first open transaction."""

    def __init__(self, clock: SimulatedClock, session_s: float) -> None:
        self._clock = clock
        self._session_s = session_s
        self._logs: dict[str, list[tuple[bytes | None, bytes, _Transaction]]] = {OUTPUT: [], BOOK: []}
        self._open: _Transaction | None = None
        self.epoch = 0
        """The number of producers with the transactional id. Kafka refuses all but the last one."""

    def fence(self) -> int:
        """Begin a new producer: what an earlier one left open is aborted."""
        self.finish(self._open, "aborted")
        self.epoch += 1
        return self.epoch

    def begin(self) -> _Transaction:
        self._open = _Transaction(self._clock.now())
        return self._open

    def append(self, topic: str, key: bytes | None, line: bytes, transaction: _Transaction) -> None:
        self._logs[topic].append((key, line, transaction))

    def finish(self, transaction: _Transaction | None, state: str) -> None:
        if transaction is not None and transaction.state == "open":
            transaction.state, self._open = state, None

    def look(self) -> None:
        """Abort a transaction that takes too long."""
        if self._open is not None and self._clock.now() - self._open.began > self._session_s:
            self.finish(self._open, "aborted")

    def seen(self, topic: str) -> list[tuple[bytes | None, bytes]]:
        """Return the keys and lines that a reader of committed records gets."""
        found: list[tuple[bytes | None, bytes]] = []
        for key, line, transaction in self._logs[topic]:
            if transaction.state == "open":
                break
            if transaction.state == "committed":
                found.append((key, line))
        return found


class Host(Protocol):
    """What clients need of their process."""

    def connected(self) -> bool:
        """Whether Kafka is reached."""

    def block(self, seconds: float) -> None:
        """Block the thread of the publisher, while the rest of the process and the others go on."""

    def freeze(self, seconds: float) -> None:
        """Let nothing of the process run."""


class _Writer:
    """The transactional producer. A step may fail, take long, or seem to fail."""

    def __init__(
        self, host: Host, topics: ResultTopics, coordinator: Coordinator, chance: random.Random, faults: Faults
    ) -> None:
        self._host = host
        self._topics = topics
        self._coordinator = coordinator
        self._chance = chance
        self._faults = faults
        self._epoch = 0
        self._records: list[tuple[str, bytes | None, bytes]] = []
        self._transaction: _Transaction | None = None

    def init_transactions(self, timeout_s: float) -> None:
        self._work()
        self._epoch = self._topics.fence()

    def begin_transaction(self) -> None:
        self._records, self._transaction = [], None

    def produce(self, topic: str, line: bytes, key: bytes | None, *, partition: int = 0) -> None:
        self._records.append((topic, key, line))

    def send_offsets_to_transaction(self, places: Sequence[TopicPartition], membership: Any, timeout_s: float) -> None:
        """Write the records, as another thread of the client has done by then, and the offsets."""
        self._work()
        self._transaction = self._topics.begin()
        for topic, key, line in self._records:
            self._topics.append(topic, key, line, self._transaction)
        self._work()
        member, generation = membership
        if member not in self._coordinator.members or generation != self._coordinator.generation:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))

    def commit_transaction(self, timeout_s: float) -> None:
        self._work()
        assert self._transaction is not None, "it has offsets"
        if self._transaction.state != "open":
            raise KafkaException(KafkaError(KafkaError.PRODUCER_FENCED))
        self._topics.finish(self._transaction, "committed")
        if self._faults.strikes("unknown commit"):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def abort_transaction(self, timeout_s: float) -> None:
        self._work()
        self._topics.finish(self._transaction, "aborted")

    def _work(self) -> None:
        """Reach Kafka, now and then after a while, in which the whole process may be frozen."""
        if self._faults.strikes("slow results"):
            seconds = self._chance.uniform(_SHORT_S, _LONG_S)
            if self._chance.random() < 0.6:
                self._host.freeze(seconds)
            self._host.block(seconds)
        if not self._host.connected() or self._faults.strikes("results refused"):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if self._epoch and self._epoch != self._topics.epoch:
            raise KafkaException(KafkaError(KafkaError.PRODUCER_FENCED))


class _Reader:
    """Reads the book once."""

    def __init__(self, topics: ResultTopics) -> None:
        self._topics = topics

    def assign(self, places: Sequence[TopicPartition]) -> None:
        pass

    def consume(self, count: int, timeout_s: float) -> list[Told]:
        found = [Told((0, at), line, name=key) for at, (key, line) in enumerate(self._topics.seen(BOOK))]
        return [*found, Told((0, len(found)), None, KafkaError(KafkaError._PARTITION_EOF))]

    def close(self) -> None:
        pass


class SimulatedResults(Results):
    """The product's results over simulated clients."""

    def __init__(
        self, host: Any, topics: ResultTopics, coordinator: Coordinator, chance: random.Random, faults: Faults
    ) -> None:
        self._made = host, topics, coordinator, chance, faults
        self._topics = topics
        super().__init__(
            {},
            lambda: None if host.leases is None else host.leases.grant(),
            leases="leases",
            session_ms=1_000,
            owner=_OWNER,
            book=BOOK,
            output=OUTPUT,
            key=(),
            meaning="rows",
        )

    def _create_topics(self) -> None:
        pass

    def _client(self) -> Any:
        return _Writer(*self._made)

    def _reader(self) -> Any:
        return _Reader(self._topics)

    def _wait_for_markers(self) -> None:
        pass


def judge_rows(topics: ResultTopics) -> dict[Period, dict[str, Any]]:
    """Assert that readers see each row once, in order, in both topics, and return the last row of each period."""
    rows: dict[Period, list[Mapping[str, Any]]] = defaultdict(list)
    for _, line in topics.seen(OUTPUT):
        row = json.loads(line)
        rows[row["granularity"], row["start"]].append(row)
    assert [line for _, line in topics.seen(OUTPUT)] == [line for _, line in topics.seen(BOOK)], "the book has other rows"
    for period, own in rows.items():
        told = [(row["frames"], row["final"]) for row in own]
        assert [row["revision"] for row in own] == list(range(1, len(own) + 1)), f"{period}: {own}"
        assert told == sorted(set(told)), f"{period} comes twice, or with fewer frames: {told}"
    return {period: dict(own[-1]) for period, own in rows.items()}
