"""What the service asks Kafka about topics: creation, the longest record, rights, offsets, and whether one was recreated.

Also the settings of the clients that only look. Used by the Kafka source and the Kafka sinks.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
    Uuid,
)
from confluent_kafka.admin import AclOperation, AdminClient, ClusterMetadata, ConfigResource, OffsetSpec  # type: ignore[attr-defined]  # exported
from confluent_kafka.cimpl import NewTopic

from actors.kafka_trouble import Reasons

_NO_ID = str(Uuid(0, 0))
"""Of a topic on Kafka before 2.8. The texts are compared, because confluent-kafka 2.16.1 compares Uuid objects by identity."""

_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID}
_PERIOD_S = 0.1
_SILENCE_A_PERIOD = 50
_LONGEST_PERIOD_S = 0.5
_CONFIRM_S = 0.5
_PERIOD_S_A_PARTITION = 0.0003
_TIMEOUT_S = 5.0
_SHORTEST_S = 0.01
_PROBE_TIMEOUT_S = 2.5
_UNHEARD_S = 1.0
_AGAIN_S = 0.05
_BATCH_BYTES = 512
_LIBRARYS_LENGTHS = 1_000, 1_000_000_000
"""The range of librdkafka's `message.max.bytes`."""

_DELETE = "use a topic with cleanup.policy=delete"
_ROLE = ("group.", "transactional.", "transaction.", "enable.idempotence")
"""Prefixes of the settings that give a client a role: a member of a group, a transactional or an idempotent producer."""

LOOKS_ONLY: dict[str, Any] = {"allow.auto.create.topics": False}
"""Without this setting librdkafka's producers and admin clients create a topic by a request for its metadata.

A broker with `auto.create.topics.enable`, which is Kafka's default, would then create a misspelt topic, with its own number of
partitions. Users can set it to true under `kafka`.
"""


def client_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a consumer's or producer's settings for a client without a role. librdkafka ignores what does not apply to it."""
    own = {name: value for name, value in settings.items() if not name.startswith(_ROLE)}
    return {**LOOKS_ONLY, **own, "log_level": 0}


def left_until(deadline: float) -> float:
    """Return the seconds that one request may take before a monotonic time: above zero, because librdkafka needs that."""
    return max(_SHORTEST_S, min(_TIMEOUT_S, deadline - time.monotonic()))


def metadata_of(client: AdminClient | Consumer | Producer, topic: str, timeout_s: float) -> ClusterMetadata:
    """Return what a broker knows of a topic now. Raises KafkaException if no answer comes within `timeout_s`.

    librdkafka replaces the first connection of a client once it knows the brokers, and ends the request that is on its way over
    the old one; a broker that starts closes connections too. Such a request is sent again in the first half of the time, with
    pauses, because the next connection may be refused at once.
    """
    left_s, deadline = timeout_s, time.monotonic() + timeout_s
    while True:
        try:
            return client.list_topics(topic, timeout=max(_SHORTEST_S, left_s))
        except KafkaException as error:
            left_s = deadline - time.monotonic()
            if error.args[0].code() != KafkaError._TRANSPORT or left_s < timeout_s / 2:  # noqa: SLF001  # its public name
                raise
            time.sleep(_AGAIN_S)


def ensure_topic(
    settings: Mapping[str, Any],
    topic: str,
    partitions: int,
    *,
    longest: Callable[[], int | None] | None = None,
    timeout_s: float = 2 * _TIMEOUT_S,
) -> None:
    """Create `topic` unless it exists. `longest` returns the bytes of the longest record that it then takes; None: the default.

    Waits `timeout_s` at most, and in addition for `longest`. Raises OSError if that cannot be done now.
    """
    deadline = time.monotonic() + timeout_s
    reasons = Reasons(settings)
    admin = _admin(settings, reasons)
    try:
        found = metadata_of(admin, topic, left_until(deadline)).topics[topic]  # creates nothing: LOOKS_ONLY
        if found.error is None and found.partitions:
            return
        left_s = left_until(deadline)
        wanted = longest() if longest is not None else None
        configuration = {} if wanted is None else {"max.message.bytes": str(wanted + _BATCH_BYTES)}
        admin.create_topics([NewTopic(topic, partitions, config=configuration)], request_timeout=left_s)[topic].result()
    except KafkaException as error:
        code = error.args[0].code()
        if code not in {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError._UNSUPPORTED_FEATURE}:  # noqa: SLF001  # its public name
            raise OSError(_why(topic, error, admin, reasons)) from error


def longest_record(settings: Mapping[str, Any], topic: str, *, keyed: bool = True, timeout_s: float = 2 * _TIMEOUT_S) -> int:
    """Return the bytes of the longest record that both the producer's `settings` and the topic accept.

    Waits `timeout_s` at most. Raises PermissionError if Kafka refuses to describe the topic's configuration, or has no
    controller to describe topics, as the embedded broker; another OSError if the topic's limit cannot be read now, or if the
    topic is compacted and the records are not `keyed`.
    """
    deadline = time.monotonic() + timeout_s
    reasons = Reasons(settings)
    admin = _admin(settings, reasons)
    try:
        seen = metadata_of(admin, topic, left_until(deadline))
        if seen.controller_id not in seen.brokers:
            raise PermissionError(f"topic {topic}: no broker is the controller, which describes topics")
        found = _configuration(admin, topic, deadline)
        taken = int(found["max.message.bytes"].value) - _BATCH_BYTES
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise PermissionError(f"Kafka refuses the right to DESCRIBE_CONFIGS topic {topic}") from error
        raise OSError(_why(topic, error, admin, reasons)) from error
    if not keyed and "compact" in str(found["cleanup.policy"].value):
        raise OSError(f"topic {topic} is compacted, so each record needs a key: set output.key, or {_DELETE}")
    shortest, longest = _LIBRARYS_LENGTHS
    return max(shortest, min(taken, int(settings.get("message.max.bytes", longest))))


def _configuration(admin: AdminClient, topic: str, deadline: float) -> dict[str, Any]:
    """Return a topic's configuration. A broker may not have heard of a new topic yet, so that answer counts after a second."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    unheard_until = min(deadline, time.monotonic() + _UNHEARD_S)
    while True:
        try:
            asked = admin.describe_configs([resource], request_timeout=left_until(deadline))
            found: dict[str, Any] = asked[resource].result()
        except KafkaException as error:
            if error.args[0].code() not in _GONE or time.monotonic() > unheard_until:
                raise
            time.sleep(_AGAIN_S)
        else:
            return found


def refuses_writes(settings: Mapping[str, Any], topic: str) -> bool:
    """Return whether Kafka refuses this user the right to write to `topic`; False if it does not answer in five seconds."""
    admin = _admin(settings, Reasons(settings))
    asked = admin.describe_topics(TopicCollection([topic]), include_authorized_operations=True, request_timeout=_TIMEOUT_S)
    try:
        allowed = asked[topic].result().authorized_operations
    except KafkaException:
        return False
    return bool(allowed) and AclOperation.WRITE not in allowed


def _admin(settings: Mapping[str, Any], reasons: Reasons) -> AdminClient:
    """Return a client that looks; `reasons` gets its errors when it is polled."""
    own: dict[str, Any] = {**client_settings(settings), "error_cb": reasons}
    return AdminClient(own)


def _why(topic: str, error: KafkaException, admin: AdminClient, reasons: Reasons) -> str:
    """Return why a request failed: the reasons of the connections if there are any, else the error itself."""
    admin.poll(0)
    return f"topic {topic}: {'; '.join(reasons.newest) or reasons.plain(error.args[0].str())}"


def refusal(topic: str, text: str) -> str:
    """Return the reason of a broker that answers, and refuses to show or to give the records of `topic`."""
    return f"topic {topic}: {text}: reading needs the rights DESCRIBE and READ"


Change = Literal["gone", "back", "another"]
"""`back`: the same topic is reported again, after a broker that had not heard of it reported it as gone."""


@dataclass(frozen=True, slots=True)
class Found:
    """The broker's view of a topic: its partitions, none if it does not exist; its id, None if the broker has no ids."""

    partitions: frozenset[int]
    identity: str | None


class TopicIdentity:
    """Follows the id of `topic`: a recreated topic has the same name and another id. One source owns it.

    `changed` asks the broker in the background, ten times a second if records come, and never waits. Only `look` waits.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, reasons: Reasons | None = None) -> None:
        self._settings = settings
        self._topic = topic
        self._reasons = reasons or Reasons(settings)
        self._admin: AdminClient | None = None
        self._asked: Future[Any] | None = None
        self._asked_at = 0.0
        self.known: str | None = None
        self.there = True
        self.partitions: frozenset[int] = frozenset()
        """The partitions in the newest answer to `changed`."""
        self.refused: str | None = None
        """Why the broker does not describe the topic: a missing right; None if it does."""

    def look(self, timeout_s: float) -> Found:
        """Ask the broker now. Raises OSError if no answer comes within `timeout_s`, twice, PermissionError if it refuses."""
        admin = self._connected()
        self.refused = None
        try:
            seen = metadata_of(admin, self._topic, timeout_s)
            found = seen.topics[self._topic]
            if found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self._denied(found.error)
            partitions = frozenset(found.partitions) if found.error is None else frozenset[int]()
            if not partitions or seen.controller_id not in seen.brokers:  # the embedded broker never answers the next request
                return Found(partitions, None)
            answer = admin.describe_topics(TopicCollection([self._topic]), request_timeout=timeout_s)
            return Found(partitions, _id_of(answer[self._topic].result()))
        except KafkaException as error:
            if error.args[0].code() in _GONE:
                return Found(frozenset(), None)
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self._denied(error.args[0]) from error
            raise OSError(_why(self._topic, error, admin, self._reasons)) from error

    def changed(self, now: float, silent_s: float = 0.0) -> Change | None:
        """Return the change of the topic since the last call, if any. Cost: mostly a look at the clock.

        The topic is described ten times a second, or with many partitions 0.3 ms later for each: an answer takes 50 us of each.
        If it has been silent for more than 5 s, it is described after a fiftieth of `silent_s`, at least twice a second: a
        request takes 0.6 ms of CPU. So the first records that come then need `confirmed`.
        A broker that does not answer or has no ids reports no change. `known` is the id, `there` whether the topic exists.
        """
        if self._asked is None:
            if now - self._asked_at >= period_of(len(self.partitions), silent_s):
                self._asked_at = now
                topics = TopicCollection([self._topic])
                self._asked = self._connected().describe_topics(topics, request_timeout=_TIMEOUT_S)[self._topic]
            return None
        if not self._asked.done():
            return None
        answered, self._asked = self._asked, None
        self._connected().poll(0)  # `reasons` get the errors
        try:
            described = answered.result()
            found, self.refused = _id_of(described), None
            self.partitions = frozenset(each.id for each in described.partitions)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                self._denied(error.args[0])
            if error.args[0].code() in _GONE and self.there and self.known is not None:
                self.there = False
                return "gone"
            return None
        if found is None or (found == self.known and self.there):
            return None
        known, self.known, self.there = self.known, found, True
        if known is None:
            return None
        return "back" if found == known else "another"

    def confirmed(self, now: float, silent_s: float) -> Change | None:
        """Return the change of the topic by now, if it was silent for so long that `changed` was asked less often.

        Waits for an answer that is asked for now, at most half a second; a later one counts for `changed`.
        """
        if self.known is None or silent_s <= _SILENCE_A_PERIOD * _PERIOD_S:
            return None
        self._asked, self._asked_at = None, -math.inf
        self.changed(now)
        if self._asked is not None:
            wait([self._asked], _CONFIRM_S)
        return self.changed(now)

    def stable_ends(self, partitions: Collection[int]) -> dict[int, Future[Any]]:
        """Ask for the offset at which the first open transaction of each partition begins, or its end without one.

        Never waits.
        """
        return self._ends(partitions, IsolationLevel.READ_COMMITTED)

    def last_ends(self, partitions: Collection[int]) -> dict[int, Future[Any]]:
        """Ask for the offset after the last record of each partition, committed or not. Never waits."""
        return self._ends(partitions, IsolationLevel.READ_UNCOMMITTED)

    def _ends(self, partitions: Collection[int], level: IsolationLevel) -> dict[int, Future[Any]]:
        self._connected().poll(0)  # `reasons` get the errors
        latest = {TopicPartition(self._topic, number): OffsetSpec.latest() for number in partitions}  # type: ignore[no-untyped-call]
        asked = self._connected().list_offsets(latest, isolation_level=level, request_timeout=_PROBE_TIMEOUT_S)
        return {place.partition: answer for place, answer in asked.items()}

    def end(self, partition: int, timeout_s: float) -> int:
        """Return the offset after the last record of a partition, committed or not; -1 if the broker does not report it now."""
        place = TopicPartition(self._topic, partition)
        latest = {place: OffsetSpec.latest()}  # type: ignore[no-untyped-call]
        level = IsolationLevel.READ_UNCOMMITTED
        asked = self._connected().list_offsets(latest, isolation_level=level, request_timeout=timeout_s)
        found = offset_in(asked[place])
        return -1 if found is None else found

    def follow(self, identity: str | None) -> None:
        """Follow the topic with this id from now on. Answers to earlier requests do not count."""
        self.known, self.there, self._asked, self.partitions = identity, True, None, frozenset()

    def forget(self) -> None:
        """Drop the connection; the id stays known."""
        self._admin, self._asked = None, None

    def _connected(self) -> AdminClient:
        if self._admin is None:
            self._admin = _admin(self._settings, self._reasons)
        return self._admin

    def _denied(self, error: KafkaError) -> PermissionError:
        self.refused = refusal(self._topic, error.str())
        return PermissionError(self.refused)


def period_of(partitions: int, silent_s: float) -> float:
    """Return the seconds between two requests for the id of a topic that gave no record for `silent_s`.

    >>> period_of(0, 0.0), period_of(0, 10.0), period_of(0, 3600.0)
    (0.1, 0.2, 0.5)
    """
    return max(_PERIOD_S + partitions * _PERIOD_S_A_PARTITION, min(silent_s / _SILENCE_A_PERIOD, _LONGEST_PERIOD_S))


def offset_in(answer: Future[Any]) -> int | None:
    """Wait for a broker's answer, and return its offset; None without one. A timeout may be offset -1001 and no error."""
    try:
        offset = int(answer.result().offset)
    except KafkaException:
        return None
    return offset if offset >= 0 else None


def _id_of(description: Any) -> str | None:
    """Return the id in a broker's answer; None if the broker has no ids, and so sends zero."""
    identity = description.topic_id
    return None if identity is None or str(identity) == _NO_ID else str(identity)
