"""The command `serve`: reads the configuration, prepares port, broker and data folder, and runs the service."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from config.load import SettingsError, chosen, load
from config.settings import Log, Settings
from config.tokens import tokens
from gateway.routes.about import product_version
from gateway.watch.traces import traces_to
from scripts.brokers.embedded import LIMITS
from scripts.brokers.settings import refused
from scripts.service.demo import SMALL, demo_topics, gentle_producer, what_to_try
from scripts.service.ending import SUPERSEDED
from scripts.service.keeping import broker_of, kept
from scripts.service.logs import configure_log, log
from scripts.service.memory import tune_memory
from scripts.service.run import listen, serve

_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits: a tenth of the default, so that queries stay quick."""


def main(
    config: Annotated[Path | None, typer.Option(help="The YAML file; by default config/default.yaml.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting over the file: streams.events.max_sets=1000.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Serve this stream alone; may be repeated.")] = None,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="End when all input is read and its results are written. An absent topic, and the end of an open transaction, "
            "are waited for at most 30 seconds.",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Begin from an older copy of data_dir, and publish the results since then a second time."),
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Also run a gentle producer for all streams, and print commands to try.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="local:3 runs three processes of one cluster on this machine; the first one has the configured port."
        ),
    ] = None,
) -> None:
    """Consume the configured streams and answer over HTTP, until Ctrl-C."""
    if cluster is not None:
        sys.exit(_run_local(cluster, config, overrides or [], only or [], demo=demo))
    over = [*(SMALL if demo and config is None else ()), *(overrides or [])]

    def read() -> Settings:
        try:
            settings = load(config, over, os.environ)
        except SettingsError:  # report all at once; else the clients, when they are made, report what librdkafka refuses
            settings = load(config, over, os.environ, refused=refused)
        return chosen(settings, only or [])

    tune_memory()
    configure_log(Log())
    sys.setswitchinterval(_SWITCH_S)
    try:
        settings = read()
        _check_alone(settings, once=once, force=force)
        tokens(settings.http, os.environ)  # they must be right before anything is started
        with listen(settings) as port, contextlib.ExitStack() as around:
            configure_log(settings.log)
            kafka, lasting = around.enter_context(
                broker_of(settings, lambda address, pid: log.info("embedded broker started", bootstrap=address, pid=pid))
            )
            if not lasting:
                log.warning("embedded broker", limits=LIMITS)
            keeping = around.enter_context(kept(settings, lasting=lasting and not once and settings.cluster is None))
            if demo:
                around.enter_context(gentle_producer(str(kafka["bootstrap.servers"]), demo_topics(settings)))

            def greet(url: str) -> None:
                log.info("listening", url=url, pid=os.getpid())
                if demo:
                    print(what_to_try(url, settings), flush=True)

            traces = traces_to(settings.log.traces, version=product_version())
            if traces is not None:
                around.enter_context(traces)
            if settings.cluster is not None:
                from scripts.service.cluster.serve import serve as serve_shards  # noqa: PLC0415  # one process needs none of it

                end = serve_shards(settings, settings.cluster, kafka, port, greet=greet, traces=traces)
            else:
                end = serve(settings, kafka, keeping, port, once=once, force=force, greet=greet, read=read, traces=traces)
            if end.superseded is not None:
                print(f"firnline: {end.superseded}", file=sys.stderr)
                sys.exit(SUPERSEDED)
            if end.problems:
                sys.exit(f"firnline: {end.problems}")
    except (ValueError, OSError) as error:  # a SettingsError is a ValueError
        sys.exit(f"firnline: {error}")


def _run_local(cluster: str, config: Path | None, overrides: list[str], only: list[str], *, demo: bool) -> int:
    """Run a cluster of processes on this machine until a signal comes; return the exit code."""
    from scripts.service.cluster.local import count_of, overrides_of, run  # noqa: PLC0415  # one process needs none of it

    try:
        count = count_of(cluster)
        if load(config, overrides, os.environ).cluster is None:
            overrides = [*overrides, *overrides_of(count)]
        settings = chosen(load(config, overrides, os.environ), only)
    except ValueError as error:
        sys.exit(f"firnline: {error}")
    words = [*(("--config", str(config)) if config is not None else ())]
    words += [word for each in overrides for word in ("--set", each)] + [word for each in only for word in ("--only", each)]
    return run(settings, words, count, demo=demo)


def _check_alone(settings: Settings, *, once: bool, force: bool) -> None:
    """Raise ValueError if options do not fit a process of a cluster."""
    if settings.cluster is not None and (once or force):
        raise ValueError("cluster: expected no --once and no --force, because a process of a cluster runs until it is stopped")
