"""One run of the service: starts the actors and the gateway, serves until the end, and drains."""

import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from actors.protocol import CONTROL
from actors.runtime.actor import System, start
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.stream import Callbacks, Running, start_stream
from actors.timeline.unit import TimeUnit, Unit
from config.settings import Settings
from config.streams import Stream
from gateway.app import create_app
from gateway.page.doubts import Doubt
from gateway.stream import Served
from gateway.watch.traces import Traces
from gateway.watch.traffic import Counted, Traffic
from gateway.wire.guard import Guard
from gateway.wire.limits import Allowance
from gateway.wire.profiling import profiled, profiling
from gateway.wire.server import Server, files_for, server
from scripts.service.ending import Hangup, Stopping, stop
from scripts.service.in_force import InForce, limits_of, rules_of
from scripts.service.keeping import Keeping
from scripts.service.letters.of_stream import StreamLetters
from scripts.service.logs import configure_log, log
from scripts.service.memory import budget_of
from scripts.service.parts import Complaints
from scripts.service.plan import plan
from scripts.service.reload import Reloading

_WAIT_S = 30.0
"""How long `--once` waits for a topic, or for the end of a transaction. The help of `--once` states it."""

_STILL_S = 10.0
"""A wait that was reported less than this long ago goes on: a stream reports it every second."""


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens at the configured address. Clients that connect now wait for the server.

    Raises ValueError if the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.http.host, settings.http.port))
        opened.listen()  # two processes may bind one port, but only one of them can listen
    except OSError as error:
        opened.close()
        raise ValueError(_why_not(settings, error)) from None
    return opened


def _why_not(settings: Settings, error: OSError) -> str:
    """Return why the address cannot be used, and what to do."""
    host, port = settings.http.host, settings.http.port
    problem = f"{host}:{port}: {error.strerror}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{problem}{_by_whom(port)}: end it, or take another port: --set http.port={port % 65_535 + 1}"
        case errno.EACCES:
            return f"{problem}: take a port above 1023: --set http.port=8080"
        case _:
            return f"{problem}: take an address of this machine: --set http.host=127.0.0.1"


def _by_whom(port: int) -> str:
    """Return the process that listens at a port; nothing if the system does not show it to this user."""
    try:
        listening = [
            each.pid for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr[1] == port
        ]
        process = next((psutil.Process(pid) for pid in listening if pid is not None), None)
        return f" by {process.name()}, process {process.pid}" if process is not None else ""
    except (psutil.Error, OSError):
        return ""


@dataclass(slots=True)
class _Wait:
    """A stream waits from `since` until its `last` report, at present for `reason`."""

    reason: str
    since: float
    last: float
    logged: bool = False


class Progress:
    """Logs what the streams report, and with `once` ends the server when the last stream has ended or was given up.

    It also ends the server if a stream is `superseded`: the reason why another process may write as this data_dir.
    """

    def __init__(self, settings: Settings, kafka: dict[str, Any], *, once: bool) -> None:
        self._settings = settings
        self._bootstrap = kafka.get("bootstrap.servers")
        self._once = once
        self._unfinished = set(settings.streams)
        self._waiting: dict[str, _Wait] = {}
        self._server: Server | None = None
        self.given_up: set[str] = set()
        self.superseded: str | None = None
        self._failure: str | None = None
        self.failed: set[str] = set()
        self.complain = {name: Complaints(name, log.warning, self._on_failed_input) for name in settings.streams}

    def attach(self, server: Server) -> None:
        """End this server, at once if all streams have ended already."""
        self._server = server
        self._end_if_finished()

    def callbacks(self) -> Callbacks:
        """Return the callbacks of the streams. Any thread may call them."""
        return Callbacks(
            wait=self._on_wait,
            end=self._on_end,
            trouble=lambda stream, problem: self.complain[stream](f"results wait: {problem}"),
            superseded=self._on_superseded,
        )

    def on_failure(self, event: str, **facts: Any) -> None:
        """Log a failure that the guardian reports."""
        log.error(event, **facts)
        if event == "stream degraded":
            self.given_up.add(facts["stream"])
            self._on_end(facts["stream"])

    def on_unit(self, stream: str, unit: Unit) -> None:
        """Log the unit that the events of a stream have decided."""
        log.info("time unit", stream=stream, unit=unit.name, because=unit.because)

    def on_doubt(self, stream: str, doubt: Doubt) -> None:
        """Log why a stream that reads records has no answers."""
        log.warning("no answers", stream=stream, source=self._name_of(stream), reason=doubt.reason, next=doubt.next)

    def _on_failed_input(self, stream: str, problem: str) -> None:
        """Note that the input of a stream has failed. The stream ends as usual, so that its records are not lost."""
        log.error("input failed", stream=stream, problem=problem)
        self.failed.add(stream)

    @property
    def problems(self) -> str:
        """Describe the streams that did not end well; empty if all did."""
        kinds = {"given up": self.given_up, "input failed": self.failed - self.given_up}
        found = [f"{kind}: {', '.join(sorted(names))}" for kind, names in kinds.items() if names]
        return "; ".join([*found, *([self._failure] if self._failure is not None else [])])

    def _on_end(self, stream: str) -> None:
        self._unfinished.discard(stream)
        self._end_if_finished()

    def _on_superseded(self, stream: str, reason: str) -> None:
        """End the process. Nothing restarts the stream, because each start would fence off the other process."""
        log.error("superseded", stream=stream, problem=reason)
        self.superseded = self.superseded or reason
        self.given_up.add(stream)
        self._end_if_finished()

    def end_because(self, reason: str) -> None:
        """End the process, because another one has its place in the cluster."""
        log.error("superseded", problem=reason)
        self.superseded = self.superseded or reason
        self._end_if_finished()

    def fail(self, problem: str) -> None:
        """End the process with a failure."""
        log.error("failed", problem=problem)
        self._failure = problem
        self._end_if_finished()

    def _end_if_finished(self) -> None:
        finished = (self._once and not self._unfinished) or self._failure is not None
        if self._server is not None and (finished or self.superseded is not None):
            self._server.should_exit = True

    def _on_wait(self, stream: str, reason: str, advice: str | None) -> None:
        """Log that a stream cannot read its records yet. With `once`, give the stream up after `_WAIT_S`."""
        now = time.monotonic()
        before = self._waiting.get(stream)
        still = before is not None and now - before.last <= _STILL_S
        wait = self._waiting[stream] = before if before is not None and still else _Wait(reason, now, now)
        if wait.reason != reason:  # it waits on, for something else
            wait.reason, wait.logged = reason, False
        wait.last = now
        if not wait.logged and (before is None or now - wait.since >= _STILL_S):  # most transactions are open for a moment only
            wait.logged = True
            if not any(each in self.complain[stream] for each in reason.split("; ")):
                facts = {"reason": reason, **({"next": advice} if advice is not None else {})}
                log.warning("waiting", stream=stream, source=self._name_of(stream), **facts)
        if self._once and now - wait.since >= _WAIT_S and stream in self._unfinished:
            problem = f"{self._name_of(stream)}: {reason}, for {_WAIT_S:.0f} seconds"
            log.error("given up", stream=stream, problem=problem)
            self.given_up.add(stream)
            self._on_end(stream)

    def _name_of(self, stream: str) -> str:
        """Describe a source in the log, which may show the words of a command."""
        source = self._settings.streams[stream].source
        return f"{source} at {self._bootstrap}" if source.topic is not None else str(source.file or source.command or source)


def serve(
    settings: Settings,
    kafka: dict[str, Any],
    keeping: Keeping,
    port: socket.socket,
    *,
    once: bool,
    force: bool,
    greet: Callable[[str], None],
    read: Callable[[], Settings],
    traces: Traces | None,
) -> Progress:
    """Run until a signal comes, or with `once` until all streams have ended; then drain. Returns what the streams reported.

    With `force`, a stream begins although its topic has results that its checkpoints do not have.

    `greet` gets the URL once the port answers; `read` reads the settings again for a reload. Raises ValueError if a setting
    cannot be applied, such as a memory budget that is too small. Called on the main thread.
    """
    stopping = Stopping()
    hangup = Hangup(lambda: signal.raise_signal(signal.SIGTERM))
    budget = budget_of(settings)
    allowance = Allowance(limits_of(settings.http, budget.replies))
    system = System(Dispatcher(), trace=traces.span if traces is not None else contextlib.nullcontext)
    progress = Progress(settings, kafka, once=once)
    guardian = start(Guardian, system, log=progress.on_failure)
    plans = {
        name: plan(name, stream, kafka, budget, settings, keeping, once=once, force=force, complain=progress.complain[name])
        for name, stream in settings.streams.items()
    }
    for name, each in plans.items():
        each.unit.on_decided = partial(progress.on_unit, name)
    running = {name: start_stream(system, each, progress.callbacks()) for name, each in plans.items()}
    in_force = InForce(settings, budget, rules_of(plans, running), allowance)
    reloading = Reloading(in_force, read, log, on_level=lambda new: configure_log(new.log))
    streams = [served(name, settings.streams[name], stream, plans[name].unit, kafka) for name, stream in running.items()]
    traffic = Traffic()
    app = create_app(streams, guardian, allowance, reload=reloading, traffic=traffic, trace=system.trace)
    reloading.on_change = app.state.histories.reloaded
    app.state.histories.on_doubt = progress.on_doubt
    guarded = Guard(profiled(app) if profiling(os.environ) else app, allowance, settings.http.host)
    counted = Counted(guarded, traffic, log.debug)
    gateway = server(traces.around(counted) if traces is not None else counted, allowance)
    traffic.connections = gateway.connections
    gateway.at_start += (partial(system.dispatcher.lend, CONTROL), app.state.histories.start)
    gateway.at_end += (app.state.ticker.close, app.state.histories.close, partial(system.dispatcher.lend, None))
    progress.attach(gateway)
    if few := files_for(settings.http.max_connections):
        log.warning("few connections", reason=few)
    greet(url_of(port))
    hangup.attach(reloading.in_background)
    stopping.attach(gateway)
    gateway.run(sockets=[port])
    stop(system, running, guardian, log, progress.given_up)
    return progress


def url_of(port: socket.socket) -> str:
    """Return the URL of a socket that listens."""
    host, number = port.getsockname()[:2]
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"


def served(name: str, stream: Stream, running: Running, unit: TimeUnit, kafka: dict[str, Any]) -> Served:
    """Return a running stream as the gateway needs it. Its `unit` may be decided later."""
    return Served(
        name,
        stream.view,
        running.manager,
        running.publisher,
        running.writer,
        steps=stream.step_names,
        granularities=stream.period_names,
        unit_of=lambda: unit.name if stream.axis == stream.unit else stream.axis,
        source=str(stream.source),
        letters=StreamLetters(kafka, stream.dead_letters) if stream.dead_letters is not None else None,
    )
