"""The source of a program's output. Starts the program, restarts it with backoff when it ends, and ends it at `close`."""

import io
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence

from actors.sources.line_splitter import BLOCK, Splitter
from actors.sources.lines import LineSource
from actors.sources.pipe import PipeStream
from actors.sources.polled import Place
from actors.sources.read_ahead import ReadAhead

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_STABLE_S = 60.0
_GRACE_S = 3.0
_STDERR_LINE = 2_000
_LAST_BLOCKS = 3
"""Blocks of standard error that are read after a command has ended: those that a pipe may hold, and one more.

Programs that the command started may hold the pipe and write for ever.
"""


class CommandStream:
    """The standard output of `command`. The command is restarted with backoff when it ends, unless `once` is set.

    Each line of its standard error goes to `on_line`, and each failure to `on_error`; with `once`, the exit code of a command
    that failed goes to `on_failure`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        once: bool,
        on_line: Callable[[str], None],
        on_error: Callable[[str], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._command = list(command)
        self._once = once
        self._on_line = on_line
        self._on_error = on_error
        self._on_failure = on_failure
        self._backoff_s = _FIRST_BACKOFF_S
        self._again_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._output: ReadAhead | None = None
        self._errors: PipeStream | None = None
        self._error_lines = Splitter(_STDERR_LINE)
        self._started_at = 0.0
        self._cut_off = False

    def read(self, timeout_s: float, most: int = BLOCK) -> list[bytes] | None:
        """Return the next output of the command. Starts the command when its backoff is over.

        Raises OSError if the command cannot be started, and `once` is set.
        """
        now = time.monotonic()
        if self._child is None:
            if now >= self._again_at:
                self._start(now)
            return None
        self._read_errors()
        assert self._output is not None, "a started command has an output"
        pieces = self._output.read(timeout_s, most)
        if pieces:
            self._cut_off = not pieces[-1].endswith(b"\n")
        return self._ended(now) if pieces == [] else pieces

    def close(self) -> None:
        """End the command and the programs that it started: with SIGTERM, and after three seconds with SIGKILL."""
        child = self._child
        if child is None:
            return
        _signal(child, signal.SIGTERM)
        try:
            child.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.wait()
        self._forget()

    def _start(self, now: float) -> None:
        self._started_at = now
        try:
            self._child = subprocess.Popen(  # noqa: S603  # the command is the configuration's
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
                env={name: value for name, value in os.environ.items() if not name.startswith("FIRNLINE_")},
            )
        except OSError as error:
            problem = f"cannot start {self._command[0]}: {error.strerror}"
            if self._once:
                raise OSError(problem) from error
            self._on_error(problem)
            self._wait_longer(now)
            return
        assert isinstance(self._child.stdout, io.RawIOBase)
        assert isinstance(self._child.stderr, io.RawIOBase)
        self._output = ReadAhead(PipeStream(self._child.stdout.fileno()))
        self._errors = PipeStream(self._child.stderr.fileno())

    def _ended(self, now: float) -> list[bytes] | None:
        """Handle the end of the output. Returns no pieces if the command will not be restarted."""
        assert self._child is not None, "called for a command that was started"
        try:
            code = self._child.wait(timeout=0.01)
        except subprocess.TimeoutExpired:  # the command has closed its output, and is still running
            return None
        for _ in range(_LAST_BLOCKS):
            self._read_errors()
        self._report(self._error_lines.end())
        self._forget()
        if self._once:
            if code:
                self._on_failure(f"{self._command[0]} ended with {code}")
            return []
        if now - self._started_at >= _STABLE_S:
            self._backoff_s = _FIRST_BACKOFF_S
        self._on_error(f"{self._command[0]} ended with {code}; started again in {self._backoff_s:g} s")
        self._wait_longer(now)
        return [b"\n"] if self._cut_off else None  # an incomplete line ends here

    def _wait_longer(self, now: float) -> None:
        self._again_at = now + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, _LONGEST_BACKOFF_S)

    def _read_errors(self) -> None:
        """Report one block of standard error. Reading all of it could last for ever if the command never stops writing."""
        assert self._errors is not None, "a started command has a standard error"
        if pieces := self._errors.read(0.0):
            self._report(self._error_lines.split(*pieces))

    def _report(self, lines: Iterable[bytes | None]) -> None:
        for line in lines:
            self._on_line((line or b"").decode(errors="replace"))

    def _forget(self) -> None:
        assert self._child is not None, "called for a command that was started"
        for stream in (self._output, self._errors):
            if stream is not None:
                stream.close()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()
        self._child = self._output = self._errors = None


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to every process of the command's session."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


class CommandSource(LineSource):
    """The lines of a command's standard output. With `once`, its blocks are whole, see `LineSource`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        once: bool,
        on_line: Callable[[str], None],
        on_error: Callable[[str], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._running = CommandStream(command, once=once, on_line=on_line, on_error=on_error, on_failure=on_failure)
        super().__init__(lambda: self._running, on_error=on_error, steady=once)
        self._closed = False

    def open(self, place: Place) -> bool:
        """Continue at the command's next line. A command that `close` ended is restarted, and its unread output is a gap."""
        if self._closed:
            self._closed, self._blocks, self._splitter = False, None, Splitter()
            self._missing("interrupted")
        return super().open(place)

    def close(self) -> None:
        """End the command."""
        if self._blocks is not None and not self.finished:
            self._closed = True
        self._running.close()
