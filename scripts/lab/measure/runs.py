"""The parts of a measurement: a broker, a topic with records, the real service, a client that takes times, rivals, tables."""

import contextlib
import http.client
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import psutil
from confluent_kafka import KafkaException
from rich.table import Table

from scripts.brokers.process import free_port
from scripts.brokers.real import real_broker
from scripts.checkout import ROOT
from scripts.lab.topics import record_count
from scripts.lab.waiting import OverdueError, until

T = TypeVar("T")

PATIENCE_S = 1_800.0
_START_S = 120.0
_SAID = 500
_NOISE_BYTES = 1 << 20


@contextlib.contextmanager
def measuring(name: str, bootstrap: str | None) -> Iterator[str]:
    """Yield a broker's address: `bootstrap`, or that of a real broker that runs meanwhile. An error ends the process with 1.

    SIGTERM ends all that was started, as Ctrl-C does. For the main thread.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with contextlib.ExitStack() as around:
            yield bootstrap or around.enter_context(real_broker(ROOT / ".firnline" / "kafka"))
    except KafkaException as error:
        sys.exit(f"{name}: {bootstrap or 'the broker'}: {error.args[0].str()}")
    except subprocess.CalledProcessError as error:  # the process has printed the reason
        sys.exit(f"{name}: {error.cmd[1]} ended with {error.returncode}")
    except (OSError, ValueError) as error:
        sys.exit(f"{name}: {str(error) or type(error).__name__}")


class Client:
    """One kept-alive HTTP connection to the service."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def answers(self) -> bool:
        """Whether the service answers."""
        try:
            self.get("/livez")
        except OSError:
            self._connection.close()
            return False
        return True

    def get(self, path: str) -> Any:
        """Return the JSON of `path`."""
        self._connection.request("GET", path)
        return json.loads(self._connection.getresponse().read())

    def timed(self, path: str) -> float:
        """Return the milliseconds until the whole response to `path` was read. Raises ValueError if it is no answer."""
        began = time.perf_counter()
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        response.read()
        took_ms = (time.perf_counter() - began) * 1000
        if response.status != HTTPStatus.OK:
            raise ValueError(f"GET {path} gives {response.status}")
        return took_ms

    def ingestion(self, stream: str, records: int, every_s: float = 0.05) -> Iterator[dict[str, Any]]:
        """Yield the stream's stats every `every_s` seconds until `records` records are in slices. Raises OverdueError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            stats = self.get(f"/{stream}/get-stats")
            yield stats
            if stats["records"] >= records and not stats["buffered"] and not stats["inFlight"]:
                return
            if time.monotonic() > deadline:
                raise OverdueError(f"{stats['records']:,} of {records:,} records after {PATIENCE_S:.0f} s")
            time.sleep(every_s)


@contextlib.contextmanager
def service(
    stream: str,
    bootstrap: str,
    topic: str,
    budget: str,
    *overrides: str,
    data_dir: Path | None = None,
    port: int = 0,
    config: str = "default",
    others: Sequence[str] = (),
) -> Iterator[tuple[psutil.Process, Client]]:
    """Run the real service with one stream of `config/CONFIG.yaml`. Yields its process and a client once it answers.

    It has the streams `others` too; their sources are among the `overrides`.

    Without a `data_dir` no state outlasts the run, so that the next run begins at the first record. Raises OSError if the
    service ends.
    """
    port = port or free_port()
    settings = [f"http.port={port}", f"kafka.bootstrap.servers={bootstrap}", f"streams.{stream}.source.topic={topic}"]
    settings += [f"memory.budget={budget}", f"data_dir={data_dir or 'null'}", *overrides]
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), "--config", str(ROOT / "config" / f"{config}.yaml")]
    command += [word for each in (stream, *others) for word in ("--only", each)]
    command += [word for each in settings for word in ("--set", each)]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        try:
            client = Client(port)
            until(lambda: client.answers() or child.poll() is not None, _START_S, "the service to answer")
            if child.poll() is not None:
                said.seek(0)
                raise OSError(f"the service does not run: {said.read().decode(errors='replace')[-_SAID:].strip()}")
            yield psutil.Process(child.pid), client
        finally:
            child.terminate()
            child.wait(timeout=60)


def rss_at_rest(process: psutil.Process, rest_s: float) -> int:
    """Return the resident set, in bytes, once it has not shrunk by more than 1 MiB for `rest_s`."""
    least, since = int(process.memory_info().rss), time.monotonic()
    while time.monotonic() - since < rest_s:
        time.sleep(0.1)
        now = int(process.memory_info().rss)
        if now < least - _NOISE_BYTES:
            least, since = now, time.monotonic()
    return least


def peak_rss(process: psutil.Process) -> int:
    """Return the largest resident set that the process ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def fill(bootstrap: str, topic: str, pattern: str, events: int, partitions: int, *words: str) -> None:
    """Fill a topic with the pattern, unless an earlier call has filled it. Raises ValueError if it holds other records."""
    held = record_count(bootstrap, topic)
    if held == events:
        return
    if held:
        raise ValueError(f"topic {topic} holds {held:,} records, not {events:,}; delete it, or take another --bootstrap")
    command = [sys.executable, str(ROOT / "scripts" / "producer.py"), "--pattern", pattern, "--count", str(events)]
    command += ["--bootstrap", bootstrap, "--topic", topic, "--partitions", str(partitions), "--seed", "1", *words]
    subprocess.run(command, check=True, stdout=sys.stderr)


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of milliseconds."""
    ordered = sorted(values)
    return {"p50": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


def comparison(title: str, columns: Mapping[str, T], rows: Sequence[tuple[str, Callable[[T], str]]]) -> Table:
    """Return a table with a column for each of `columns`. A row has a label, and writes a cell from a column's figures."""
    shown = Table(title=title)
    shown.add_column("")
    for name in columns:
        shown.add_column(name, justify="right")
    for label, write in rows:
        shown.add_row(label, *map(write, columns.values()))
    return shown


def machine() -> str:
    """Return the name of the machine, with its processors and memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), model)
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}, broker on the same cores"


def rival(name: str, bootstrap: str, topic: str, records: int) -> dict[str, float]:
    """Run a rival in a process of its own. Return its figures."""
    command = [sys.executable, "-m", "scripts.lab.measure.rivals", name, bootstrap, topic, str(records)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE_S)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
