"""Start the service: read the configuration, start the actors and the gateway, drain when asked to stop.

The composition root: the only place that knows every layer. `--demo` adds a broker and a gentle producer of its own.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import structlog
import typer
import uvicorn
from rich.console import Console
from rich.panel import Panel

from actors.actor import System
from actors.dispatcher import Dispatcher
from actors.guardian import Guardian, Running, StreamPlan, drain, start_stream
from actors.messages import Drained
from actors.source import KafkaSource
from actors.timeline.retention import Limits
from actors.views import VIEWS
from config.machine import memory_limit
from config.settings import Settings, SettingsError, Stream, load
from gateway.app import create_app
from scripts.broker import find_embedded, start_embedded

ROOT = Path(__file__).resolve().parent.parent

_RESERVE_BYTES = 24 << 20
"""What the process needs beside its slices once events flow: librdkafka's queues, polls under way, replies."""

_LEAST_FOR_EVENTS = 8 << 20
_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits: a tenth of the default, so that queries stay quick."""

_DRAIN_S = 10.0
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


def plan(name: str, stream: Stream, kafka: dict[str, Any], budget: Budget, streams: int) -> StreamPlan:
    """Turn one stanza of the configuration into what its actors need."""
    source = KafkaSource(
        {"group.id": f"firnline-{name}", **kafka},
        stream.source.topic,
        start=stream.source.start,
        on_error=lambda text: log.warning("kafka", stream=name, problem=text),
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


def serve(settings: Settings, kafka: dict[str, Any], ready: list[str]) -> int:
    """Run until a signal comes, then drain; returns the exit code. `ready` lines are shown once the port is open."""
    budget = budget_of(settings)
    system = System(Dispatcher())
    guardian = Guardian.start(system, log=log.error)
    waits: dict[str, bool] = {}

    def on_wait(stream: str) -> None:
        if not waits.get(stream):
            waits[stream] = True
            topic = settings.streams[stream].source.topic
            log.warning("waiting for the topic", stream=stream, topic=topic, broker=kafka.get("bootstrap.servers"))

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
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.http.host,
            port=settings.http.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=65,
        )
    )
    code = asyncio.run(_until_stopped(server, settings, ready))
    stop(system, running, guardian)
    return code


async def _until_stopped(server: uvicorn.Server, settings: Settings, ready: list[str]) -> int:
    """Serve HTTP until a signal comes; returns 1 where the port could not be had."""
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://{settings.http.host}:{port}"
        log.info("listening", url=url, pid=os.getpid())
        for line in ready:
            print(line.format(url=url), flush=True)
    with contextlib.suppress(SystemExit):
        await serving
        return 0
    log.error("the port could not be had", host=settings.http.host, port=settings.http.port)
    return 1
