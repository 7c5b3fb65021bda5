"""The notes by which Kafka reports whose results a topic holds, and up to which checkpoint.

Each transaction leaves two notes: in a header of its last record, and in the metadata of a committed offset of a consumer group
that no consumer uses. Kafka may lose the offset, and it deletes old records: each note stands in for the other. Used by the
Kafka sink, on its thread.
"""

import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from actors.kafka_topic import client_settings
from actors.kafka_trouble import Reasons
from actors.sinks.kafka.visible import consumer_of, partitions_of
from actors.standing import Standing

HEADER = "firnline"
_TIMEOUT_S = 5.0
_GROUP_S = 3.5
"""This request is the first one of a start, and `/readyz` has the reason of a failure within five seconds."""

_STEP_S = 0.02
_WINDOWS = (64, 1 << 9, 1 << 12, 1 << 15)
"""How many offsets before the end of a partition are read, one after the other, until a note is found."""


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One note: the number of a checkpoint, the process that wrote it, and the results in the topic.

    `mark` identifies the last record of the results; None if there is no record. `owner` is the transactional id, and `meaning`
    the name of the folder with the checkpoints. `seen` is the newest checkpoint of any note when this one was written.
    `records` is true if the transaction of this note has records, and so the topic has the same note.
    """

    checkpoint: int
    mark: str | None
    process: str
    owner: str
    meaning: str = ""
    seen: int = 0
    records: bool = False

    def encode(self) -> str:
        """Return the note as JSON."""
        return msgspec.json.encode(self).decode()


def this_process() -> str:
    """Return a new random name, with the process id and the host for people to read."""
    return f"{uuid.uuid4().hex[:12]} (process {os.getpid()} on {socket.gethostname()})"


@dataclass(frozen=True, slots=True)
class Group:
    """The committed offset of the group, and its note. Versions before 1.0 committed no note."""

    checkpoint: int | None
    note: Note | None


@dataclass(frozen=True, slots=True)
class Written:
    """The newest note in a topic, None if none was found. `sure`: no later note of this owner can be in the topic."""

    note: Note | None
    sure: bool

    def lacks(self, group: Group) -> bool:
        """Return whether the topic lacks the records of the transaction whose note the group has."""
        newest = self.note.checkpoint if self.note is not None else 0
        return self.sure and group.note is not None and group.note.records and group.note.checkpoint > newest


def standing_of(group: Group, last: Note | None, topic: str) -> Standing:
    """Return the state of a topic by the note of the group and the last note in the topic.

    The note with the larger checkpoint decides, unless the process that wrote the group's note had seen the other one.
    """
    number = group.checkpoint or 0
    seen = max(number, group.note.seen if group.note is not None else 0)
    lost = last is not None and last.checkpoint > number
    if last is not None and last.checkpoint > seen:
        return Standing(topic, last.checkpoint, last.mark, last.meaning, last.process, recorded=True, lost=lost)
    if group.note is not None:
        return Standing(topic, seen, group.note.mark, group.note.meaning, group.note.process, recorded=True)
    return Standing(topic, seen, None, "", "", recorded=group.checkpoint is not None, numbered=number or None)


def group_of(settings: Mapping[str, Any], topic: str, owner: str, reasons: Reasons) -> Group:
    """Return the committed offset of the group `owner`. Raises KafkaException; `reasons` get the errors of the connections.

    A commit that is under way does not count, and is not waited for: only a new client of the transactional id ends it.
    """
    # Not by an admin client: librdkafka 2.16.1 may end the process when it reads the answer for one.
    consumer = consumer_of(settings, owner, "read_uncommitted", error_cb=reasons)
    try:
        (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=_GROUP_S)
    except KafkaException as error:
        consumer.poll(0)  # `reasons` get the errors
        if error.args[0].code() == KafkaError._TIMED_OUT and not reasons.newest:  # noqa: SLF001  # its public name
            _raise_if_refused(settings, owner)
        raise
    finally:
        consumer.close()
    if found.error is not None:
        raise KafkaException(found.error)
    if found.offset < 0:
        return Group(None, None)
    return Group(int(found.offset), _decoded(found.metadata, owner))


def _raise_if_refused(settings: Mapping[str, Any], owner: str) -> None:
    """Raise KafkaException if Kafka refuses to describe the group: a consumer reports the same as a timeout."""
    admin = AdminClient(client_settings(settings))
    admin.describe_consumer_groups([owner], request_timeout=_TIMEOUT_S)[owner].result()


def last_note(settings: Mapping[str, Any], topic: str, owner: str, reasons: Reasons) -> Written:
    """Return the newest note of `owner` near the ends of the partitions. Raises KafkaException, as `group_of` does."""
    more = {
        "enable.partition.eof": True,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
        "error_cb": reasons,
    }
    consumer = consumer_of(settings, owner, "read_committed", **more)
    try:
        places = partitions_of(consumer, topic)
        ends = {place.partition: consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S) for place in places}
        for window in _WINDOWS:
            begins = {number: max(low, high - window) for number, (low, high) in ends.items() if low < high}
            found = [note for message in _read(consumer, topic, begins) if (note := _note_in(message, owner)) is not None]
            if found or all(begins[number] == ends[number][0] for number in begins):
                newest = max(found, key=lambda note: note.checkpoint, default=None)
                whole = not found and not any(low for low, _ in ends.values())
                return Written(newest, sure=len(places) == 1 and (newest is not None or whole))
    finally:
        consumer.close()
    return Written(None, sure=False)


def _read(consumer: Consumer, topic: str, begins: Mapping[int, int]) -> Iterable[Message]:
    """Yield the records of each partition from an offset to its end. Raises KafkaException, also if the end does not come."""
    consumer.assign([TopicPartition(topic, number, offset) for number, offset in begins.items()])
    left = set(begins)
    heard_at = time.monotonic()
    while left:
        messages = consumer.consume(1_000, _STEP_S)  # waits the whole time unless there are a thousand
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > _TIMEOUT_S:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"the end of topic {topic} is not reached"))  # noqa: SLF001
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                left.discard(message.partition())
            else:
                raise KafkaException(error)


def _note_in(message: Message, owner: str) -> Note | None:
    headers: Any = message.headers() or ()
    return next((_decoded(value, owner) for name, value in headers if name == HEADER), None)


def _decoded(text: bytes | str | None, owner: str) -> Note | None:
    """Return the note of `owner` in `text`; None if another program or another owner wrote it."""
    try:
        note = msgspec.json.decode(text or "", type=Note)
    except msgspec.DecodeError:
        return None
    return note if note.owner == owner else None
