"""The actor that writes posted records to the stream's own topic.

It replies when Kafka has acknowledged all records of a request, and at the request's deadline with what is known by then.
"""

import time
from collections.abc import Callable, Mapping
from typing import assert_never

from actors.messages import Look, WriterMessage
from actors.protocol import Home, Message
from actors.replies import Busy, Unacceptable, Write, WriteToAll, Written
from actors.runtime.actor import Actor, System
from actors.sinks.posting import KafkaWriter
from actors.sinks.receipt import Receipt, Unwritten

_LOOK_S = 0.002


class Writer(Actor[WriterMessage]):
    """Writes to one stream's topic. `connect` makes the client at the first message."""

    def __init__(self, system: System, *, stream: str, connect: Callable[[], KafkaWriter]) -> None:
        super().__init__(system, stream=stream)
        self._connect = connect
        self._client: KafkaWriter | None = None
        self._looking = False
        self._records = 0
        self._open: list[tuple[Write | WriteToAll, Receipt]] = []

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
            case Write() | WriteToAll():
                self._write(message, self._client)
            case Look():
                self._looking = False
            case _:
                assert_never(message)
        left = self._client.poll()
        self._report_late()
        if left and not self._looking:
            self._looking = True
            self.later(_LOOK_S, self.address, Look())

    def _write(self, message: Write | WriteToAll, client: KafkaWriter) -> None:
        """Write the records, and reply when all are settled. A request that comes too late is refused as a whole."""
        if time.monotonic() >= message.until:
            message.reply_to(Busy("earlier requests took too long; nothing was taken"))
            return

        def done(receipt: Receipt) -> None:
            message.reply_to(_reply(receipt))

        if isinstance(message, Write):
            self._records += len(message.values)
            receipt = client.write(message.values, message.keys, done, until=message.until)
        else:
            receipt = client.write_to_all(message.key, message.value, done, until=message.until)
        if receipt.left:
            self._open.append((message, receipt))

    def _report_late(self) -> None:
        """Reply to each request whose time is over what is known of its records. The last reply comes when all are settled."""
        if not self._open:
            return
        now = time.monotonic()
        for message, receipt in self._open:
            if receipt.left and now >= message.until:
                message.reply_to(_reply(receipt))
        self._open = [(message, receipt) for message, receipt in self._open if receipt.left and now < message.until]

    def failed(self, message: Message, error: Exception) -> None:
        """Reply to the failed request: its records may or may not be written."""
        if isinstance(message, Write | WriteToAll):
            count = len(message.values) if isinstance(message, Write) else 1  # at least
            message.reply_to(Written({}, open=count, problem=f"the request failed: {type(error).__name__}"))
        else:
            super().failed(message, error)


def _reply(receipt: Receipt) -> Written | Busy:
    """Return what is known of a request: `Busy` or `Unacceptable` only if it is certain that no record is written."""
    known, problem = receipt.left + receipt.unknown, receipt.explain()
    if problem is not None and not receipt.acknowledged and not known:
        return _refused(problem)
    reason = None if problem is None else problem.reason
    return Written(dict(receipt.offsets), receipt.acknowledged, receipt.refused, known, reason)


def _refused(problem: Unwritten) -> Busy:
    """Return the reply to a request of which nothing is written."""
    if problem.lasting is None:
        return Busy(f"Kafka took nothing: {problem.reason}")
    return Unacceptable(problem.reason, problem.lasting)
