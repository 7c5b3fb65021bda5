"""Where the view puts what shall not stay in memory. It is handed one and knows nothing of files."""

from typing import Any, Protocol


class Spool(Protocol):
    """Keeps blocks of bytes outside of memory. Any thread may use it."""

    def put(self, data: bytes) -> Any:
        """Keep `data` and return its handle.

        Raises OSError when there is no room.
        """

    def get(self, handle: Any) -> bytes:
        """Return what `put` was given."""

    def free(self, handle: Any) -> None:
        """Give up what `handle` stands for. Never waits and never raises: the garbage collector may call it anywhere."""
