"""Puts dead letters back to the topics that they came from, each once and in their order.

Records and progress go to Kafka in one transaction, so a crash at any moment neither loses nor repeats a record. The command
`replay` and the service use it, and share their progress.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from actors.kafka_topic import metadata_of
from actors.sinks.dead_letters import OFFSET, PARTITION, REASON, TOPIC

_TIMEOUT_S = 20.0
_AT_ONCE = 1_000
_STEP_S = 0.1
_LONGEST_NOTE = 4_000
"""Bytes of metadata that a broker keeps with a committed offset."""


@dataclass(slots=True)
class Done:
    """The progress in one partition: all before `all_before` are put back, and those of a reason before its own offset.

    >>> done = Done()
    >>> done.put(7, {"bad json"})
    >>> done.has(3, "bad json"), done.has(3, "late"), done.has(7, "bad json")
    (True, False, False)
    >>> done = Done.of(0, done.note())
    >>> done.put(5, None)
    >>> done.has(3, "late"), done.has(6, "bad json"), done.has(6, "late")
    (True, True, False)
    """

    all_before: int = 0
    before: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, offset: int, note: str | None) -> "Done":
        """Read the progress that an earlier run committed."""
        return cls(max(0, offset), {str(reason): int(before) for reason, before in json.loads(note or "{}").items()})

    def has(self, offset: int, reason: str) -> bool:
        """Whether the dead letter is put back already."""
        return offset < max(self.all_before, self.before.get(reason, 0))

    def put(self, end: int, reasons: set[str] | None) -> None:
        """Note that everything before `end` is put back, or only the dead letters of `reasons`."""
        if reasons is None:
            self.all_before = max(self.all_before, end)
        else:
            self.before |= {reason: max(end, self.before.get(reason, 0)) for reason in reasons}
        self.before = {reason: before for reason, before in self.before.items() if before > self.all_before}

    def note(self) -> str:
        """Return the progress by reason as metadata of the offset. Raises ValueError if it is too long for a broker."""
        note = json.dumps(self.before, separators=(",", ":"), sort_keys=True) if self.before else ""
        if len(note) > _LONGEST_NOTE:
            raise ValueError("too many reasons were put back one by one; put back everything, without --reason")
        return note


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: the record, and its origin and reason from the headers that Firnline added."""

    message: Message
    topic: str | None
    partition: int | None
    offset: int | None
    reason: str
    headers: list[tuple[str, bytes | None]]

    @classmethod
    def of(cls, message: Message) -> "Letter":
        """Read the headers of a message; `headers` are the record's own."""
        headers: Any = message.headers() or []
        added = {name: (value or b"").decode(errors="replace") for name, value in headers if name.startswith("firnline.")}
        return cls(
            message,
            added.get(TOPIC),
            _number(added.get(PARTITION, "")),
            _number(added.get(OFFSET, "")),
            added.get(REASON, ""),
            [(name, value) for name, value in headers if not name.startswith("firnline.")],
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


class Replay:
    """One run over the dead letters that `topic` holds when the run begins. Raises KafkaException, ValueError."""

    def __init__(
        self, settings: Mapping[str, Any], topic: str, reasons: set[str] | None, *, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._settings: dict[str, Any] = {"log_level": 0, **settings}
        self._timeout_s = timeout_s
        self._topic = topic
        self._reasons = reasons
        self._group = f"firnline-replay-{topic}"
        self._producer: Producer | None = None
        self._partitions: dict[str, int] = {}
        self._consumer = Consumer(
            {**self._settings, "group.id": self._group, "enable.auto.commit": False, "enable.partition.eof": True}
            | {"isolation.level": "read_committed", "auto.offset.reset": "earliest"}
            | {"fetch.wait.max.ms": 100}  # the broker reports the end of a partition only after this time
        )

    def begin(self, *, putting_back: bool) -> None:
        """Read the progress of earlier runs. With `putting_back`, fence off any other run."""
        found = metadata_of(self._consumer, self._topic, self._timeout_s).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        if putting_back:
            self._producer = Producer(
                {
                    "allow.auto.create.topics": False,  # a topic that was deleted stays deleted
                    **self._settings,
                    "transactional.id": self._group,
                    "message.max.bytes": 100_000_000,
                }
            )
            self._producer.init_transactions(self._timeout_s)
        places = [TopicPartition(self._topic, number) for number in sorted(found.partitions)]
        committed = self._consumer.committed(places, timeout=self._timeout_s)
        self._done = {place.partition: Done.of(place.offset, place.metadata) for place in committed}
        ranges = {place.partition: self._consumer.get_watermark_offsets(place, timeout=self._timeout_s) for place in places}
        self._ends = {number: high for number, (_, high) in ranges.items()}
        self._consumer.assign(
            [
                TopicPartition(self._topic, number, max(low, self._done[number].all_before))
                for number, (low, _) in ranges.items()
            ]
        )

    def letters(self) -> Iterator[list[Letter]]:
        """Yield the dead letters to put back, up to 1,000 at a time."""
        unread = {number for number, end in self._ends.items() if end > self._done[number].all_before}
        while unread:
            read = self._consumer.consume(_AT_ONCE, _STEP_S)
            chosen = []
            for message in read:
                number, offset = position_of(message)
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                        raise KafkaException(error)
                    unread.discard(number)
                    continue
                if offset >= self._ends[number]:
                    unread.discard(number)
                    continue
                letter = Letter.of(message)
                wanted = self._reasons is None or letter.reason in self._reasons
                if wanted and letter.topic is not None and not self._done[number].has(offset, letter.reason):
                    chosen.append(letter)
            yield chosen

    def put_back(self, letters: list[Letter]) -> None:
        """Write the records and the progress in one transaction. Raises, and has written nothing, if a part of it fails."""
        producer = self._producer
        if producer is None:
            raise ValueError("begun without putting_back")
        producer.begin_transaction()
        try:
            for letter in letters:
                self._produce(producer, letter)
                number, offset = position_of(letter.message)
                self._done[number].put(offset + 1, self._reasons)
            places = [
                TopicPartition(self._topic, number, done.all_before, done.note())
                for number, done in self._done.items()
                if done.all_before or done.before
            ]
            producer.send_offsets_to_transaction(places, self._consumer.consumer_group_metadata(), self._timeout_s)
            producer.commit_transaction(self._timeout_s)  # fails if Kafka refused a record
        except Exception:  # any error must abort the transaction
            with contextlib.suppress(KafkaException):  # the next run aborts an open transaction
                producer.abort_transaction(self._timeout_s)
            raise

    def close(self) -> None:
        """Close the connection to the broker."""
        self._consumer.close()

    def _produce(self, producer: Producer, letter: Letter) -> None:
        """Give one record to librdkafka, for its old partition if the topic still has it."""
        topic = str(letter.topic)
        if topic not in self._partitions:
            found = metadata_of(producer, topic, self._timeout_s).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._partitions[topic] = len(found.partitions)
        number = letter.partition if letter.partition is not None and letter.partition < self._partitions[topic] else -1
        value, key, headers = letter.message.value(), letter.message.key(), list[Any](letter.headers)
        producer.produce(topic, value, key, number, headers=headers)


def position_of(message: Message) -> tuple[int, int]:
    """Return a message's partition and offset, which the library's types call optional."""
    partition: Any = message.partition()
    offset: Any = message.offset()
    return partition, offset
