"""The queue from which polls of one topic are read, beside the consumer's own one, which keeps errors and callbacks."""

import os
from collections import deque
from collections.abc import Iterable

from confluent_kafka import Consumer

from actors.sources.kafka.columns.memory import Library, Messages
from actors.sources.kafka.columns.proofs import handle_of, holds

_MENDED = 64
"""How many partitions `mend` forwards. Cost: 2 us each."""


class Queue:
    """The queue of a consumer's records. A poll is valid until the next one. One thread uses it."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._library = Library()
        self._consumer = consumer  # it must outlive the queue
        self._handle = handle_of(consumer, self._library.held)
        self._topic = topic.encode()
        self._process = os.getpid()
        self._followed: set[int] = set()
        self._turns: deque[int] = deque()
        self._messages: Messages | None = None
        self._queue: int | None = self._library.queue(self._handle)

    def follow(self, partitions: Iterable[int]) -> None:
        """Take the records of these partitions from now on. Call this before they are assigned."""
        queue = self._checked()
        for number in partitions:
            if number not in self._followed:
                self._followed.add(number)
                self._turns.append(number)
            self._forward(number, queue)

    def mend(self) -> None:
        """Forward some of the followed partitions again, by turns. Call this all the time.

        librdkafka ends the forwarding of a partition when its own thread stops fetching the partition. That can come later than
        `follow`, if the partition is unassigned and soon assigned again. Nothing more would come of it.
        """
        queue = self._checked()
        for _ in range(min(_MENDED, len(self._turns))):
            self._forward(self._turns[0], queue)
            self._turns.rotate(-1)

    def poll(self, count: int, timeout_s: float) -> Messages:
        """Release the last poll, and return the next one. Waits until `count` messages are there, or `timeout_s` is over."""
        queue = self._checked()
        self._release()
        self._messages = Messages(self._library, queue, count, timeout_s)
        return self._messages

    def close(self) -> None:
        """Give everything back: before the consumer is closed, which would otherwise wait for ever."""
        queue, self._queue = self._queue, None
        if queue is None or not self._alive:
            return
        self._release()
        for number in self._followed:
            self._forward(number, None)
        self._library.drop_queue(queue)

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
