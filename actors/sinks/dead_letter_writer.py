"""The actor that writes a stream's dead letters, on a thread of its own, and reports when they are safe.

If the topic's broker is away, checkpoints are late, and reading stops at the front end's bound. No query waits.
"""

from collections import deque
from collections.abc import Mapping
from typing import assert_never

from actors.messages import DeadLetterWriterMessage, DeadSecured, DeadWritten, Look, SecureDead, WriteDead
from actors.protocol import Address, Home, Message, RequestId
from actors.runtime.actor import Actor, System
from actors.sinks.dead_letters import DeadLetterSink

_LOOK_S = 0.05
_AGAIN_S = 0.5


class DeadLetterWriter(Actor[DeadLetterWriterMessage]):
    """Writes one stream's dead letters to `sink`. The front end bounds how many bytes wait here."""

    def __init__(self, system: System, *, stream: str, sink: DeadLetterSink) -> None:
        super().__init__(system, stream=stream)
        self._sink = sink
        self._newest = RequestId(0)
        self._marks: deque[tuple[RequestId, int, Address[DeadWritten]]] = deque()
        self._looking = False

    @property
    def counted(self) -> Mapping[str, int]:
        """Dead letters: written, acknowledged by Kafka, given up."""
        return {"dead letters": self._sink.written, "delivered": self._sink.delivered, "lost": self._sink.lost}

    @property
    def home(self) -> str:
        """Run on a thread of its own: a broker that is away delays no other actor."""
        return Home.DEAD_LETTERS.of(self.stream)

    def on_stop(self) -> None:
        """Close the sink, which waits up to three seconds for acknowledgements."""
        self._sink.close()

    def receive(self, message: DeadLetterWriterMessage) -> None:
        """Handle one message."""
        match message:
            case WriteDead():
                self._take(message)
                self._go_on()
            case SecureDead(request_id, front_end):
                self.send(front_end, DeadSecured(request_id, self._sink.secure()))
                self._go_on()
            case Look():
                self._looking = False
                self._go_on()
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Keep the records of a failed `WriteDead` for another try; reply to a failed `SecureDead` that nothing is safe."""
        super().failed(message, error)
        if isinstance(message, WriteDead):
            self._take(message)
        elif isinstance(message, SecureDead):
            self.send(message.front_end, DeadSecured(message.request_id, safe=False))
        else:
            self._looking = False
        self._look(_AGAIN_S)

    def _take(self, message: WriteDead) -> None:
        """Give the records of a message to the sink, once even if the message failed and is handled again."""
        if message.request_id > self._newest:
            self._newest = message.request_id
            self._sink.write(message.records)
            self._marks.append((message.request_id, self._sink.written, message.front_end))

    def _go_on(self) -> None:
        """Write, report each message whose records are all in Kafka's client, and check again until all are acknowledged."""
        self._sink.poll()
        handed = self._sink.written - self._sink.held
        while self._marks and self._marks[0][1] <= handed:
            request_id, _, front_end = self._marks.popleft()
            self.send(front_end, DeadWritten(request_id))
        if self._sink.unacknowledged:
            self._look(_LOOK_S)

    def _look(self, seconds: float) -> None:
        if not self._looking:
            self._looking = True
            self.later(seconds, self.address, Look())
