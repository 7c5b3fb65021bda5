"""Topics: created where they are absent; and whether one is still the one that it was, or another of its name.

Used by the Kafka source and sink.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # it is exported
from confluent_kafka.cimpl import NewTopic

_NO_ID = Uuid(0, 0)
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID}
_PERIOD_S = 0.1
_TIMEOUT_S = 5.0
_BATCH_BYTES = 512
_LIBRARYS_LONGEST = 1_000_000
_SHARED = ("bootstrap.servers", "security.", "sasl.", "ssl.", "client.id", "broker.address.family")
"""Settings of a consumer that a client without records needs too, or how they begin."""


def client_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a consumer's or producer's settings any client needs to connect."""
    return {name: value for name, value in settings.items() if name.startswith(_SHARED)} | {"log_level": 0}


def ensure_topic(settings: Mapping[str, Any], topic: str, partitions: int) -> None:
    """Create `topic` unless it is there.

    Raises OSError where that cannot be done now. A broker that creates topics itself, when it is asked about them, may.
    """
    admin = AdminClient(client_settings(settings))
    try:
        found = admin.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if found.error is None and found.partitions:
            return
        admin.create_topics([NewTopic(topic, partitions)], request_timeout=_TIMEOUT_S)[topic].result()
    except KafkaException as error:
        code = error.args[0].code()
        if code not in {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError._UNSUPPORTED_FEATURE}:  # noqa: SLF001  # its public name
            raise OSError(f"topic {topic}: {error.args[0].str()}") from error


def longest_record(settings: Mapping[str, Any], topic: str) -> int:
    """Return the bytes of the longest record that both the producer's `settings` and the topic let through.

    Raises OSError where that cannot be known now.
    """
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient(client_settings(settings))
    try:
        asked = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)
        taken = int(asked[resource].result()["max.message.bytes"].value) - _BATCH_BYTES
    except KafkaException as error:
        raise OSError(f"topic {topic}: {error.args[0].str()}") from error
    return min(taken, int(settings.get("message.max.bytes", _LIBRARYS_LONGEST)))


Change = Literal["gone", "back", "another"]
"""`back` is the same topic again: only the broker that was asked had not known of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the broker knows it now: its partitions, none where there is no topic; its id, None where none is known."""

    partitions: frozenset[int]
    identity: str | None


class TopicIdentity:
    """Follows the id of `topic`: a deleted and re-created topic has its name, and another id. One source owns it.

    Asks the broker in the background, ten times a second, and never waits for the answer; only `look` waits.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        self._settings = client_settings(settings)
        self._topic = topic
        self._admin: AdminClient | None = None
        self._asked: Future[Any] | None = None
        self._asked_at = 0.0
        self.known: str | None = None
        self.there = True

    def look(self, timeout_s: float) -> Found:
        """Ask the broker now, and keep nothing of it. Raises OSError where it does not answer in time."""
        admin = self._connected()
        try:
            seen = admin.list_topics(self._topic, timeout=timeout_s)
            found = seen.topics[self._topic]
            partitions = frozenset(found.partitions) if found.error is None else frozenset[int]()
            if not partitions or seen.controller_id not in seen.brokers:  # the embedded broker never answers what follows
                return Found(partitions, None)
            answer = admin.describe_topics(TopicCollection([self._topic]), request_timeout=timeout_s)
            return Found(partitions, _id_of(answer[self._topic].result()))
        except KafkaException as error:
            if error.args[0].code() in _GONE:
                return Found(frozenset(), None)
            raise OSError(f"topic {self._topic}: {error.args[0].str()}") from error

    def changed(self, now: float) -> Change | None:
        """Return what has become of the topic since the last call. Cost: a look at the clock, mostly.

        A broker that does not answer, or does not know ids, changes nothing; `known` is the id, `there` whether it has one.
        """
        if self._asked is None:
            if now - self._asked_at >= _PERIOD_S:
                self._asked_at = now
                topics = TopicCollection([self._topic])
                self._asked = self._connected().describe_topics(topics, request_timeout=_TIMEOUT_S)[self._topic]
            return None
        if not self._asked.done():
            return None
        answered, self._asked = self._asked, None
        try:
            found = _id_of(answered.result())
        except KafkaException as error:
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

    def settle(self, identity: str | None) -> None:
        """Go on from this id, whatever was known before; answers to earlier questions do not count."""
        self.known, self.there, self._asked = identity, True, None

    def forget(self) -> None:
        """Let go of the connection; the id stays known."""
        self._admin, self._asked = None, None

    def _connected(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._settings)
        return self._admin


def _id_of(description: Any) -> str | None:
    """Return the id in a broker's answer; one that knows no ids sends nought."""
    identity = description.topic_id
    return None if identity is None or identity == _NO_ID else str(identity)
