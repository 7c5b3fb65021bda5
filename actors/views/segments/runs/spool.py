"""The interface of the spool: a store outside of memory for large runs. The view receives one and does not know files."""

from typing import Any, Protocol


class Spool(Protocol):
    """Keeps blocks of bytes outside of memory. Any thread may use it."""

    def put(self, data: bytes) -> Any:
        """Store `data` and return its handle.

        Raises OSError if there is no room.
        """

    def get(self, handle: Any) -> bytes:
        """Return the data that `put` stored under `handle`."""

    def free(self, handle: Any) -> None:
        """Delete the data of `handle`. Never waits and never raises, because the garbage collector calls it in any thread."""
