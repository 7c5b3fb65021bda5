"""Why a Kafka client cannot use its brokers: the errors that librdkafka reports, as short texts that name the broker.

Used by the Kafka source, the Kafka sinks and `kafka_topic`. librdkafka reports an error again at each attempt to connect, often
twenty times a second, and with the time of the attempt. These texts are equal for equal reasons.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

_ATTEMPT = re.compile(r" \(after \d+ms in state .*\)$")
_BROKER = re.compile(r"^(?:\w+://)?([^\s/]+:\d+)/(bootstrap|\d+): ")
_SECRET = re.compile(r"passw|secret|token|jaas|\.pem$", re.IGNORECASE)
_SHORTEST_SECRET = 4
_MOST = 8

PASSING = {
    KafkaError._TIMED_OUT,  # noqa: SLF001  # their public names
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""Errors of a broker that starts. librdkafka does not mark all of them as worth a retry."""


class Reasons:
    """The newest reason of each broker, for one cluster with the client's `settings`. It is the client's `error_cb`.

    `report`, if given, gets each text. librdkafka calls on the thread that polls the client; any thread may read `newest`.
    """

    def __init__(self, settings: Mapping[str, Any], report: Callable[[str], None] | None = None) -> None:
        self.brokers = str(settings.get("bootstrap.servers", "no broker"))
        """The configured addresses."""
        self._protocol = str(settings.get("security.protocol", "plaintext")).lower()
        secrets = {str(value) for name, value in settings.items() if _SECRET.search(name)}
        self._secrets = sorted((each for each in secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._report = report
        self._by_broker: dict[str, str] = {}
        self._all_down = self._answered = False
        self.lost = 0
        """How often brokers were lost; addresses that are only configured do not count."""

    def __call__(self, error: KafkaError) -> None:
        """Take an error that librdkafka reports."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # its public name
            self._all_down = True
            self.lost += 1
            return
        text = self.plain(error.str())
        found = _BROKER.match(error.str())
        if found is not None:
            self.lost += found[2] != "bootstrap"
            if found[1] in self._by_broker or len(self._by_broker) < _MOST:
                self._by_broker[found[1]] = text
        if self._report is not None:
            self._report(text)

    def plain(self, text: str) -> str:
        """Return an error's text without the times of the attempt, without librdkafka's names, and without any secret."""
        text = _BROKER.sub(r"\1: ", _ATTEMPT.sub("", text))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @property
    def newest(self) -> tuple[str, ...]:
        """The reasons since the last `clear`, one a broker. librdkafka gives none if the broker itself ends each connection."""
        if self._by_broker or self._answered or not self._all_down:
            return tuple(self._by_broker.copy().values())
        return (f"{self.brokers}: the connection is closed at once: is security.protocol: {self._protocol} right?",)

    def clear(self) -> None:
        """Forget all reasons, because the brokers answer."""
        self._by_broker, self._all_down, self._answered = {}, False, True
