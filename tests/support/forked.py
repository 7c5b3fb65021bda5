"""Starts our scripts as forks of a process that has already imported the libraries, which are most of the cost of a start.

A fork runs the whole script as a process of its own: own id, arguments, environment, folder, output, signals and exit code. A
start costs 0.2 s of processor time instead of 1.1 s. Tests of the start itself, and of memory, run a fresh interpreter instead.

The template is this module as a program. It has one thread. `gateway` has a secret of the process, and each fork makes its own.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import runpy
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import psutil

from scripts.checkout import ROOT

CACHING = "gateway.api.caching"
"""The module with the secret of a process."""

IMPORTED = ("scripts.service.serve", "scripts.cli.main", "scripts.cli.query", "scripts.produce.producer", CACHING, "uvloop")
"""What the template imports."""

_NUMBER = struct.Struct("q")


class Forked:
    """A running script, with the methods of `subprocess.Popen`. `words` are a file or `-m` and a module, and the arguments.

    Standard output and standard error are one text, unless there is a `stderr`. There is nothing to read on standard input,
    unless there is a `stdin`. An `stdout` takes the place of the file that `communicate` reads.

    The process keeps its id until `poll` or `wait` has returned its exit code. So a signal reaches this process and no other,
    also if it has just ended.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        environ: Mapping[str, str],
        *,
        stdin: IO[Any] | None = None,
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
    ) -> None:
        self.stdout = stdout or tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        self._keeper, theirs = socket.socketpair()
        with theirs, Path(os.devnull).open("rb") as nothing:
            streams = [each.fileno() for each in (stdin or nothing, self.stdout, stderr or self.stdout)]
            socket.send_fds(_template(), [b"!"], [theirs.fileno(), *streams])
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
        return _whole(self.stdout), None

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


def run_forked(
    words: Sequence[str],
    *,
    stdin: IO[bytes] | None = None,
    cwd: Path = ROOT,
    environ: Mapping[str, str] = MappingProxyType({}),
    timeout_s: float = 120,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, as `subprocess.run` does. `environ` is added to the environment of this process.

    `words` may begin with the interpreter. Raises `subprocess.TimeoutExpired`, and `subprocess.CalledProcessError` if it
    shall `check` the exit code.
    """
    script = words[1:] if words[0] == sys.executable else words
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaint:
        child = Forked(script, cwd, {**os.environ, **environ}, stdin=stdin, stdout=printed, stderr=complaint)
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        done = subprocess.CompletedProcess(list(words), code, _whole(printed), _whole(complaint))
    if check:
        done.check_returncode()
    return done


def _whole(file: IO[bytes]) -> str:
    """Return the content of a file that another process writes to."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


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
        sys.modules[CACHING]._PROCESS = secrets.token_bytes()  # type: ignore[attr-defined]
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environ"])
        sys.argv[:] = request["words"]
        if sys.argv[0] == "-m":
            runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")


def _keepers(requests: socket.socket) -> tuple[socket.socket, list[int]] | None:
    """Fork a keeper for each request. Returns the keeper's connection and the script's streams in each keeper, None at the end."""
    with requests:
        while True:
            _, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
            while _has_reaped():
                pass
            if not descriptors:
                return None
            connection, *streams = descriptors
            if os.fork() == 0:
                return socket.socket(fileno=connection), streams
            for each in descriptors:
                os.close(each)


def _has_reaped() -> bool:
    """Reap a keeper that has ended. False if no keeper has."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _keep(connection: socket.socket, streams: list[int]) -> dict[str, Any]:
    """Fork the process of the script, and report its id and its exit code. Returns the request in that process alone."""
    with connection.makefile() as requests:
        request: dict[str, Any] = json.loads(requests.readline())
    child = os.fork()
    if child == 0:
        connection.close()
        for number, each in enumerate(streams):
            os.dup2(each, number)
            os.close(each)
        return request
    try:
        for each in (2, *streams):  # a reader of an output must not wait for this process
            os.close(each)
        connection.sendall(_NUMBER.pack(child))
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        connection.sendall(_NUMBER.pack(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status))
        with contextlib.suppress(ConnectionResetError):  # the other side has gone, and reads no exit code
            connection.recv(1)  # the other side closes once it has read the exit code: until then the id must stay
        os.waitpid(child, 0)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
