"""Topics: created where they are absent; and whether one is still the one that it was, or another of its name.

Used by the Kafka source and sink.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

_PERIOD_S = 0.1
_TIMEOUT_S = 5.0
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
            raise OSError(0, f"topic {topic}: {error.args[0].str()}") from error


class TopicIdentity:
    """Follows the id of `topic`: a deleted and re-created topic has its name, and another id. One source owns it.

    Asks the broker in the background, ten times a second, and never waits for the answer.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        self._settings = client_settings(settings)
        self._topic = topic
        self._admin: AdminClient | None = None
        self._asked: Future[Any] | None = None
        self._asked_at = 0.0
        self._known: str | None = None
        self.there = True

    def changed(self, now: float) -> bool:
        """Whether, since the last call, the topic has gone, or come with another id. Cost: a look at the clock, mostly.

        A broker that does not answer, or does not know ids, changes nothing.
        """
        if self._asked is None:
            if now - self._asked_at >= _PERIOD_S:
                self._asked_at = now
                self._ask()
            return False
        if not self._asked.done():
            return False
        answered, self._asked = self._asked, None
        try:
            found = str(answered.result().topic_id)
        except KafkaException as error:
            gone = error.args[0].code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID}
            if gone and self.there and self._known is not None:
                self.there = False
                return True
            return False
        if found == self._known and self.there:
            return False
        first = self._known is None
        self._known, self.there = found, True
        return not first

    def forget(self) -> None:
        """Let go of the connection; the id stays known."""
        self._admin, self._asked = None, None

    def _ask(self) -> None:
        if self._admin is None:
            self._admin = AdminClient(self._settings)
        asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_TIMEOUT_S)
        self._asked = asked[self._topic]
