"""The memory for answers and for long request bodies: an account of the bytes of all that are in progress.

Bytes are taken on the event loop before an answer is read, and given back after its last byte is sent or its client is gone.
A request that finds no memory gets 429.
"""

from types import TracebackType
from typing import Self

from gateway.api.errors import too_much

RETRY_AFTER_S = 1


class Hold:
    """The bytes that one answer holds. As a context manager, it gives them back at its end, unless they were passed on."""

    def __init__(self, room: "Room", nbytes: int) -> None:
        self._room = room
        self._nbytes = nbytes
        self._passed_on = False

    def pass_on(self) -> Self:
        """Keep the bytes after the context ends. The receiver calls `give_back`."""
        self._passed_on = True
        return self

    def give_back(self) -> None:
        """Give the bytes back. A second call has no effect."""
        self._room.under_way -= self._nbytes
        self._nbytes = 0

    def __enter__(self) -> Self:
        """Enter the context; the bytes are taken already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the bytes back, unless they were passed on; after an error in any case."""
        if error is not None or not self._passed_on:
            self.give_back()


class Room:
    """An account of `nbytes` for all answers together. For one event loop.

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

    def take(self, nbytes: int, *, spare: int = 0) -> Hold:
        """Return the hold of an answer that takes at most `nbytes`.

        If no other answer is in progress, it may also use `spare` bytes: the unused part of the memory budget.
        Raises Problem 429 if the memory is not free now, or if the answer could never fit.
        """
        room = self.nbytes if self.under_way else self.nbytes + spare
        if self.under_way + nbytes > room:
            raise too_much(nbytes, room - self.under_way, RETRY_AFTER_S)
        self.under_way += nbytes
        return Hold(self, nbytes)
