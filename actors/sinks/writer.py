"""The actor that writes posted records to the stream's own topic, and replies when Kafka has acknowledged all of them."""

from collections.abc import Callable, Mapping
from typing import assert_never

from actors.messages import Look, WriterMessage
from actors.protocol import Home, Message, ReplyTo
from actors.replies import Busy, Write, WriteToAll, Written
from actors.runtime.actor import Actor, System
from actors.sinks.posting import Acknowledged, KafkaWriter

_LOOK_S = 0.002


class Writer(Actor[WriterMessage]):
    """Writes to one stream's topic. `connect` makes the client at the first message."""

    def __init__(self, system: System, *, stream: str, connect: Callable[[], KafkaWriter]) -> None:
        super().__init__(system, stream=stream)
        self._connect = connect
        self._client: KafkaWriter | None = None
        self._looking = False
        self._records = 0

    @property
    def counted(self) -> Mapping[str, int]:
        """The number of posted records, acknowledged or not."""
        return {"records": self._records}

    @property
    def home(self) -> str:
        """Run on a thread of its own: a broker that is away delays no other actor."""
        return Home.INPUT.of(self.stream)

    def on_stop(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()

    def receive(self, message: WriterMessage) -> None:
        """Handle one message."""
        if self._client is None:
            self._client = self._connect()
        match message:
            case Write(values, keys, reply_to):
                self._records += len(values)
                self._client.write(values, keys, _replied(reply_to))
            case WriteToAll(key, value, reply_to):
                self._client.write_to_all(key, value, _replied(reply_to))
            case Look():
                self._looking = False
            case _:
                assert_never(message)
        if self._client.poll() and not self._looking:
            self._looking = True
            self.later(_LOOK_S, self.address, Look())

    def failed(self, message: Message, error: Exception) -> None:
        """Reply to the failed request: its records may or may not be written."""
        if isinstance(message, Write | WriteToAll):
            message.reply_to(Busy(f"the request failed: {type(error).__name__}"))


def _replied(reply_to: ReplyTo[Written]) -> Acknowledged:
    """Return the callback that turns Kafka's acknowledgement of one request into the reply."""

    def done(error: str | None, offsets: dict[int, int]) -> None:
        reply_to(Written(offsets) if error is None else Busy(f"Kafka did not take it: {error}"))

    return done
