"""Start the service: read the configuration, start the actors and the gateway, drain when asked to stop.

The composition root: the only place that knows every layer. `--demo` adds a broker and a gentle producer of its own.
"""

import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Annotated, Any

import psutil
import structlog
import typer
import uvicorn

from actors.actor import System
from actors.dispatcher import Dispatcher
from actors.guardian import Guardian
from actors.messages import Address, Drained
from actors.source import KafkaSource
from actors.stream import Running, StreamPlan, drain, start_stream
from actors.timeline.retention import Limits
from actors.views import VIEWS
from config.load import load
from config.machine import memory_limit
from config.settings import Settings, Stream
from gateway.app import create_app
from scripts.broker import find_embedded, start_embedded

ROOT = Path(__file__).resolve().parent.parent

_RESERVE_BYTES = 24 << 20
"""What the process needs beside its slices once events flow: librdkafka's queues, polls under way, replies."""

_LEAST_FOR_EVENTS = 8 << 20
_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits: a tenth of the default, so that queries stay quick."""

_GC_THRESHOLD = 50_000
"""New containers at which Python looks for cycles: a poll of 5,000 records makes as many, and no cycle."""

_DRAIN_S = 10.0
_QUIET_S = 30.0
_UNITS = {"s": 1_000, "ms": 1, "us": 1_000, "ns": 1_000_000}

log = structlog.get_logger("firnline")


def in_unit(milliseconds: int, unit: str) -> int:
    """Return `milliseconds` in a stream's time unit; seconds are rounded up.

    >>> in_unit(500, "s"), in_unit(500, "us")
    (1, 500000)
    """
    return -(-milliseconds // _UNITS[unit]) if unit == "s" else milliseconds * _UNITS[unit]


def resident_bytes() -> int:
    """Measure the resident set of this process."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that the process may use, and those of them that it needs before any event."""

    total: int
    baseline: int


def budget_of(settings: Settings) -> Budget:
    """Resolve the memory budget on this machine.

    Raises ValueError where it is too small to hold anything.
    """
    limit = memory_limit()
    total = min(settings.memory.budget.resolve(limit.bytes), limit.bytes)
    baseline = resident_bytes() + _RESERVE_BYTES
    least = baseline + _LEAST_FOR_EVENTS * len(settings.streams)
    if total < least:
        raise ValueError(
            f"memory.budget: expected at least {least >> 20} MiB, which an empty service needs, "
            f"got {total >> 20} MiB ({limit.origin}: {limit.bytes >> 20} MiB)"
        )
    return Budget(total, baseline)


class Complaints:
    """Logs what librdkafka complains of, each text at most once in `_QUIET_S` seconds."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._told: dict[str, float] = {}

    def __call__(self, text: str) -> None:
        """Log `text`, unless it was logged just now."""
        now = time.monotonic()
        self._told = {known: at for known, at in self._told.items() if now - at < _QUIET_S}
        if text not in self._told:
            self._told[text] = now
            log.warning("kafka", stream=self._stream, problem=text)


def plan(name: str, stream: Stream, kafka: dict[str, Any], budget: Budget, streams: int) -> StreamPlan:
    """Turn one stanza of the configuration into what its actors need."""
    source = KafkaSource(
        {"group.id": f"firnline-{name}", **kafka},
        stream.source.topic,
        start=stream.source.start,
        on_error=Complaints(name),
    )
    share = Budget(budget.total // streams, budget.baseline // streams)
    max_age = None if stream.max_age_ms is None else in_unit(stream.max_age_ms, stream.time_unit)
    return StreamPlan(
        name=name,
        view=VIEWS[stream.view](steps=stream.steps, max_sets=stream.max_sets),
        source=source,
        lateness=in_unit(stream.lateness_ms, stream.time_unit),
        idle_s=stream.idle_ms / 1000,
        limits=Limits(share.total, stream.max_aged, max_age),
        baseline_bytes=share.baseline,
        rss=resident_bytes,
    )


class Stopping:
    """Counts the signals that ask for an end: the first one drains, the second one does not wait."""

    def __init__(self) -> None:
        self.asked = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _: object) -> None:
        # uvicorn takes the first signal itself, and raises it again here once the port is closed.
        self.asked += 1
        if self.asked > 1:
            sys.stderr.write("stopped at once\n")
            os._exit(128 + number)


def listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is started.

    Raises OSError where it is not to be had.
    """
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((settings.http.host, settings.http.port))
    return taken


def serve(settings: Settings, kafka: dict[str, Any], port: socket.socket, greet: Callable[[str], None]) -> None:
    """Run until a signal comes, then drain. `greet` is given the URL once the port answers.

    Raises ValueError where the memory budget is too small.
    """
    Stopping()
    budget = budget_of(settings)
    system = System(Dispatcher())
    guardian = Guardian.start(system, log=log.error)
    told: set[str] = set()

    def on_wait(stream: str) -> None:
        if stream not in told:
            told.add(stream)
            topic, broker = settings.streams[stream].source.topic, kafka.get("bootstrap.servers")
            log.warning("waiting for the topic", stream=stream, topic=topic, broker=broker)

    running = {
        name: start_stream(system, plan(name, stream, kafka, budget, len(settings.streams)), on_wait=on_wait)
        for name, stream in settings.streams.items()
    }
    app = create_app(
        {name: stream.manager for name, stream in running.items()},
        {name: len(stream.steps) for name, stream in settings.streams.items()},
        guardian,
        deadline_s=settings.http.deadline_ms / 1000,
        max_queries=settings.http.max_queries,
    )
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=5, timeout_keep_alive=65
    )
    host, number = port.getsockname()[:2]
    greet(f"http://{host}:{number}")
    uvicorn.Server(config).run(sockets=[port])
    stop(system, running, guardian)


def stop(system: System, running: dict[str, Running], guardian: Address) -> None:
    """Drain every stream, then stop the actors and their threads."""
    for name, stream in running.items():
        drained: SimpleQueue[Drained] = SimpleQueue()
        drain(stream, drained.put)
        try:
            progress = drained.get(timeout=_DRAIN_S).progress
            log.info("drained", stream=name, records=progress.records, events=progress.events)
        except Empty:
            log.warning("not drained", stream=name, after_s=_DRAIN_S)
        stream.front_end.stop()
        stream.manager.stop()
    guardian.stop()
    system.dispatcher.close()


CURLS = """\
sets form now. Try, in another terminal:

  curl '{url}/events/get-stats'
  curl '{url}/events/get-sets?startTime=0&endTime=9999999999999&limit=3'
  curl '{url}/events/get-sets?startTime=0&endTime=9999999999999&limit=3' -H 'Accept: application/x-ndjson'
  {python} scripts/query.py stats

Ctrl-C ends everything."""


@contextlib.contextmanager
def gentle_producer(bootstrap: str, topic: str) -> Iterator[None]:
    """Run the producer beside the service, some hundred events a second, out of order by a little."""
    command = [sys.executable, str(ROOT / "scripts" / "producer.py"), "--count", "0", "--rate", "300", "--pattern", "shuffled"]
    command += ["--displacement", "20", "--bootstrap", bootstrap, "--topic", topic]
    producer = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        producer.terminate()
        producer.wait(timeout=10)


@contextlib.contextmanager
def broker_of(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield librdkafka's settings; where they say `embedded`, of the embedded broker, started if there is none."""
    kafka = dict(settings.kafka)
    if kafka["bootstrap.servers"] != "embedded":
        yield kafka
        return
    found = find_embedded()
    if found is not None:
        yield {**kafka, "bootstrap.servers": found}
        return
    broker, bootstrap = start_embedded()
    log.info("embedded broker started", bootstrap=bootstrap, pid=broker.pid)
    try:
        yield {**kafka, "bootstrap.servers": bootstrap}
    finally:
        broker.terminate()
        broker.wait(timeout=10)


def main(
    config: Annotated[Path | None, typer.Option(help="The YAML file; without it, config/default.yaml.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting over the file: streams.events.max_sets=1000.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Run a gentle producer beside the service, and print what to try.")
    ] = False,
) -> None:
    """Consume the configured streams and answer over HTTP, until Ctrl-C."""
    # Imports leave objects that stay: the collector need not walk them again and again, 40 ms at a time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    sys.setswitchinterval(_SWITCH_S)
    try:
        settings = load(config, overrides or [], os.environ)
        with listen(settings) as port, contextlib.ExitStack() as around:
            kafka = around.enter_context(broker_of(settings))
            if demo:
                topic = next(iter(settings.streams.values())).source.topic
                around.enter_context(gentle_producer(str(kafka["bootstrap.servers"]), topic))

            def greet(url: str) -> None:
                log.info("listening", url=url, pid=os.getpid())
                if demo:
                    print(CURLS.format(url=url, python=os.path.relpath(sys.executable)), flush=True)

            serve(settings, kafka, port, greet)
    except ValueError as error:  # a SettingsError among them
        sys.exit(f"firnline: {error}")
    except OSError as error:
        sys.exit(f"firnline: {settings.http.host}:{settings.http.port}: {error.strerror}")


if __name__ == "__main__":
    typer.run(main)
