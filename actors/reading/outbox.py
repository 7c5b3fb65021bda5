"""Micro-batches on their way to the active collector: one at most for each credit, and back if the collector has retired.

The front end owns it. Its content does not outlive a round.
"""

from collections import deque
from collections.abc import Callable

from actors.messages import Ingest, Ingested, InputEnded, Returned, SetCollectorMessage
from actors.protocol import Address, Round
from actors.reading.cutting import Piece
from actors.reading.pace import Pace
from actors.views.view import Silence

Send = Callable[[Address[SetCollectorMessage], Ingest | InputEnded], None]


class Outbox:
    """Sends batches with `send`. Before `begin` there is no collector, so nothing is sent."""

    def __init__(self, send: Send, pace: Pace) -> None:
        self._send = send
        self._pace = pace
        self._waiting: deque[Ingest] = deque()
        self._returned: deque[Ingest] = deque()
        self._collector: Address[SetCollectorMessage] | None = None
        self._successor: Address[SetCollectorMessage] | None = None
        self._credits = pace.credits
        self._sent_events = 0
        self._last_credit: Ingested | Returned | None = None
        self.round = Round(0)
        self.puts = 0
        """The number of batches of this round."""

    @property
    def ready(self) -> bool:
        """Whether there is a collector to send to."""
        return self._collector is not None

    @property
    def empty(self) -> bool:
        """Whether no batch waits to be sent."""
        return not self._waiting and not self._returned

    @property
    def settled(self) -> bool:
        """Whether every batch is in its slice, and its results are delivered."""
        return self.empty and self._credits == self._pace.credits

    @property
    def events(self) -> int:
        """The number of events that are in no slice yet: those that wait, and those that were sent without a credit back."""
        return self._sent_events + sum(message.count for message in (*self._returned, *self._waiting))

    @property
    def nbytes(self) -> int:
        """The bytes of the batches that wait."""
        return sum(message.batch.nbytes for message in (*self._returned, *self._waiting) if message.batch is not None)

    def begin(self, number: Round, collector: Address[SetCollectorMessage]) -> None:
        """Begin round `number` with `collector`. Batches of the round before are dropped, and all credits are back."""
        self.round, self._collector, self._successor = number, collector, None
        self._waiting.clear()
        self._returned.clear()
        self._credits, self._sent_events, self.puts = self._pace.credits, 0, 0

    def follow(self, collector: Address[SetCollectorMessage]) -> None:
        """Send to `collector` from now on, once every batch sent to its predecessor has given its credit back."""
        self._end_input(self._successor)
        self._successor = collector

    def credited(self, message: Ingested | Returned) -> bool:
        """Take a credit back, once for each message; keep a returned batch for the successor of the retired collector.

        Returns False if the credit belongs to an earlier round, or if this very message was counted before.
        """
        credited = message.message if isinstance(message, Returned) else message
        if message is self._last_credit or credited.round != self.round:
            return False
        self._last_credit = message
        self._credits += 1
        if isinstance(credited, Ingested):
            self._sent_events -= credited.events
        else:
            self._sent_events -= credited.count
            self._returned.append(credited)
        return True

    def put(self, piece: Piece) -> None:
        """Add a batch."""
        self.puts += 1
        self._waiting.append(Ingest(piece.events, piece.until, self.round, origin=piece.origin))

    def put_silence(self, until: int | None, silence: Silence) -> None:
        """Add a batch without events, which reports that the stream is silent."""
        self.puts += 1
        self._waiting.append(Ingest(None, until, self.round, silence))

    def send(self, *, one_by_one: bool) -> None:
        """Send batches while credits last.

        If `one_by_one`, send only if no other batch is on its way, so that a failure identifies its batch.
        """
        if self._successor is not None and self._credits == self._pace.credits:
            self._end_input(self._collector)
            self._collector, self._successor = self._successor, None
            self._waiting.extendleft(reversed(self._returned))
            self._returned.clear()
        # Batches that a retired collector has returned go to its successor first.
        if self._collector is None or self._successor is not None or self._returned:
            return
        least = self._pace.credits if one_by_one else 1
        while self._waiting and self._credits >= least:
            message = self._waiting.popleft()
            self._credits -= 1
            self._sent_events += message.count
            self._send(self._collector, message)

    def _end_input(self, collector: Address[SetCollectorMessage] | None) -> None:
        """Inform a collector that no more batches will come."""
        if collector is not None:
            self._send(collector, InputEnded())
