"""An actor's two-lane, bounded mailbox. Control overtakes data, so that a query or a stop never waits behind events.

Used by the actor base as Pykka's inbox. It never blocks a sender: what does not fit is refused, and becomes a dead letter.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from pykka._envelope import Envelope

from actors.protocol import Lane


class Mailbox:
    """Envelopes for one actor, at most `capacity` in each lane. Any thread may put; the actor alone takes.

    `wake` is called, outside of the lock, when the actor has something to do and is not at it already. `refuse` gets each
    envelope that is not taken in, with the reason.
    """

    def __init__(
        self,
        capacity: dict[Lane, int],
        wake: Callable[[], None],
        refuse: Callable[[Envelope[Any], str], None],
    ) -> None:
        self._lanes: dict[Lane, deque[Envelope[Any]]] = {lane: deque() for lane in Lane}
        self._capacity = capacity
        self._wake = wake
        self._refuse = refuse
        self._lock = threading.Lock()
        self._busy = True
        self._held = False
        self._closed = False

    def put(self, envelope: Envelope[Any]) -> None:
        """Take in an envelope, or refuse it: the mailbox is closed, or its lane is full. Never blocks."""
        lane: Lane = getattr(envelope.message, "lane", Lane.CONTROL)
        with self._lock:
            refusal = None
            if self._closed:
                refusal = "the actor has stopped"
            elif len(self._lanes[lane]) >= self._capacity[lane]:
                refusal = "the mailbox is full"
            else:
                self._lanes[lane].append(envelope)
            waking = refusal is None and self._claim()
        if refusal is not None:
            self._refuse(envelope, refusal)
        elif waking:
            self._wake()

    def get(self) -> Envelope[Any]:
        """Take the next envelope, control first.

        Raises IndexError where nothing may be taken.
        """
        with self._lock:
            if self._lanes[Lane.CONTROL] or self._held:
                return self._lanes[Lane.CONTROL].popleft()
            return self._lanes[Lane.DATA].popleft()

    def empty(self) -> bool:
        """Whether nothing may be taken."""
        return not self._lanes[Lane.CONTROL] and (self._held or not self._lanes[Lane.DATA])

    def rest(self) -> None:
        """Say that the actor has stopped taking, for now: it is woken if there is something to take."""
        with self._lock:
            self._busy = False
            waking = self._claim()
        if waking:
            self._wake()

    def hold(self) -> None:
        """Keep data back from the actor until `release`, while control goes on."""
        with self._lock:
            self._held = True

    def release(self) -> None:
        """Let data through again."""
        with self._lock:
            self._held = False

    def close(self) -> list[Envelope[Any]]:
        """Refuse everything from now on; returns what was never taken."""
        with self._lock:
            self._closed = True
            left = [envelope for lane in Lane for envelope in self._lanes[lane]]
            for queue in self._lanes.values():
                queue.clear()
        return left

    def depth(self, lane: Lane) -> int:
        """Return how many envelopes wait in a lane."""
        return len(self._lanes[lane])

    @property
    def held(self) -> bool:
        """Whether data is kept back."""
        return self._held

    def _claim(self) -> bool:
        """Mark the actor as at work if it is not and has something to do; returns whether it must be woken."""
        if self._busy or self.empty():
            return False
        self._busy = True
        return True
