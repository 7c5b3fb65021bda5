"""The real service in a process of its own, and a client that may break the rules of HTTP."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scripts.brokers.process import free_port
from scripts.checkout import ROOT
from tests.support.forked import Forked
from tests.support.waiting import PATIENCE_S, until


def command(script: str, *words: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *words]


class Service:
    """A running service."""

    def __init__(self, process: subprocess.Popen[str] | Forked, port: int) -> None:
        self.process = process
        self.port = port

    def request(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return the JSON of a path that must respond with 200. As long as the stream reads its checkpoint, asks again."""

        def answered() -> tuple[int, bytes] | None:
            status, _, body = self.request(path)
            return None if status == 503 and b"the stream is reading its checkpoint" in body else (status, body)

        status, body = until(answered)
        assert status == 200, body
        return json.loads(body)

    def post(self, items: Any, key: str = "") -> tuple[int, Any]:
        """Post items to the dataset, with an `Idempotency-Key` if given. Return the status and the JSON of the answer."""
        headers = {"Idempotency-Key": key} if key else {}
        status, _, body = self.request("/dataset", "POST", json.dumps({"items": items}).encode(), **headers)
        return status, json.loads(body)

    def stats(self, stream: str = "events") -> Any:
        """Return the stats of a stream."""
        return self.get(f"/{stream}/get-stats")

    def settled(self, records: int, stream: str = "events") -> Any:
        """Return the stats once `records` records are read and in their slices."""

        def look() -> Any:
            stats = self.stats(stream)
            placed = sum(row["events"] for row in stats["data"]) + sum(stats["dropped"].values())
            quiet = stats["records"] >= records and not stats["buffered"] and not stats["inFlight"]
            return stats if quiet and placed == stats["events"] else None

        return until(look)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal. Return the exit code and the output."""
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, printed


@contextmanager
def service(
    bootstrap: str | None,
    topic: str | None,
    *settings: str,
    stream: str = "events",
    also: Sequence[str] = (),
    cwd: Path | None = None,
    within: Sequence[str] = (),
    stdin: IO[bytes] | None = None,
    ends: bool = False,
    **environ: str,
) -> Iterator[Service]:
    """Run the service with one stream of the default configuration over a topic. It is ended in any case.

    It runs in a folder of its own, with its checkpoints, unless `cwd` or a setting names another one. `within` is a command that
    runs the service in a fresh interpreter, if any. `stdin` is the service's standard input, if any. A service that `ends` by
    itself may do so before it answers.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="firnline-test-") as folder:
        words = [f"http.port={port}", f"data_dir={folder}", *settings]
        yield from _run(
            words,
            bootstrap,
            topic,
            port,
            stream=stream,
            also=also,
            cwd=cwd or Path(folder),
            within=within,
            stdin=stdin,
            ends=ends,
            environ=environ,
        )


def _run(
    words: list[str],
    bootstrap: str | None,
    topic: str | None,
    port: int,
    *,
    stream: str,
    also: Sequence[str],
    cwd: Path,
    within: Sequence[str],
    stdin: IO[bytes] | None,
    ends: bool,
    environ: dict[str, str],
) -> Iterator[Service]:
    words += [f"streams.{stream}.source.topic={topic}"] if topic else []
    words += [f"kafka.bootstrap.servers={bootstrap}"] if bootstrap else []
    full = {**os.environ, **environ}
    serve = command("serve", "--only", stream, *also, *(word for each in words for word in ("--set", each)))
    child = _fresh([*within, *serve], cwd, full) if within else Forked(serve[1:], cwd, full, stdin=stdin)
    running = Service(child, port)

    def answers() -> bool:
        if child.poll() is not None:
            assert ends, child.communicate()[0]
            return True
        try:
            return running.request("/livez")[0] == 200
        except OSError:
            return False

    try:
        until(answers, timeout_s=120)
        yield running
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)  # a test that fails may leave it frozen
            child.terminate()
            child.communicate(timeout=PATIENCE_S)
        child.stdout.close()


def _fresh(words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a fresh interpreter; both of its outputs are one text."""
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, env=environ)
