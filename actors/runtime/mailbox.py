"""An actor's bounded mailbox with two lanes. Control messages overtake data, so a credit or a stop never waits behind events.

The base class of actors uses it as Pykka's inbox. It never blocks a sender: a message for a full lane becomes a dead letter.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from pykka._envelope import Envelope

from actors.protocol import Lane


class Mailbox:
    """Envelopes for one actor, at most `capacity` in each lane. Any thread may put; only the actor's thread gets.

    `wake` is called without the lock when a message arrives and the actor is not running. `refuse` is called with each envelope
    that is not accepted, and the reason.
    """

    def __init__(
        self,
        capacity: dict[Lane, int],
        wake: Callable[[], None],
        refuse: Callable[[Envelope[Any], str], None],
    ) -> None:
        # An attribute for each lane: to find it in a dict would call Python code, the hash of an enum's member.
        self._control: deque[Envelope[Any]] = deque()
        self._data: deque[Envelope[Any]] = deque()
        self._control_capacity, self._data_capacity = capacity[Lane.CONTROL], capacity[Lane.DATA]
        self._wake = wake
        self._refuse = refuse
        self._lock = threading.Lock()
        self._busy = True
        self._held = False
        self._closed = False

    def put(self, envelope: Envelope[Any]) -> None:
        """Accept an envelope, or refuse it if the mailbox is closed or the lane is full. Never blocks."""
        if getattr(envelope.message, "lane", Lane.CONTROL) is Lane.CONTROL:
            queue, capacity = self._control, self._control_capacity
        else:
            queue, capacity = self._data, self._data_capacity
        with self._lock:
            refusal = None
            if self._closed:
                refusal = "the actor has stopped"
            elif len(queue) >= capacity:
                refusal = "the mailbox is full"
            else:
                queue.append(envelope)
            waking = refusal is None and self._claim()
        if refusal is not None:
            self._refuse(envelope, refusal)
        elif waking:
            self._wake()

    def get(self) -> Envelope[Any]:
        """Remove and return the next envelope, control first. Raises IndexError if `empty`."""
        with self._lock:
            if self._control or self._held:
                return self._control.popleft()
            return self._data.popleft()

    def empty(self) -> bool:
        """Return whether `get` has no envelope to return; held data does not count."""
        return not self._control and (self._held or not self._data)

    def rest(self) -> None:
        """End the actor's turn. Wakes the actor again if a message is there."""
        with self._lock:
            self._busy = False
            waking = self._claim()
        if waking:
            self._wake()

    def hold(self) -> None:
        """Hold data back until `release`; control messages continue."""
        with self._lock:
            self._held = True

    def release(self) -> None:
        """End `hold`."""
        with self._lock:
            self._held = False

    def close(self) -> list[Envelope[Any]]:
        """Refuse all further envelopes; return those that wait."""
        with self._lock:
            self._closed = True
            left = [*self._control, *self._data]
            self._control.clear()
            self._data.clear()
        return left

    def depth(self, lane: Lane) -> int:
        """Return the number of envelopes that wait in a lane."""
        return len(self._control if lane is Lane.CONTROL else self._data)

    @property
    def held(self) -> bool:
        """Whether data is held back."""
        return self._held

    def _claim(self) -> bool:
        """Mark the actor as running if it is not and a message is there; return whether it must be woken."""
        if self._busy or self.empty():
            return False
        self._busy = True
        return True
