"""Starts our scripts as forks of a process that has already imported the libraries, which are most of the cost of a start.

A fork runs the whole script as a process of its own: own id, arguments, environment, folder, output, signals and exit code. A
start costs 0.3 s of processor time instead of 1.1 s. Tests of the start itself, and of memory, run a fresh interpreter instead.

The template is this module as a program. It has one thread, and imports no module that gives a process its identity: `gateway`
has a secret of the process, so each fork imports `gateway` by itself.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from scripts.checkout import ROOT

IMPORTED = (
    *("actors.stream", "actors.views.kinds", "actors.sinks.dead_letter_writer", "config.load"),
    *("confluent_kafka.admin", "prometheus_client", "psutil", "starlette.applications", "starlette.staticfiles"),
    *("structlog", "typer", "uvicorn", "uvloop"),
)
"""What the template imports."""

_NUMBER = struct.Struct("q")


class Forked:
    """A running script, with the methods of `subprocess.Popen`. Standard output and standard error are one text."""

    def __init__(self, words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        self.stdout = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        self._keeper, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(_template(), [b"!"], [theirs.fileno(), self.stdout.fileno()])
        request = {"words": list(words), "cwd": str(cwd), "environ": dict(environ)}
        self._keeper.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._number()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the script runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the script has ended: -15 if SIGTERM has ended it. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._keeper.settimeout(timeout)
            try:
                self.returncode = self._number()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            self._keeper.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for the end, and return the whole output."""
        self.wait(timeout)
        descriptor = self.stdout.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace"), None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the script has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        """Return the next number that the keeper sends: the id of the process, then its exit code."""
        packed = self._keeper.recv(_NUMBER.size)
        assert packed, "the template of the forks has failed"
        return int(_NUMBER.unpack(packed)[0])


@functools.cache
def _template() -> socket.socket:
    """Start the template. Returns the socket to send requests to. The template ends with the process that calls this."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy's library starts no thread, which a fork would lose
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd=ROOT, env=environ)

    def end() -> None:
        ours.close()
        started.wait()

    atexit.register(end)
    return ours


# The template and its forks --------------------------------------------------------------------------------------------


def main() -> None:
    """Run the template; in a fork, run the script."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert psutil.Process().num_threads() == 1, "a fork would lose the other threads"
    keeper = _keepers(socket.socket(fileno=int(sys.argv[1])))
    if keeper is not None:
        request = _keep(*keeper)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environ"])
        sys.argv[:] = request["words"]
        runpy.run_path(sys.argv[0], run_name="__main__")


def _keepers(requests: socket.socket) -> tuple[socket.socket, int] | None:
    """Fork a keeper for each request. Returns the keeper's connection and the output in each keeper, and None at the end."""
    with requests:
        while True:
            _, descriptors, _, _ = socket.recv_fds(requests, 1, 2)
            while _has_reaped():
                pass
            if not descriptors:
                return None
            connection, output = descriptors
            if os.fork() == 0:
                return socket.socket(fileno=connection), output
            os.close(connection)
            os.close(output)


def _has_reaped() -> bool:
    """Reap a keeper that has ended. False if no keeper has."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _keep(connection: socket.socket, output: int) -> dict[str, Any]:
    """Fork the process of the script, and report its id and its exit code. Returns the request in that process alone."""
    with connection.makefile() as requests:
        request: dict[str, Any] = json.loads(requests.readline())
    child = os.fork()
    if child == 0:
        connection.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        return request
    try:
        os.close(2)  # a reader of the tests' output must not wait for this process
        connection.sendall(_NUMBER.pack(child))
        _, status = os.waitpid(child, 0)
        connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
