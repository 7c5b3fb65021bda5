"""The processes that a chaos run starts, stops, kills and starts again: the service, and a broker.

A process is only ever reached by the pid under which it was started here.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from scripts.brokers.guarded import Guarded, guarded_broker
from scripts.brokers.process import free_port
from scripts.checkout import ROOT
from scripts.lab.waiting import OverdueError, until

_GRACE_S = 30.0
_SAID = 2_000
_HEAP_MIB = 1_024
"""Memory of the broker, which reads millions of records again when it was killed."""


class EndedError(Exception):
    """A process ended, and this run had not ended it."""


SUPERSEDED = 75
"""The exit code of an instance that ends because another one writes as its `data_dir`."""


class Subject:
    """The service as a process, with `folder` as its working folder and its settings in a file there."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.log = folder / "service.log"
        self.started_at = 0.0
        self.port = int(settings["http"]["port"])
        self._settings = settings
        self._path = folder / "settings.yaml"
        self._path.write_text(json.dumps(settings))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process without waiting. Its output is appended to its log."""
        command = [sys.executable, str(ROOT / "scripts" / "serve.py"), "--config", str(self._path)]
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def copy(self, folder: Path) -> "Subject":
        """Return an instance over copies of `data_dir` and the output files, in `folder`, which is created.

        This process must be frozen or ended.
        """
        folder.mkdir()
        for name in ("data", "output"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, folder / name)
        return Subject(folder, {**self._settings, "http": {"port": free_port()}, "data_dir": str(folder / "data")})

    def rival(self, folder: Path) -> "Subject":
        """Return an instance over the same `data_dir`. `folder`, its working folder, is created."""
        folder.mkdir()
        return Subject(folder, {**self._settings, "http": {"port": free_port()}})

    @property
    def code(self) -> int | None:
        """The exit code of the process; None while the process lives."""
        return self._started().poll()

    @property
    def printed(self) -> str:
        """The end of what the process has printed."""
        return self.log.read_text(errors="replace")[-_SAID:]

    def alive(self) -> bool:
        """Return True. Raises EndedError if the process has ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise EndedError(f"the service ended with {code}: {self.printed}")
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. Call `wait` after a signal that ends the process."""
        self.alive()
        self._started().send_signal(number)

    def wait(self) -> int:
        """Return the exit code once the process has ended. Raises OverdueError."""
        try:
            code = self._started().wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            raise OverdueError(f"waited {_GRACE_S:.0f} s for the service to end") from None
        self._process = None
        return code

    def kill(self) -> None:
        """Kill the process, as the system does when memory is short."""
        self.signal(signal.SIGKILL)
        self.wait()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise ValueError("start it first")
        return self._process

    def close(self) -> None:
        """End the process, in whatever state it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_GRACE_S)


class Node:
    """A real broker that this run started. It can be killed, and started again on its log."""

    def __init__(self, bootstrap: str, process: psutil.Process, log: Path) -> None:
        self.bootstrap = bootstrap
        self._process: psutil.Process | psutil.Popen = process
        self._command = process.cmdline()
        self._log = log

    @property
    def data(self) -> Path:
        """The folder with the logs of the broker's partitions."""
        return self._log.parent / "data"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the broker."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the broker. The system keeps what the broker had written."""
        self._process.kill()
        self._process.wait(_GRACE_S)

    def restart(self) -> None:
        """Start the broker again without waiting."""
        with self._log.open("ab") as log:
            self._process = psutil.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def await_answer(self, limit_s: float) -> None:
        """Wait until the broker answers. Raises OverdueError with the end of its log."""
        try:
            until(self.answers, limit_s, "the broker")
        except OverdueError as error:
            raise OverdueError(f"{error}: {self._log.read_text(errors='replace')[-_SAID:]}") from None

    def answers(self) -> bool:
        """Whether the broker answers within a second."""
        with contextlib.suppress(KafkaException):
            return bool(AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=1).brokers)
        return False

    def close(self) -> None:
        """End the broker, in whatever state it is."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.kill()
            self._process.wait(_GRACE_S)


@contextlib.contextmanager
def own_broker(settings: Mapping[str, object] = MappingProxyType({})) -> Iterator[tuple[Node, Guarded]]:
    """Run a real broker with rights, further `settings` and an empty log, and end it at the end.

    Yields its process, and its rights. Raises OSError if Java or Maven is missing, or if the broker does not start.
    """
    with guarded_broker(settings, {}, heap_mib=_HEAP_MIB) as guarded:
        node = Node(guarded.plain, psutil.Process(guarded.member.process.pid), guarded.member.log)
        try:
            yield node, guarded
        finally:
            node.close()
