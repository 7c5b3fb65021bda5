"""Reads a pipe or a terminal ahead, on a thread of its own: the writer of the pipe goes on while the lines are decoded."""

import contextlib
import fcntl
import threading
import time
from collections import deque
from enum import Enum

from actors.sources.line_splitter import BLOCK
from actors.sources.pipe import PipeStream

_AHEAD = 4 * BLOCK
"""The most bytes that wait to be taken. Without room the thread does not read, and the pipe holds its writer back."""

_AGAIN = _AHEAD // 2
"""The bytes that wait when the thread, which had no room, reads again."""

_NARROW = 1 << 16
_WIDTH = 1 << 20
"""The bytes that a pipe may hold, where the system lets a process choose: Linux, which gives 64 KiB by default."""

_GLANCE_S = 0.1
"""Seconds after which the thread looks whether it must stop."""

_SMALL = 1 << 12
_GATHER_S = 0.001
"""The pause after a read of few bytes, so that a program that writes each line alone does not wake the thread for each."""

_HANDOVER_S = 0.5
"""The longest wait for bytes that the thread can read at once."""

_PATIENCE_S = 1.0
"""The longest wait for the end of the thread. It reads on if another process took the bytes that it was about to read."""


class Reader(Enum):
    """The states of the thread."""

    NONE = "there is no thread; the next `read` starts one"
    READING = "the thread reads, or waits for bytes or for room"
    STOPPING = "the thread ends as soon as it sees this"
    ENDED = "there is no thread, because the stream has ended"


class ReadAhead:
    """Reads `pipe` up to 2 MiB ahead. The thread begins at the first `read`, and never keeps the process from its exit.

    One thread may call the methods.
    """

    def __init__(self, pipe: PipeStream) -> None:
        self._pipe = pipe
        self._size = _widened(pipe.descriptor)
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._nbytes = 0
        self._error: OSError | None = None
        self._reader = Reader.NONE
        self._under_way = False
        self._thread: threading.Thread | None = None

    def read(self, timeout_s: float, most: int = BLOCK) -> list[bytes] | None:
        """Return the pieces of the next bytes, none at the end; None if no byte came within `timeout_s`.

        Raises OSError if the thread could not read. The next call tries again.
        """
        with self._changed:
            self._go_on()
            if not self._something:
                soon = self._under_way or self._pipe.ready(0.0)
                self._changed.wait_for(lambda: self._something, max(timeout_s, _HANDOVER_S) if soon else timeout_s)
            if self._pieces:
                return self._taken(most)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return [] if self._reader is Reader.ENDED else None

    def pause(self) -> None:
        """Stop reading. The bytes that were read stay; `read` gives them first, and then reads on. May wait 0.1 s."""
        with self._changed:
            if self._reader is Reader.READING:
                self._reader = Reader.STOPPING
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def close(self) -> None:
        """Stop reading for ever. The descriptor stays open."""
        self.pause()
        self._pipe.close()

    @property
    def _something(self) -> bool:
        """Whether `read` need not wait."""
        return bool(self._pieces) or self._error is not None or self._reader is Reader.ENDED

    def _go_on(self) -> None:
        """Have the thread read, unless the stream has ended, or a failure must be raised first."""
        if self._reader is Reader.NONE and self._error is None:
            self._reader = Reader.READING
            self._thread = threading.Thread(target=self._run, name=f"{threading.current_thread().name}/pipe", daemon=True)
            self._thread.start()
        elif self._reader is Reader.STOPPING:
            self._reader = Reader.READING

    def _taken(self, most: int) -> list[bytes]:
        """Take the next bytes, and let the thread read more."""
        taken: list[bytes] = []
        while self._pieces and most:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            taken.append(piece)
            most -= len(piece)
            self._nbytes -= len(piece)
        if self._nbytes <= _AGAIN:
            self._changed.notify_all()
        return taken

    # On the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._has_room():
            if not self._pipe.ready(_GLANCE_S):
                continue
            with self._changed:
                self._under_way = True
            try:
                pieces = self._pipe.read(0.0, self._size)
            except OSError as error:
                self._fail(error)
                return
            self._note(pieces)
            if pieces and len(pieces[0]) < _SMALL:
                time.sleep(_GATHER_S)

    def _has_room(self) -> bool:
        """Wait for room. Returns False if the thread must end."""
        with self._changed:
            if self._nbytes >= _AHEAD:
                self._changed.wait_for(lambda: self._reader is not Reader.READING or self._nbytes <= _AGAIN)
            if self._reader is Reader.STOPPING:
                self._reader = Reader.NONE
            return self._reader is Reader.READING

    def _note(self, pieces: list[bytes] | None) -> None:
        """Note what the thread read: None if another process was faster."""
        with self._changed:
            self._under_way = False
            if pieces is not None:
                self._pieces += pieces
                self._nbytes += sum(map(len, pieces))
                if not pieces:
                    self._reader = Reader.ENDED
            self._changed.notify_all()

    def _fail(self, error: OSError) -> None:
        with self._changed:
            self._under_way = False
            self._error, self._reader = error, Reader.NONE
            self._changed.notify_all()


def _widened(descriptor: int) -> int:
    """Widen a pipe if the system allows it. Returns the bytes that one read should ask for."""
    size = _NARROW
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a terminal or a socket, or the pipes of this user are wide enough
            size = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
            size = max(size, fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, max(size, _WIDTH)))
    return min(size, BLOCK)
