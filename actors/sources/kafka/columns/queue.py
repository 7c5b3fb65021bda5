"""The queue from which polls of one topic are read, with the errors of its partitions.

The consumer's own queue keeps the other errors and callbacks.
"""

import contextlib
import os
import select
from collections.abc import Iterable

from confluent_kafka import Consumer

from actors.sources.kafka.columns.errors import Report, leave_errors, take_errors
from actors.sources.kafka.columns.memory import Library, Messages
from actors.sources.kafka.columns.proofs import handle_of, holds

_ONE = (1).to_bytes(8, "little")
"""What librdkafka writes to the file of an event."""


class Queue:
    """The queue of a consumer's records. A poll is valid until the next one. One thread uses it.

    From now on `report` gets what the consumer's own `error_cb` would get.
    """

    def __init__(self, consumer: Consumer, topic: str, report: Report = lambda _: None) -> None:
        self._library = Library()
        self._consumer = consumer  # it must outlive the queue
        self._handle = handle_of(consumer, self._library.held)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # it fails without a free file, and then nothing is held
        self._comes = select.poll()
        self._comes.register(self._event, select.POLLIN)
        take_errors(self._library.held, self._handle, report)
        self._topic = topic.encode()
        self._process = os.getpid()
        self._followed: set[int] = set()
        self._messages: Messages | None = None
        self._queue: int | None = self._library.queue(self._handle)
        self._library.event(self._queue, self._event, _ONE, len(_ONE))

    def follow(self, partitions: Iterable[int]) -> None:
        """Take the records of these partitions from now on. Call this before they are assigned."""
        queue = self._checked()
        for number in partitions:
            self._followed.add(number)
            self._forward(number, queue)

    def poll(self, count: int, timeout_s: float) -> Messages:
        """Release the last poll, and return the next one. Waits until `count` messages are there, or `timeout_s` is over."""
        queue = self._checked()
        self._release()
        self._messages = Messages(self._library, queue, count, timeout_s)
        return self._messages

    def rest(self, timeout_s: float) -> None:
        """Wait until there is a message, at most `timeout_s`. librdkafka writes to a file when the first one comes."""
        queue = self._checked()
        with contextlib.suppress(BlockingIOError):  # there was none since the last look
            os.eventfd_read(self._event)
        if not self._library.length(queue):
            self._comes.poll(round(timeout_s * 1000))

    def close(self) -> None:
        """Give everything back: before the consumer is closed, which would otherwise wait for ever."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        if self._alive:
            self._release()
            leave_errors(self._handle)
            for number in self._followed:
                self._forward(number, None)
            self._library.event(queue, -1, None, 0)
            self._library.drop_queue(queue)
        os.close(self._event)

    def __del__(self) -> None:
        """Close the queue: a consumer that is not closed would otherwise hold the exit of the process."""
        if hasattr(self, "_queue"):
            self.close()

    def _forward(self, number: int, queue: int | None) -> None:
        own = self._library.queue_of(self._handle, self._topic, number)
        self._library.forward(own, queue)
        self._library.drop_queue(own)

    def _release(self) -> None:
        if self._messages is not None:
            self._messages.release()
            self._messages = None

    @property
    def _alive(self) -> bool:
        """Whether the client is open, and belongs to this process."""
        return os.getpid() == self._process and holds(self._consumer, self._handle)

    def _checked(self) -> int:
        if self._queue is None or not self._alive:
            raise RuntimeError("the client was closed, or belongs to another process")
        return self._queue
