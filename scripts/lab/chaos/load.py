"""The load of a chaos run: records of all views at a bounded rate. The truth of each view takes in every record.

Records go straight to the broker, in stretches. A pause ends a stretch: then Kafka has every record, and an undisturbed
reader reaches the end. Some records are in transactions, and some have times that cannot be yet.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from scripts.lab.chaos.makers import MAKERS, Maker, Record
from scripts.lab.chaos.oracle import TRUTHS, Truth

_STRETCH_S = 0.1
_SHARES = {"sets": 0.5, "top": 0.1, "segments": 0.1, "uniques": 0.1, "words": 0.1, "funnel": 0.1}
_TOP_AHEAD_MS = 1_800_000
"""How far the clock of a record of `top` is ahead. Kafka refuses more than an hour."""

_SOON_S = range(10, 60)
_NEVER_S = range(86_400, 86_400 * 365 * 70)
_AHEAD = 4
"""Records of each view whose clock is ahead, at once. Nine in a partition would prove that their time is right."""

_GIVE_UP_S = 60.0

ONCE: dict[str, Any] = {"enable.idempotence": True, "max.in.flight.requests.per.connection": 1}
"""Settings of a producer that writes each record once and in order, also if leaders move.

With several requests in flight, a leader that moves makes librdkafka 2.16 skip a sequence number of one partition. Then a new
epoch begins for all partitions, and batches of other partitions that Kafka has already are written again (its issue 4953).
"""


@dataclass(slots=True)
class Lane:
    """The topic of one view, with the maker of its records and the truth that takes them in."""

    topic: str
    maker: Maker
    truth: Truth
    share: float
    owed: float = 0.0
    begin: int = 0
    """The time of the first event that ends the last stretch."""


class Load:
    """Sends `rate` records a second to the topics of the views, from a thread of its own, between `start` and `close`."""

    def __init__(self, bootstrap: str, topics: Mapping[str, tuple[str, int]], *, seed: int, rate: float) -> None:
        whole = sum(_SHARES[view] for view in topics)
        self.lanes = {
            view: Lane(topic, MAKERS[view](f"{seed} {view}", partitions), TRUTHS[view](), _SHARES[view] / whole)
            for view, (topic, partitions) in topics.items()
        }
        self._rate = rate
        self._chance = Random(f"{seed} load")
        self._failed: list[str] = []
        self._acknowledged: dict[str, int] = dict.fromkeys((topic for topic, _ in topics.values()), 0)
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            **ONCE,
            "linger.ms": 5,
            "message.timeout.ms": 300_000,
            "reconnect.backoff.max.ms": 250,
            "log_level": 0,
        }
        self._producer = Producer(settings)
        self._transactions = {**settings, "transactional.id": f"load-{uuid.uuid4().hex}", "transaction.timeout.ms": 300_000}
        self._transactional: Producer | None = None
        self._sending = threading.Lock()
        self._go = threading.Event()
        self._quiet = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._go.set()
        self._thread.start()

    def pause(self) -> None:
        """End the stretch. Return when Kafka has acknowledged every record. Raises OSError if it does not."""
        if self._go.is_set():
            self._quiet.clear()
            self._go.clear()
        if not self._quiet.wait(2 * _GIVE_UP_S) or self._failed:
            raise OSError(f"the load did not reach Kafka: {self._failed[:1] or 'no acknowledgement'}")

    def resume(self) -> None:
        """Send again after a pause."""
        self._go.set()

    def acknowledged(self) -> dict[str, int]:
        """Return how many records of each view Kafka has acknowledged."""
        return {view: self._acknowledged[lane.topic] for view, lane in self.lanes.items()}

    def open_transaction(self, count: int, *, commits: bool) -> Callable[[], None]:
        """Write about `count` records of some views in a transaction that stays open. Return the call that ends it.

        `commits` is how the transaction will end. Kafka has its records when this returns, after all earlier records and before
        all later ones of their partitions. Raises KafkaException, as the returned call does.
        """
        with self._sending:
            producer = self._transactional = self._transactional or _begun(self._transactions)
            producer.begin_transaction()
            self._flush(self._producer)
            counts = {}
            for view in self._chance.sample(sorted(self.lanes), self._chance.randrange(1, len(self.lanes) + 1)):
                lane = self.lanes[view]
                records = list(lane.maker.next(count))
                for record in records:
                    producer.produce(lane.topic, record.value, partition=record.partition)
                    if commits:
                        lane.truth.take(record.value)
                counts[lane.topic] = len(records)
            self._flush(producer)

        def end() -> None:
            if not commits:
                producer.abort_transaction(_GIVE_UP_S)
                return
            producer.commit_transaction(_GIVE_UP_S)
            with self._sending:
                for topic, written in counts.items():
                    self._acknowledged[topic] += written

        return end

    def send_ahead(self) -> None:
        """Send some records whose clocks are ahead. Most of them have times that do not come during a run."""
        now = int(time.time())
        with self._sending:
            for view, lane in self.lanes.items():
                for place in range(_AHEAD):
                    second = now + self._chance.choice(_SOON_S if place == 0 else _NEVER_S)
                    record = lane.maker.at_time(second)
                    if record is not None:
                        lane.truth.keep_apart(1_000 * second, record.value)
                        self._produce(lane, record)
                    elif view == "top":  # only Kafka's own time of a record is ahead, and offsets decide
                        self._send(lane, lane.maker.next(1), timestamp_ms=1_000 * now + _TOP_AHEAD_MS)

    def close(self) -> None:
        """Stop sending. Waits for the thread."""
        self._end.set()
        self._go.set()
        if self._thread.ident is not None:  # the thread was started
            self._thread.join(timeout=10)
        self._producer.purge()
        self._producer.flush(1)

    def _run(self) -> None:
        began = time.monotonic()
        while not self._end.is_set():
            if not self._go.is_set():
                try:
                    with self._sending:
                        self._finish()
                except Exception as error:  # noqa: BLE001  # the next pause raises it
                    self._failed.append(repr(error))
                self._quiet.set()
                self._go.wait()
                began = time.monotonic()
                continue
            with self._sending:
                self._stretch()
            began += _STRETCH_S
            self._producer.poll(0)
            self._end.wait(max(0.0, began - time.monotonic()))

    def _stretch(self) -> None:
        for lane in self.lanes.values():
            lane.owed += lane.share * self._rate * _STRETCH_S
            count = int(lane.owed)
            lane.owed -= count
            self._send(lane, lane.maker.next(count))

    def _finish(self) -> None:
        for lane in self.lanes.values():
            closing = lane.maker.closing()
            if closing is not None:
                lane.begin, records = closing
                self._send(lane, records)
                lane.truth.settle(lane.begin)
        self._flush(self._producer)

    def _flush(self, producer: Producer) -> None:
        """Wait until Kafka has acknowledged every record. A failure is raised by the next pause."""
        deadline = time.monotonic() + _GIVE_UP_S
        while (left := producer.flush(_STRETCH_S)) and not self._end.is_set():
            if time.monotonic() > deadline:
                self._failed.append(f"{left} records are not acknowledged")
                return

    def _send(self, lane: Lane, records: Iterable[Record], timestamp_ms: int = 0) -> None:
        for record in records:
            lane.truth.take(record.value)
            self._produce(lane, record, timestamp_ms)

    def _produce(self, lane: Lane, record: Record, timestamp_ms: int = 0) -> None:
        """Hand a record to the client. Its own time is `timestamp_ms`, or the present one."""
        while not self._end.is_set():
            try:
                self._producer.produce(
                    lane.topic, record.value, partition=record.partition, timestamp=timestamp_ms, on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error.str())
        else:
            self._acknowledged[str(message.topic())] += 1


def _begun(settings: dict[str, Any]) -> Producer:
    """Return a producer that can begin transactions."""
    producer: Producer = Producer(settings)
    producer.init_transactions(_GIVE_UP_S)
    return producer
