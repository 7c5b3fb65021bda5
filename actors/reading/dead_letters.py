"""The front end's side of dead letters: sends them to their writer, and limits the bytes that wait there."""

import itertools
from collections import deque
from collections.abc import Callable, Sequence

from actors.messages import Dead, DeadLetterWriterMessage, DeadSecured, DeadWritten, SecureDead, WriteDead
from actors.protocol import Address, RequestId

_MOST_BYTES = 16 << 20
_MOST_MESSAGES = 1_000
"""A quarter of the capacity of the writer's mailbox."""

_OVERHEAD_BYTES = 200
"""Python's memory for a record, without its value and key."""

Send = Callable[[Address[DeadLetterWriterMessage], WriteDead | SecureDead], None]


class DeadLetters:
    """Sends refused records to `writer`, which replies to `front_end`. Without a writer it sends nothing."""

    def __init__(
        self, send: Send, front_end: Address[DeadWritten | DeadSecured], writer: Address[DeadLetterWriterMessage] | None
    ) -> None:
        self._send = send
        self._front_end = front_end
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: deque[tuple[RequestId, int]] = deque()
        self._sent = self._safe = RequestId(0)
        self._asked: RequestId | None = None
        self.nbytes = 0
        """The bytes of the dead letters that wait at the writer."""
        self.stalls = 0
        """The number of times that reading stopped because too many dead letters waited at the writer."""

    @property
    def full(self) -> bool:
        """Whether nothing may be read until the writer has written some dead letters."""
        return self.nbytes >= _MOST_BYTES or len(self._waiting) >= _MOST_MESSAGES

    def send(self, records: Sequence[Dead]) -> None:
        """Send the refused records of one poll. Cost: O(records)."""
        if self._writer is None or not records:
            return
        nbytes = sum(_OVERHEAD_BYTES + len(record.value or b"") + len(record.key or b"") for record in records)
        self._sent = RequestId(next(self._ids))
        self._waiting.append((self._sent, nbytes))
        self.nbytes += nbytes
        self.stalls += self.full
        self._send(self._writer, WriteDead(self._sent, records, self._front_end))

    def written(self, message: DeadWritten) -> None:
        """Note that the writer has written the records up to a request. A repeated message changes nothing."""
        while self._waiting and self._waiting[0][0] <= message.request_id:
            self.nbytes -= self._waiting.popleft()[1]

    def secure(self) -> bool:
        """Ask the writer to have all dead letters acknowledged. Returns False if they are; else `DeadSecured` will come."""
        if self._writer is None or self._sent <= self._safe:
            return False
        self._asked = RequestId(next(self._ids))
        self._send(self._writer, SecureDead(self._asked, self._front_end))
        return True

    def secured(self, message: DeadSecured) -> bool:
        """Note the writer's reply. Returns whether it is the reply to the last request, and the request was not forgotten."""
        if message.safe:
            self._safe = max(self._safe, message.request_id)
        if message.request_id != self._asked:
            return False
        self._asked = None
        return True

    def forget_request(self) -> None:
        """Expect no reply any more, because the checkpoint that needed it is abandoned."""
        self._asked = None
