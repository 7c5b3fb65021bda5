"""Micro-batches on their way to the active collector: cut, sent as credits allow, and taken back where it has retired.

The front end's, which owns it. Nothing in it outlives a round.
"""

from collections import deque

import numpy as np

from actors.messages import FrontEndMessage, Ingest, Ingested, InputEnded, Returned, SetCollectorMessage
from actors.protocol import Address, Round
from actors.reading.pace import Pace
from actors.reading.poison import Origin, Suspects
from actors.runtime.actor import Actor
from actors.timeline.batch import Batch
from actors.views.view import Events


class Outbox:
    """Sends for `front_end`. Until `begin` there is nobody to send to."""

    def __init__(self, front_end: Actor[FrontEndMessage], pace: Pace) -> None:
        self._front_end = front_end
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
        """Batches put in during this round."""

    @property
    def ready(self) -> bool:
        """Whether there is a collector to send to."""
        return self._collector is not None

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._waiting and not self._returned

    @property
    def settled(self) -> bool:
        """Whether every batch is in its slice, and what it made due is delivered."""
        return self.empty and self._credits == self._pace.credits

    @property
    def events(self) -> int:
        """Events on their way: those that wait, and those that were sent and are not known to be taken in."""
        return self._sent_events + sum(message.count for message in (*self._returned, *self._waiting))

    @property
    def nbytes(self) -> int:
        """Bytes of what waits."""
        return sum(message.batch.nbytes for message in (*self._returned, *self._waiting) if message.batch is not None)

    def begin(self, number: Round, collector: Address[SetCollectorMessage]) -> None:
        """Begin round `number` with `collector`: what was on its way belongs to the round before."""
        self.round, self._collector, self._successor = number, collector, None
        self._waiting.clear()
        self._returned.clear()
        self._credits, self._sent_events, self.puts = self._pace.credits, 0, 0

    def follow(self, collector: Address[SetCollectorMessage]) -> None:
        """Send to `collector` from now on, once all that went to the one before is taken in, or has come back."""
        self._farewell(self._successor)
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

    def put(self, batch: Events | None, until: int | None, *, idle: bool = False, origin: Origin | None = None) -> None:
        """Have a batch sent, or none; the stream is complete up to `until` with it."""
        self.puts += 1
        self._waiting.append(Ingest(batch, until, self.round, idle, origin))

    def put_ordered(self, batch: Batch, until: int | None, suspects: Suspects) -> None:
        """Have an ordered batch sent in pieces cut by time, small ones where something in it is suspected.

        Each piece says up to where the stream is complete with it.
        """
        parts = suspects.suspected(batch)
        if parts is not None:
            before, inside, batch = parts
            self._put_coarsely(before, inside.first())
            self._put_finely(inside, batch.first() if batch.count else until, suspects.size or 1)
        self._put_coarsely(batch, until)

    def send(self, *, one_by_one: bool) -> None:
        """Send what credits allow; `one_by_one`, so that it is known which batch fails, with all of them there alone."""
        if self._successor is not None and self._credits == self._pace.credits:
            self._farewell(self._collector)
            self._collector, self._successor = self._successor, None
            self._waiting.extendleft(reversed(self._returned))
            self._returned.clear()
        # What came back from a collector that has retired goes to its successor first.
        if self._collector is None or self._successor is not None or self._returned:
            return
        least = self._pace.credits if one_by_one else 1
        while self._waiting and self._credits >= least:
            message = self._waiting.popleft()
            self._credits -= 1
            self._sent_events += message.count
            self._front_end.send(self._collector, message)

    def _put_coarsely(self, batch: Batch, until: int | None) -> None:
        longest = max(batch.times, key=len)
        step = max(1, self._pace.micro_batch // len(batch.times))
        for bound in longest[step::step].tolist():
            piece, batch = batch.split(bound)
            if piece.count:
                self.put(piece, None if until is None else min(bound, until))
        if batch.count:
            self.put(batch, until)

    def _put_finely(self, batch: Batch, until: int | None, size: int) -> None:
        """Cut into pieces of `size` events, in order of time and category."""
        times = np.concatenate(batch.times)
        categories = np.repeat(np.arange(len(batch.times)), [column.size for column in batch.times])
        order = np.lexsort((categories, times))
        for start in range(size, times.size, size):
            chosen = np.bincount(categories[order[start - size : start]], minlength=len(batch.times))
            piece, batch = batch.split_at(chosen.tolist())
            self.put(piece, None if until is None else min(int(times[order[start]]), until))
        self.put(batch, until)

    def _farewell(self, collector: Address[SetCollectorMessage] | None) -> None:
        """Tell a collector that it gets nothing from here any more."""
        if collector is not None:
            self._front_end.send(collector, InputEnded())
