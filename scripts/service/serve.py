"""Start the service: read the configuration, start the actors and the gateway, drain when asked to stop.

The composition root: the only place that knows every layer. `--demo` adds a broker and a gentle producer of its own.
"""

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Annotated, Any

import structlog
import typer

from actors.durability.lock import owned
from actors.messages import Drained
from actors.protocol import Address
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.stream import Running, Told, drain, start_stream
from config.load import load
from config.settings import Log, SetsStream, Settings, Source
from config.tokens import tokens
from gateway.app import create_app
from gateway.routes.about import product_version
from gateway.stream import Served
from gateway.watch.traces import Traces, traces_to
from gateway.watch.traffic import Counted, Traffic
from gateway.wire.guard import Guard
from gateway.wire.limits import Allowance
from gateway.wire.profiling import profiled, profiling
from gateway.wire.server import Server, files_for, server
from scripts.brokers.embedded import find_embedded, start_embedded
from scripts.brokers.process import end
from scripts.service.demo import demo_topic, gentle_producer, what_to_try
from scripts.service.logs import tell_by
from scripts.service.plan import Complaints, Keeping, budget_of, plan, source_name
from scripts.service.reload import Hangup, InForce, Reloading, limits_of, rules_of

_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits: a tenth of the default, so that queries stay quick."""

_GC_THRESHOLD = 50_000
"""New containers at which Python looks for cycles: a poll of 5,000 records makes as many, and no cycle."""

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 2
_MAPPED_BYTES = 1 << 20
"""Blocks from this size on are mapped by themselves, and go back to the system when they are freed. glibc would raise the limit
by itself, and large columns that grow would leave holes: 228 MB grown to 145 MB, for a million ids.
"""

_DRAIN_S = 10.0
_CLOSE_S = 8.0

log = structlog.get_logger("firnline")


class Stopping:
    """Counts the signals that ask for an end: the first one drains, the second one does not wait.

    One that comes before there is a server ends that server as soon as it is attached.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._server: Server | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def attach(self, own: Server) -> None:
        """End this server at the first signal, also where that came already."""
        self._server = own
        if self._asked:
            own.should_exit = True

    def _ask(self, number: int, _: object) -> None:
        # While it runs, uvicorn takes the first signal itself, and raises it again here once the port is closed.
        self._asked += 1
        if self._server is not None:
            self._server.should_exit = True
        if self._asked > 1:
            sys.stderr.write("stopped at once\n")
            os._exit(128 + number)


def listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is started; who asks meanwhile waits until there is a server.

    Raises ValueError where it is not to be had.
    """
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((settings.http.host, settings.http.port))
        taken.listen()  # two processes may have bound one port; only one of them listens
    except OSError as error:
        taken.close()
        raise ValueError(f"{settings.http.host}:{settings.http.port}: {error.strerror}") from None
    return taken


def serve(
    settings: Settings,
    kafka: dict[str, Any],
    keeping: Keeping | None,
    port: socket.socket,
    *,
    once: bool,
    greet: Callable[[str], None],
    read: Callable[[], Settings],
    traces: Traces | None,
) -> set[str]:
    """Run until a signal comes, or with `once` until all streams are at their end; then drain.

    `greet` is given the URL once the port answers; `read` reads the settings again. Returns the streams that were given up,
    which ends them too with `once`; what takes long is traced, where there are `traces`. Raises ValueError where a setting
    cannot be carried out, such as a memory budget that is too small.
    """
    stopping = Stopping()
    hangup = Hangup(lambda: signal.raise_signal(signal.SIGTERM))
    budget = budget_of(settings)
    allowance = Allowance(limits_of(settings, budget.replies))
    system = System(Dispatcher(), trace=traces.span if traces is not None else contextlib.nullcontext)
    complain = {name: Complaints(name, log.warning) for name in settings.streams}
    left = set(settings.streams)
    waiting: set[str] = set()
    degraded: set[str] = set()
    servers: list[Server] = []

    def on_end(stream: str) -> None:
        left.discard(stream)
        if once and not left and servers:
            servers[0].should_exit = True

    def on_failure(event: str, **facts: Any) -> None:
        log.error(event, **facts)
        if event == "stream degraded":
            degraded.add(facts["stream"])
            on_end(facts["stream"])

    def on_wait(stream: str) -> None:
        if stream not in waiting:
            waiting.add(stream)
            log.info("waiting", stream=stream, until_there_is=source_name(settings.streams[stream].source, kafka))

    told = Told(
        wait=on_wait,
        end=on_end,
        trouble=lambda stream, problem: complain[stream](f"results wait: {problem}"),
    )
    guardian = Guardian.start(system, log=on_failure)
    plans = {
        name: plan(name, stream, kafka, budget, settings, keeping, once=once, complain=complain[name])
        for name, stream in settings.streams.items()
    }
    running = {name: start_stream(system, each, told) for name, each in plans.items()}
    in_force = InForce(settings, budget, rules_of(plans, running), allowance)
    reloading = Reloading(in_force, read, log, on_level=lambda new: tell_by(new.log))
    streams = [served(name, settings, stream) for name, stream in running.items()]
    traffic = Traffic()
    app = create_app(streams, guardian, allowance, reload=reloading, traffic=traffic, trace=system.trace)
    guarded = Guard(profiled(app) if profiling(os.environ) else app, allowance, settings.http.host)
    counted = Counted(guarded, traffic, log.debug)
    servers.append(server(traces.around(counted) if traces is not None else counted, allowance))
    traffic.connections = servers[0].connections
    servers[0].at_end.append(app.state.ticker.close)
    if few := files_for(settings.http.max_connections):
        log.warning("few connections", reason=few)
    if once and not left:
        servers[0].should_exit = True
    host, number = port.getsockname()[:2]
    greet(f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}")
    hangup.attach(reloading)
    stopping.attach(servers[0])
    servers[0].run(sockets=[port])
    stop(system, running, guardian)
    return degraded


def served(name: str, settings: Settings, running: Running) -> Served:
    """Return a running stream as the gateway knows it."""
    stream = settings.streams[name]
    return Served(
        name,
        stream.view,
        running.manager,
        running.publisher,
        running.writer,
        steps=tuple(stream.steps) if isinstance(stream, SetsStream) else (),
        time_unit=stream.time_unit if isinstance(stream, SetsStream) else "batch" if stream.view == "segments" else "ms",
        source=known_as(stream.source),
    )


def known_as(source: Source) -> str:
    """Return what a source is to everybody who may ask: of a command, which may hold what is secret, no more than that."""
    if source.topic is not None:
        return f"topic {source.topic}"
    return f"file {source.file}" if source.file is not None else "command" if source.command is not None else "standard input"


def stop(system: System, running: dict[str, Running], guardian: Address) -> None:
    """Drain every stream, then stop the actors and their threads; all streams at once, as each may wait for a broker."""
    drained: dict[str, SimpleQueue[Drained]] = {name: SimpleQueue() for name in running}
    for name, stream in running.items():
        drain(stream, drained[name].put)
    deadline = time.monotonic() + _DRAIN_S
    for name, replies in drained.items():
        try:
            progress = replies.get(timeout=max(0.0, deadline - time.monotonic())).progress
            log.info("drained", stream=name, records=progress.records, events=progress.events)
        except Empty:
            log.warning("not drained", stream=name, after_s=_DRAIN_S)
    stopping = {name: threading.Thread(target=stream.stop, daemon=True) for name, stream in running.items()}
    for thread in stopping.values():
        thread.start()
    deadline = time.monotonic() + _CLOSE_S
    for name, thread in stopping.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():  # librdkafka may wait for a broker that is gone, without end
            log.warning("not closed", stream=name, after_s=_CLOSE_S)
    guardian.stop()
    system.dispatcher.close()


def keep_memory_tight() -> None:
    """Have glibc map large blocks by themselves, and keep few heaps; another C library is left as it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)


def chosen(settings: Settings, only: Sequence[str]) -> Settings:
    """Return the settings with the streams named in `only` alone, or with all of them where none is named.

    Raises ValueError for a name that there is not.
    """
    for name in only:
        if name not in settings.streams:
            raise ValueError(f"--only: expected one of {', '.join(settings.streams)}, got {name}")
    kept = {name: stream for name, stream in settings.streams.items() if not only or name in only}
    return settings.model_copy(update={"streams": kept})


@contextlib.contextmanager
def kept(settings: Settings, *, lasting: bool) -> Iterator[Keeping | None]:
    """Have the data folder, where there is one. Not where nothing outlasts this process: an embedded broker, or `--once`.

    Raises ValueError where another process has it.
    """
    if settings.data_dir is None or not lasting:
        yield None
    else:
        try:
            ownership = owned(settings.data_dir)
            name = ownership.__enter__()
        except OSError as error:
            raise ValueError(f"data_dir: {settings.data_dir}: {error.strerror}") from None
        with contextlib.ExitStack() as around:
            around.push(ownership)
            yield Keeping(settings.data_dir, name, settings.checkpoint)


@contextlib.contextmanager
def broker_of(settings: Settings) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield librdkafka's settings, and whether the broker keeps what a checkpoint needs.

    Where they say `embedded`, of the embedded broker, started if there is none: it keeps nothing beyond its own end, and knows
    no transactions.
    """
    kafka = dict(settings.kafka)
    needed = any(stream.source.topic or stream.output.topic for stream in settings.streams.values())
    if kafka["bootstrap.servers"] != "embedded" or not needed:
        yield kafka, True
        return
    found = find_embedded()
    if found is not None:
        yield {**kafka, "bootstrap.servers": found}, False
        return
    broker, bootstrap = start_embedded()
    log.info("embedded broker started", bootstrap=bootstrap, pid=broker.pid)
    try:
        yield {**kafka, "bootstrap.servers": bootstrap}, False
    finally:
        end(broker)


def main(
    config: Annotated[Path | None, typer.Option(help="The YAML file; without it, config/default.yaml.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting over the file: streams.events.max_sets=1000.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="This stream of the configuration alone; may be given again.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End by itself when all input is read and its results are out.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Run a gentle producer beside the service, and print what to try.")
    ] = False,
) -> None:
    """Consume the configured streams and answer over HTTP, until Ctrl-C."""

    def read() -> Settings:
        return chosen(load(config, overrides or [], os.environ), only or [])

    # Imports leave objects that stay: the collector need not walk them again and again, 40 ms at a time.
    keep_memory_tight()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    tell_by(Log())
    sys.setswitchinterval(_SWITCH_S)
    try:
        settings = read()
        tokens(settings.http, os.environ)  # before anything is started
        with listen(settings) as port, contextlib.ExitStack() as around:
            tell_by(settings.log)
            kafka, lasting = around.enter_context(broker_of(settings))
            keeping = around.enter_context(kept(settings, lasting=lasting and not once))
            if demo:
                around.enter_context(gentle_producer(str(kafka["bootstrap.servers"]), demo_topic(settings)))

            def greet(url: str) -> None:
                log.info("listening", url=url, pid=os.getpid())
                if demo:
                    print(what_to_try(url), flush=True)

            traces = traces_to(settings.log.traces, version=product_version())
            if traces is not None:
                around.enter_context(traces)
            if given_up := serve(settings, kafka, keeping, port, once=once, greet=greet, read=read, traces=traces):
                sys.exit(f"firnline: given up: {', '.join(sorted(given_up))}")
    except (ValueError, OSError) as error:  # a SettingsError among them
        sys.exit(f"firnline: {error}")
