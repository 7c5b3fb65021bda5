"""The front end's side of dead letters: sends them to their writer, bounds the bytes that wait there, asks for their safety."""

import itertools
from collections import deque
from collections.abc import Sequence

from actors.messages import Dead, DeadLetterWriterMessage, DeadSecured, DeadWritten, FrontEndMessage, SecureDead, WriteDead
from actors.protocol import Address, RequestId
from actors.runtime.actor import Actor

_MOST_BYTES = 16 << 20
_MOST_MESSAGES = 1_000
"""A quarter of what the writer's mailbox holds."""

_OVERHEAD_BYTES = 200
"""What Python takes for a record beside its value and key."""


class DeadLetters:
    """Sends the refused records of `front_end`, which owns it, to `writer`. Without a writer it sends nothing."""

    def __init__(self, front_end: Actor[FrontEndMessage], writer: Address[DeadLetterWriterMessage] | None) -> None:
        self._front_end = front_end
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: deque[tuple[RequestId, int]] = deque()
        self._sent = self._safe = RequestId(0)
        self._asked: RequestId | None = None
        self.nbytes = 0
        """Bytes of the dead letters that wait at the writer."""
        self.stalls = 0
        """How often reading had to stop because too much waited at the writer."""

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
        self._front_end.send(self._writer, WriteDead(self._sent, records, self._front_end.address))

    def written(self, message: DeadWritten) -> None:
        """Note that the records up to a message are written. A repeated message changes nothing."""
        while self._waiting and self._waiting[0][0] <= message.request_id:
            self.nbytes -= self._waiting.popleft()[1]

    def secure(self) -> bool:
        """Ask the writer to make all dead letters safe. Returns whether that is needed; `DeadSecured` comes then."""
        if self._sent <= self._safe:
            return False
        self._asked = RequestId(next(self._ids))
        self._front_end.send(self._writer, SecureDead(self._asked, self._front_end.address))
        return True

    def secured(self, message: DeadSecured) -> bool:
        """Note the writer's reply. Returns whether it is the reply to the last request, and that still matters."""
        if message.safe:
            self._safe = max(self._safe, message.request_id)
        if message.request_id != self._asked:
            return False
        self._asked = None
        return True

    def forget_request(self) -> None:
        """Expect no reply any more: the checkpoint that needed it is given up."""
        self._asked = None
