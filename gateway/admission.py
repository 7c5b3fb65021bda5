"""The memory that answers, and long bodies, may take: an account of the bytes of all under way. What finds no room is put off.

Kept on the event loop, before anything is read for an answer; given back when its last byte is sent, or its client is gone.
"""

from types import TracebackType
from typing import Self

from gateway.api.errors import too_much

RETRY_AFTER_S = 1


class Hold:
    """Bytes that one answer has. As a context it gives them back at its end, unless they were passed on to what sends it."""

    def __init__(self, room: "Room", nbytes: int) -> None:
        self._room = room
        self._nbytes = nbytes
        self._passed_on = False

    def pass_on(self) -> Self:
        """Outlive the context: who gets this calls `give_back`."""
        self._passed_on = True
        return self

    def give_back(self) -> None:
        """Give the bytes back; a second time does nothing."""
        self._room.under_way -= self._nbytes
        self._nbytes = 0

    def __enter__(self) -> Self:
        """Do nothing: the bytes are taken already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give back, unless passed on; after an error in any case."""
        if error is not None or not self._passed_on:
            self.give_back()


class Room:
    """So many `nbytes` for all answers together. For one event loop.

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
        """Return the place of an answer that takes at most `nbytes`.

        An answer that is alone has, beside the room, the bytes that are to `spare`: not all of the budget may be in use.
        Raises Problem 429 where there is no room for it, now, or ever as things are.
        """
        room = self.nbytes if self.under_way else self.nbytes + spare
        if self.under_way + nbytes > room:
            raise too_much(nbytes, room - self.under_way, RETRY_AFTER_S)
        self.under_way += nbytes
        return Hold(self, nbytes)
