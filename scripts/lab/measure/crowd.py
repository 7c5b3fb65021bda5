"""Measure queries beside a crowd: idle connections and event streams, while events come in.

A process of its own holds the crowd, and this one sends the queries, so that neither waits for the other.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Annotated, cast

import psutil
import typer
from rich.console import Console
from rich.table import Table

from gateway.wire.server import files_for
from scripts.checkout import ROOT
from scripts.lab.measure.runs import Client, comparison, machine, measuring, peak_rss, percentiles, service
from scripts.lab.topics import temporary_topics
from scripts.lab.waiting import until

_HOST = b"Host: 127.0.0.1\r\n"
_IDLE = b"GET /livez HTTP/1.1\r\n" + _HOST + b"\r\n"
_WATCH = b"GET /live HTTP/1.1\r\n" + _HOST + b"Accept: text/event-stream\r\n\r\n"

_AT_ONCE = 64
"""Connections that are opened at the same time."""

_AGAIN_S = 30.0
"""Seconds after which an idle connection sends a request, because the service closes it after 65 s."""

_PARTITIONS = 3
_PAUSE_S = 0.02
_FEW_S = 10.0
_START_S = 60.0

console = Console(stderr=True)


class Member(asyncio.Protocol):
    """One connection of the crowd. Counts the bytes that arrive, and notes whether the connection is closed."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.transport: asyncio.Transport | None = None
        self.nbytes = 0
        self.asked_at = asyncio.get_running_loop().time()
        self.first = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count the bytes."""
        if not self.first.done():
            self.first.set_result(data.startswith(b"HTTP/1.1 200 "))
        self.nbytes += len(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Note the end of the connection."""
        self.transport = None
        if not self.first.done():
            self.first.set_result(False)


@dataclass(slots=True)
class Held:
    """The state of a crowd: members that got a first response, members that are still connected, and bytes of the streams."""

    idle: int = 0
    streams: int = 0
    there: int = 0
    stream_bytes: int = 0


async def _hold(port: int, idle: int, streams: int, pipe: Connection) -> None:
    files_for(idle + streams)
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(_AT_ONCE)

    idlers: list[Member] = []
    watchers: list[Member] = []

    async def join(members: list[Member], request: bytes) -> None:
        async with gate:
            _, member = await loop.create_connection(lambda: Member(request), "127.0.0.1", port)
            await member.first
            members.append(member)

    async def stay() -> None:
        while True:
            for member in tuple(idlers):
                if loop.time() > member.asked_at + _AGAIN_S and member.transport is not None:
                    member.asked_at = loop.time()
                    member.transport.write(member.request)
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.1)

    staying = loop.create_task(stay())
    await asyncio.gather(*(join(idlers, _IDLE) for _ in range(idle)))
    await asyncio.gather(*(join(watchers, _WATCH) for _ in range(streams)))

    def held() -> Held:
        return Held(
            sum(member.first.result() for member in idlers),
            sum(member.first.result() for member in watchers),
            sum(member.transport is not None for member in (*idlers, *watchers)),
            sum(member.nbytes for member in watchers),
        )

    pipe.send(held())
    await asyncio.to_thread(pipe.poll, None)
    staying.cancel()
    pipe.send(held())


def hold(port: int, idle: int, streams: int, pipe: Connection) -> None:
    """Run the crowd's process: join, report, stay until the pipe says otherwise, and report again."""
    asyncio.run(_hold(port, idle, streams, pipe))


@contextlib.contextmanager
def crowd(port: int, idle: int, streams: int) -> Iterator[tuple[Held, Connection]]:
    """Start a crowd. Yields its state at the beginning, and the pipe to its process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=hold, args=(port, idle, streams, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(600):
            raise TimeoutError("the crowd did not come together within 600 s")
        yield ours.recv(), ours
    finally:
        process.terminate()
        process.join(10)


@dataclass(slots=True)
class Asked:
    """The result of one period of queries: milliseconds of each kind, the memory, and the events that came in."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    rss_bytes: int = 0
    events: int = 0
    lag: int = 0


def ask(process: psutil.Process, client: Client, seconds: float) -> Asked:
    """Send queries for `seconds`, one after the other with a short pause."""
    found = Asked()
    began, events = time.perf_counter(), client.get("/events/get-stats")["events"]
    while (passed := time.perf_counter() - began) < seconds:
        found.ms.setdefault("get-stats", []).append(client.timed("/events/get-stats"))
        found.ms.setdefault("100 sets", []).append(client.timed("/events/get-sets?startTime=0&endTime=9999999999999&limit=100"))
        found.rss_bytes = max(found.rss_bytes, process.memory_info().rss)
        time.sleep(_PAUSE_S)
    stats = client.get("/events/get-stats")
    found.seconds, found.events, found.lag = passed, stats["events"] - events, sum(stats["lag"].values())
    return found


@contextlib.contextmanager
def events(bootstrap: str, topic: str, rate: int, client: Client) -> Iterator[None]:
    """Produce `rate` events a second, from when the service has the first ones. Raises OSError if the producer ends."""
    command = [sys.executable, str(ROOT / "scripts" / "producer.py"), "--count", "0", "--rate", str(rate)]
    command += ["--pattern", "shuffled", "--bootstrap", bootstrap, "--topic", topic]
    with tempfile.TemporaryFile() as said:
        producer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        try:
            until(lambda: client.get("/events/get-stats")["events"] or producer.poll() is not None, _START_S, "the first event")
            if producer.poll() is not None:
                said.seek(0)
                raise OSError(f"the producer does not run: {said.read().decode(errors='replace').strip()}")
            yield
        finally:
            producer.terminate()
            producer.wait(timeout=20)


def table(figures: dict[str, Asked], before: Held, after: Held, peak: int, title: str) -> Table:
    """Return the figures as a table with a column for each period."""

    def times(ms: list[float]) -> str:
        found = percentiles(ms)
        return f"{found['p50']:.1f} / {found['p99']:.1f} / {max(ms):.0f} ms"

    rows: list[tuple[str, Callable[[Asked], str]]] = [
        ("get-stats: p50 / p99 / worst", lambda asked: times(asked.ms["get-stats"])),
        ("100 sets: p50 / p99 / worst", lambda asked: times(asked.ms["100 sets"])),
        ("queries", lambda asked: f"{sum(map(len, asked.ms.values())):,}"),
        ("events a second", lambda asked: f"{asked.events / asked.seconds:,.0f}"),
        ("lag at the end", lambda asked: f"{asked.lag:,}"),
        ("resident set, at most", lambda asked: f"{asked.rss_bytes / 1e6:.0f} MB"),
    ]
    shown = comparison(title, figures, rows)
    shown.add_section()
    shown.add_row("peak of all", f"{peak / 1e6:.0f} MB")
    shown.add_row("answered: idle, streams", f"{before.idle:,}, {before.streams:,}")
    shown.add_row("still there at the end", f"{after.there:,}")
    shown.add_row("bytes that the streams got", f"{after.stream_bytes - before.stream_bytes:,}")
    return shown


def main(
    idle: Annotated[int, typer.Option(min=0, help="Connections that ask once, and then stay.")] = 10_000,
    streams: Annotated[int, typer.Option(min=0, help="Clients that watch the live events.")] = 1_000,
    rate: Annotated[int, typer.Option(min=1, help="Events a second.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long to ask while the crowd is there.")] = 60.0,
    bootstrap: Annotated[
        str | None, typer.Option(help="A broker; without it, one is started, which needs Java and Maven.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Measure queries among idle connections and event streams, while events come in."""
    topic = f"crowd-{os.getpid()}-{int(time.time())}"
    few = files_for(idle + streams)
    if few:
        sys.exit(f"crowd: {few}")
    with (
        measuring("crowd", bootstrap) as address,
        temporary_topics(address, {topic: _PARTITIONS}),
        service("events", address, topic, "60%") as (process, client),
        events(address, topic, rate, client),
    ):
        figures = {"before": ask(process, client, min(_FEW_S, seconds))}
        console.print("alone, asked; now the crowd comes")
        with crowd(client.port, idle, streams) as (before, pipe):
            console.print(f"answered: {before.idle:,} idle, {before.streams:,} streams")
            figures["with the crowd"] = ask(process, client, seconds)
            pipe.send(None)
            after: Held = pipe.recv()
        figures["after"] = ask(process, client, min(_FEW_S, seconds))
        peak = peak_rss(process)
    title = f"{idle:,} idle connections, {streams:,} event streams, {rate:,} events a second; {machine()}"
    if as_json:
        kinds = {
            name: {**asdict(asked), "ms": {kind: percentiles(ms) for kind, ms in asked.ms.items()}}
            for name, asked in figures.items()
        }
        print(json.dumps({"machine": machine(), "crowd": asdict(after), "peak_rss_bytes": peak, "figures": kinds}, indent=2))
    else:
        Console(width=120).print(table(figures, before, after, peak, title))


if __name__ == "__main__":
    typer.run(main)
