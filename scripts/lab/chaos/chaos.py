"""Kill the service again and again, stop and cut off its broker, and compare every answer with the right one.

The real service runs on a real broker, under load. A seed decides which faults happen and when. The verifier shares no code
with the product. The exit code is 1 if an answer differed; the seed is printed.
"""

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from scripts.brokers.process import free_port
from scripts.lab.chaos.faults import plan
from scripts.lab.chaos.load import Load
from scripts.lab.chaos.makers import LATENESS_MS, PARTITIONS, STEPS, WITHIN_MS
from scripts.lab.chaos.oracle import TRUTHS
from scripts.lab.chaos.ordeal import Ordeal
from scripts.lab.chaos.processes import EndedError, Subject, own_broker
from scripts.lab.chaos.proxy import Proxy
from scripts.lab.chaos.report import Report, table_of
from scripts.lab.chaos.rights import Rights
from scripts.lab.chaos.verifier import MAX_AHEAD_MS, NAMES, Client, Output, Verifier
from scripts.lab.topics import temporary_topics, visible_count
from scripts.lab.waiting import OverdueError


def settings(
    topics: dict[str, tuple[str, int]], outputs: dict[str, str], kafka: Mapping[str, Any], port: int, data: Path | None
) -> Any:
    """Return the service's settings: small generations and frequent checkpoints, so that a run has many of both."""
    streams: dict[str, dict[str, Any]] = {
        "sets": {"lateness_ms": LATENESS_MS, "idle_ms": 600_000, "max_sets": 400},
        "top": {},
        "segments": {"max_batches": 40, "spill_bytes": 20_000, "output": {"file": "output/output.txt"}},
        "uniques": {"lateness_ms": 5_000, "idle_ms": 300, "max_cells": 300, "output": {}},
        "funnel": {
            "lateness_ms": LATENESS_MS,
            "idle_ms": 600_000,
            "max_sequences": 200,
            "output": {},
            "steps": list(STEPS),
            "within": f"{WITHIN_MS}ms",
            "record": {
                "format": "json",
                "key": "/id",
                "time": {"field": "/at", "unit": "ms"},
                "step": {"field": "/type", "names": {step: [step] for step in STEPS}},
            },
        },
        "words": {"lateness_ms": 1_000, "idle_ms": 200, "max_pairs": 2_000},
    }
    for view, topic in outputs.items():
        streams[view]["output"]["topic"] = topic
    for view in ("sets", "uniques", "words"):
        streams[view]["max_ahead_ms"] = MAX_AHEAD_MS
    return {
        "http": {"port": port},
        "kafka": {**kafka, "reconnect.backoff.max.ms": 250},
        "data_dir": None if data is None else str(data),
        "checkpoint": {"every_ms": 150, "events": 100_000},
        "streams": {
            NAMES[view]: {"view": view, "source": {"topic": topic}, **streams[view]} for view, (topic, _) in topics.items()
        },
    }


@contextlib.contextmanager
def topics_on(bootstrap: str, views: list[str]) -> Iterator[tuple[dict[str, tuple[str, int]], dict[str, str]]]:
    """Create a topic of each view, with its number of partitions, and the output topics. Delete them at the end."""
    run = uuid.uuid4().hex[:12]
    topics = {view: (f"chaos-{run}-{view}", PARTITIONS[view]) for view in views}
    outputs = {view: f"chaos-{run}-{view}-out" for view in views if view in {"segments", "uniques", "funnel"}}
    with temporary_topics(bootstrap, {**dict(topics.values()), **dict.fromkeys(outputs.values(), 1)}):
        yield topics, outputs


def run(
    *,
    kills: int,
    seed: int,
    rate: float,
    views: list[str],
    every: int,
    bootstrap: str | None,
    folder: Path,
    on_disk: bool,
    tell: Callable[[int, int], None],
) -> Report:
    """Run to the end, or to the first comparison that differs. `tell` gets the number of finished faults and of all faults.

    Raises OSError or KafkaException if there is no broker.
    """
    chance, began = Random(seed), time.monotonic()
    report = Report(seed, folder)
    with contextlib.ExitStack() as around:
        node, guarded = (None, None) if bootstrap is not None else around.enter_context(own_broker())
        address = node.bootstrap if node is not None else str(bootstrap)
        topics, outputs = around.enter_context(topics_on(address, views))
        if guarded is not None:
            rights = Rights(guarded, [topic for topic, _ in topics.values()], outputs.values())
            proxy = Proxy(guarded.sasl, guarded.sasl)
            kafka = {**guarded.as_user, "bootstrap.servers": proxy.bootstrap}
        else:
            rights = None
            metadata = AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=20)
            broker = min(metadata.brokers.values(), key=lambda each: each.id)
            proxy = Proxy(address, f"{broker.host}:{broker.port}")
            kafka = {"bootstrap.servers": proxy.bootstrap}
        around.callback(proxy.close)
        port = free_port()
        subject = Subject(folder, settings(topics, outputs, kafka, port, folder / "data" if on_disk else None))
        load = Load(address, topics, seed=seed, rate=rate)
        around.callback(load.close)
        found = {view: Output(address, topic) for view, topic in outputs.items()}
        for output in found.values():
            around.callback(output.close)
        client = Client(port)
        truths = {view: lane.truth for view, lane in load.lanes.items()}
        verifier = Verifier(client, truths, folder, found, on_disk, Random(f"{seed} questions"))
        ordeal = Ordeal(subject, client, load, verifier, proxy, node, report, chance, rights)
        around.callback(ordeal.close)
        planned = plan(kills, chance, own_broker=node is not None, on_disk=on_disk, publishes=bool(outputs))
        try:
            ordeal.begin()
            for done, fault in enumerate(planned, 1):
                ordeal.perform(fault)
                if done % every == 0 or done == len(planned):
                    ordeal.verify()
                tell(done, len(planned))
                if report.differences:
                    break
            else:
                ordeal.end()
        except (EndedError, OverdueError) as error:
            ordeal.differ([str(error)])
        for view, (topic, _) in topics.items() if not report.differences else ():
            if (held := visible_count(address, topic)) != truths[view].records:
                raise OSError(f"{topic} holds {held} records, and not the {truths[view].records} that were sent")
        report.records = sum(truth.records for truth in truths.values())
    report.seconds = time.monotonic() - began
    return report


def main(
    kills: Annotated[int, typer.Option(min=1, help="How often the service is killed; other faults come beside.")] = 20,
    seed: Annotated[int | None, typer.Option(help="The seed of the plan; without it, a random one, which is printed.")] = None,
    rate: Annotated[float, typer.Option(min=10, help="Records a second, over all views.")] = 1_000.0,
    views: Annotated[str, typer.Option(help="Which views.")] = ",".join(TRUTHS),
    every: Annotated[int, typer.Option(min=1, help="Compare all answers after this many faults.")] = 10,
    bootstrap: Annotated[
        str | None, typer.Option(help="A broker, HOST:PORT, that is only ever cut off; without it, one of our own, killed too.")
    ] = None,
    memory_only: Annotated[bool, typer.Option("--memory-only", help="With no data_dir: each start reads everything.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the folder where an answer differed.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table for a README.")] = False,
) -> None:
    """Kill, stop and cut off the service under load, and compare every answer with what it must be."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that an interrupt ends all that was started
    console = Console(stderr=True)
    chosen = [view.strip() for view in views.split(",")]
    if unknown := [view for view in chosen if view not in TRUTHS]:
        sys.exit(f"chaos: --views: expected some of {', '.join(TRUTHS)}, got {', '.join(unknown)}")
    seed = seed if seed is not None else Random().randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="firnline-chaos-"))
    differed = False
    try:
        columns = ("{task.description}", MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(f"seed {seed}", total=None)
            report = run(
                kills=kills,
                seed=seed,
                rate=rate,
                views=chosen,
                every=every,
                bootstrap=bootstrap,
                folder=folder,
                on_disk=not memory_only,
                tell=lambda done, total: progress.update(task, completed=done, total=total),
            )
        differed = bool(report.differences)
    except KafkaException as error:
        sys.exit(f"chaos: seed {seed}: {bootstrap or 'the broker'}: {error.args[0].str()}")
    except OSError as error:
        sys.exit(f"chaos: seed {seed}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if not (differed and keep):
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        Console(width=200 if markdown else None).print(table_of(report, markdown=markdown))
    if differed:
        for each in report.differences:
            print(each, file=sys.stderr)
        sys.exit(f"chaos: {len(report.differences)} differences; seed {seed}" + (f"; see {folder}" if keep else ""))
