"""The memory for answers and for long request bodies: an account of the bytes of all that are in progress.

Bytes are taken before an answer is read, and given back after its last byte is sent or its client is gone. The manager of a
stream knows how large an answer can be, so it takes the bytes, on its own thread. A request that finds no memory gets 429.
"""

from threading import Lock
from types import TracebackType
from typing import Self

from actors.replies import TooMuch
from gateway.api.errors import too_much

RETRY_AFTER_S = 1
SMALL_BYTES = 512 << 10
"""The memory of any answer beside what is read: a block as it is written, as it is sent, and in the server's buffer."""


class Hold:
    """The bytes that one answer holds: none at first. Thread-safe.

    As a context manager, it gives the bytes back at its end, unless they were passed on.
    """

    def __init__(self, room: "Room") -> None:
        self._room = room
        self._nbytes = 0
        self._passed_on = False
        self._closed = False

    @property
    def nbytes(self) -> int:
        """The bytes that it holds."""
        return self._nbytes

    def take(self, nbytes: int, spare_bytes: int = 0) -> TooMuch | None:
        """Take `nbytes` more. If they are not free, or the hold has given its bytes back, return TooMuch and take nothing.

        If no other answer is in progress, it may also use `spare_bytes`: the unused part of the memory budget.
        """
        room = self._room
        with room.lock:
            free_bytes = room.nbytes - room.under_way if room.under_way else room.nbytes + spare_bytes
            if self._closed or nbytes > free_bytes:
                return TooMuch("other answers have the memory", nbytes, free_bytes)
            room.under_way += nbytes
            self._nbytes += nbytes
        return None

    def admit(self, nbytes: int, spare_bytes: int) -> TooMuch | None:
        """Take the memory of an answer that is made of `nbytes`. For `Query.admit`."""
        return self.take(SMALL_BYTES + nbytes, spare_bytes)

    def pass_on(self) -> Self:
        """Keep the bytes after the context ends. The receiver calls `give_back`."""
        self._passed_on = True
        return self

    def give_back(self) -> None:
        """Give the bytes back, for good. A second call has no effect."""
        with self._room.lock:
            self._room.under_way -= self._nbytes
            self._nbytes, self._closed = 0, True

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the bytes back, unless they were passed on; after an error in any case."""
        if error is not None or not self._passed_on:
            self.give_back()


class Room:
    """An account of `nbytes` for all answers together. Thread-safe.

    >>> room = Room(100)
    >>> with room.take(60):
    ...     room.under_way
    60
    >>> room.under_way
    0
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.under_way = 0
        self.lock = Lock()
        """Held while `under_way` changes."""

    def hold(self) -> Hold:
        """Return a hold without bytes, for an answer whose size the manager knows."""
        return Hold(self)

    def take(self, nbytes: int) -> Hold:
        """Return a hold of `nbytes`. Raises Problem 429 if they are not free."""
        hold = Hold(self)
        refused = hold.take(nbytes)
        if refused is not None:
            raise too_much(refused.nbytes, refused.free_bytes, RETRY_AFTER_S)
        return hold
