"""The load of a chaos run: records of all five views at a bounded rate. The truth of each view takes in every record.

Records go straight to the broker, in stretches. A pause ends a stretch: then Kafka has every record, and an undisturbed
reader reaches the end. Event times are out of order by less than the lateness.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from confluent_kafka import KafkaError, Message, Producer

from scripts.lab.chaos.oracle import TRUTHS, SetsTruth, Truth

PARTITIONS = {"sets": 3, "top": 4, "segments": 5, "uniques": 3, "words": 2}
"""Partitions of the topic of each view."""

LATENESS_MS = 500
_DISORDER_MS = 400
_STRETCH_S = 0.1
_SHARES = {"sets": 0.6, "top": 0.1, "segments": 0.1, "uniques": 0.1, "words": 0.1}
_JUNK = 0.01
_LOST = 0.0005
_CLOSING = 16
"""Events that end a stretch of sets in each partition: enough to move the watermark past all earlier events."""

_GIVE_UP_S = 60.0

ONCE: dict[str, Any] = {"enable.idempotence": True, "max.in.flight.requests.per.connection": 1}
"""Settings of a producer that writes each record once and in order, also if leaders move.

With several requests in flight, a leader that moves makes librdkafka 2.16 skip a sequence number of one partition. Then a new
epoch begins for all partitions, and batches of other partitions that Kafka has already are written again (its issue 4953).
"""


class Record(NamedTuple):
    """A record that is sent to a partition."""

    partition: int
    value: bytes


class Maker:
    """Makes the records of one view. The event times of each call of `next` follow those of the call before."""

    def __init__(self, seed: str, partitions: int) -> None:
        self.chance = Random(seed)
        self.partitions = partitions

    def next(self, count: int) -> Iterator[Record]:
        """Make about `count` records, in the order in which they are sent."""
        raise NotImplementedError

    def junk(self, value: bytes) -> bytes:
        """Return `value`, or sometimes a part of it that is no event."""
        return value[: self.chance.randrange(len(value))] if self.chance.random() < _JUNK else value


class Sets(Maker):
    """Events of three steps, some milliseconds apart, shuffled within the lateness, with some junk."""

    at = 1_685_695_916_000

    def next(self, count: int) -> Iterator[Record]:
        """Make events."""
        found = []
        for _ in range(count):
            self.at += self.chance.randrange(20)
            found.append((self.at + self.chance.randrange(_DISORDER_MS), self.at))
        for _, time_ms in sorted(found):
            yield Record(self.chance.randrange(self.partitions), self._value(time_ms))

    def closing(self) -> tuple[int, list[Record]]:
        """Make the events that end a stretch. Return the time of the first one: all earlier events can be ordered then."""
        begin = self.at = self.at + 2 * LATENESS_MS
        made = []
        for _ in range(_CLOSING):
            for partition in range(self.partitions):
                made.append(Record(partition, b"%c_%d" % (self.chance.choice(b"RGB"), self.at)))
                self.at += 1
        self.at += LATENESS_MS
        return begin, made

    def _value(self, time_ms: int) -> bytes:
        if self.chance.random() < _JUNK:
            return self.chance.choice([b"", b"X_1685695916000", b"R_", b"G_12x", b"B1685695916000", b"r_1685695916000"])
        return b"%c_%d" % (self.chance.choice(b"RGB"), time_ms)


class Top(Maker):
    """Ids with values, most of them new. Each id keeps to one partition."""

    count = 0

    def next(self, count: int) -> Iterator[Record]:
        """Make upserts. A third of them change an id that exists."""
        for _ in range(count):
            self.count += self.chance.random() < 0.6
            name = b"id%08x" % (self.chance.randrange(self.count + 1) if self.chance.random() < 0.4 else self.count)
            value = b"%s_%d" % (name, self.chance.randrange(-(10**5), 10**5))
            yield Record(crc32(name) % self.partitions, b"no value" if self.chance.random() < _JUNK else value)


class Segments(Maker):
    """Batches of ten segments, interleaved. Some segments are repeated, some with other numbers; a few are never sent."""

    def __init__(self, seed: str, partitions: int) -> None:
        super().__init__(seed, partitions)
        self._batch = 0
        self._made: list[Record] = []

    def next(self, count: int) -> Iterator[Record]:
        """Make segments; some batches stay incomplete until a later call."""
        while len(self._made) < count + 50:
            self._batch += 1
            for place in range(10):
                self._made.append(self._segment(place))
                if self.chance.random() < 0.01:
                    self._made.append(self.chance.choice([self._made[-1], self._segment(place)]))
        for _ in range(count):
            # A repeated segment follows at least some places later, so that this list alone decides which one is first.
            record = self._made.pop(self.chance.randrange(30))
            if self.chance.random() < _LOST:
                continue
            if (junk := self.junk(record.value)) != record.value:
                yield Record(record.partition, junk)
            yield record

    def _segment(self, place: int) -> Record:
        data = sorted(self.chance.randrange(10**6) for _ in range(self.chance.randrange(1, 12)))
        value = json.dumps({"batch_id": self._batch, "segment_id": place, "data": data}).encode()
        return Record(place % self.partitions, value)


class Uniques(Maker):
    """Frames of some hundred users, half a second apart. Some frames are minutes late."""

    at = 1_468_244_384.0

    def next(self, count: int) -> Iterator[Record]:
        """Make frames."""
        for _ in range(count):
            self.at += self.chance.random()
            late = self.chance.randrange(300) if self.chance.random() < 0.02 else 0
            frame = {"page": "/shop", "ts": round(self.at - late, 3), "uid": f"u{self.chance.randrange(700)}", "v": [1, {}]}
            yield Record(self.chance.randrange(self.partitions), self.junk(json.dumps(frame).encode()))


class Words(Maker):
    """Events of a few types and words, a tenth of a second apart."""

    at = 1_513_765_893.0

    def next(self, count: int) -> Iterator[Record]:
        """Make events."""
        for _ in range(count):
            self.at += 0.2 * self.chance.random()
            words = " ".join(f"w{min(int(self.chance.expovariate(0.05)), 300)}" for _ in range(self.chance.randrange(5)))
            kind = self.chance.choice(["foo", "bar", "baz"])
            event = {"event_type": kind, "data": words, "timestamp": int(self.at)}
            yield Record(self.chance.randrange(self.partitions), self.junk(json.dumps(event).encode()))


MAKERS: dict[str, type[Maker]] = {"sets": Sets, "top": Top, "segments": Segments, "uniques": Uniques, "words": Words}
"""The maker of records of each view."""


@dataclass(slots=True)
class Lane:
    """The topic of one view, with the maker of its records and the truth that takes them in."""

    topic: str
    maker: Maker
    truth: Truth
    share: float
    owed: float = 0.0
    sent: int = 0
    """Records that were made and that the truth has taken in."""
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
                    self._finish()
                except Exception as error:  # noqa: BLE001  # the next pause raises it
                    self._failed.append(repr(error))
                self._quiet.set()
                self._go.wait()
                began = time.monotonic()
                continue
            for lane in self.lanes.values():
                lane.owed += lane.share * self._rate * _STRETCH_S
                count = int(lane.owed)
                lane.owed -= count
                self._send(lane, lane.maker.next(count))
            began += _STRETCH_S
            self._producer.poll(0)
            self._end.wait(max(0.0, began - time.monotonic()))

    def _finish(self) -> None:
        for lane in self.lanes.values():
            if isinstance(lane.maker, Sets) and isinstance(lane.truth, SetsTruth):
                lane.begin, records = lane.maker.closing()
                self._send(lane, iter(records))
                lane.truth.settle(lane.begin)
        deadline = time.monotonic() + _GIVE_UP_S
        while (left := self._producer.flush(_STRETCH_S)) and not self._end.is_set():
            if time.monotonic() > deadline:
                self._failed.append(f"{left} records are not acknowledged")
                return

    def _send(self, lane: Lane, records: Iterator[Record]) -> None:
        for partition, value in records:
            lane.truth.take(value)
            lane.sent += 1
            while not self._end.is_set():
                try:
                    self._producer.produce(lane.topic, value, partition=partition, on_delivery=self._delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error.str())
        else:
            self._acknowledged[str(message.topic())] += 1
