"""The actor that runs one process of a cluster on a node of Ray, and starts it again when it ends.

Ray sends this module by value, so it imports the standard library alone, and a node needs no path to it.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_STEADY_S = 60.0
"""A process that has run this long is well: the next pause is the first one again."""

_STOP_S = 45.0
_FINAL = {2: "wrong use", 75: "another process has its member name"}
"""The exit codes that a new start does not change."""

_TAIL_BYTES = 8_192
_MODE = "RAY_AUTH_MODE"
_RAYS_OWN = ("RAY_", "OMP_NUM_THREADS", "PYTHONBREAKPOINT", "PYTHONUNBUFFERED")
"""Variables of Ray's workers that are no business of the process; one of them may hold Ray's token."""

_GUARDED = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Python code that becomes the process: on Linux it gets SIGTERM when the thread that started it ends, also by kill -9."""


def pause_after(before_s: float, lasted_s: float) -> float:
    """Return the seconds before the next start: twice the last pause, unless the process had run for a minute.

    >>> pause_after(0, 3), pause_after(1, 3), pause_after(60, 3), pause_after(60, 90)
    (1.0, 2, 60.0, 1.0)
    """
    if not before_s or lasted_s >= _STEADY_S:
        return _FIRST_PAUSE_S
    return min(2 * before_s, _LONGEST_PAUSE_S)


class Keeper:
    """Runs the command `words` until `stop`. Ray starts the actor again if its own process is lost.

    The constructor never raises: if that of an actor does, Ray never starts the actor again.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._process: subprocess.Popen[bytes] | None = None
        self._state, self._reason = "starting", ""
        self._ended = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervise", daemon=True)
        if os.environ.get(_MODE, "").lower() != "token":
            self._end(f"Ray runs without tokens there: start it with {_MODE}=token on every machine")
            return
        try:
            self._thread.start()
        except RuntimeError as error:
            self._end(str(error))

    def state(self) -> dict[str, Any]:
        """Return what became of the process, as text and numbers.

        `state` is starting, running, waiting (for the next start), ended (for good) or stopped. `ended` counts the ends,
        `reason` is the last thing that was said of one, and `log` the file that the process writes to.
        """
        process = self._process
        return {
            "state": self._state,
            "pid": process.pid if process is not None and self._state == "running" else None,
            "ended": self._ended,
            "reason": self._reason,
            "log": str(_own_log()),
        }

    def stop(self) -> bool:
        """End the process in order, for at most 45 s, then by force. Returns whether it ended in order."""
        self._stopping.set()
        with self._lock:  # no process is started from here on
            process = self._process
        if process is None or process.poll() is not None:
            in_order = True
        else:
            process.terminate()
            try:
                process.wait(_STOP_S)
                in_order = True
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                in_order = False
        if self._thread.ident is not None:
            self._thread.join()
        self._state = "stopped"
        return in_order

    def _supervise(self) -> None:
        pause_s = 0.0
        while not self._stopping.is_set():
            began, log = time.monotonic(), _own_log()
            place = log.stat().st_size if log.exists() else 0
            try:
                code = self._run()
            except OSError as error:  # such as a Python that is not on this machine
                code, self._reason = 1, f"the process cannot be started: {error}"
            else:
                self._reason = f"the process ended with {code}: {_last_line(log, place)}".removesuffix(": ")
            if self._stopping.is_set():
                return
            self._ended += 1
            if code in _FINAL:
                self._end(f"{self._reason} ({_FINAL[code]})")
                return
            pause_s = pause_after(pause_s, time.monotonic() - began)
            self._state = "waiting"
            print(f"firnline: {self._reason}; it is started again in {pause_s:g} s", file=sys.stderr, flush=True)
            self._stopping.wait(pause_s)

    def _run(self) -> int:
        """Start the process, and return its exit code when it ends. Its output goes where that of Ray's worker goes."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_RAYS_OWN)}
        with self._lock:
            if self._stopping.is_set():
                return 0
            self._process = process = subprocess.Popen(
                [self._words[0], "-I", "-S", "-c", _GUARDED, str(os.getpid()), *self._words],
                env=environ,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._state = "running"
        return process.wait()

    def _end(self, reason: str) -> None:
        self._state, self._reason = "ended", reason
        with contextlib.suppress(OSError):
            print(f"firnline: {reason}", file=sys.stderr, flush=True)


def _own_log() -> Path:
    """Return the file that this process's standard error goes to; on other systems than Linux, a name that is no file."""
    try:
        return Path("/proc/self/fd/2").readlink()
    except OSError:
        return Path("Ray's log")


def _last_line(log: Path, place: int) -> str:
    """Return the last line that was written to a log since `place`, or nothing."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(place, log.stat().st_size - _TAIL_BYTES))
            written = opened.read().decode(errors="replace").strip()
    except OSError:
        return ""
    return written.splitlines()[-1].removeprefix("firnline: ") if written else ""
