"""The command `produce`: sends the records of a pattern to Kafka or to standard output, at any rate.

On the embedded broker, which drops old records, it stays near the service.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import typer
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from scripts.brokers.embedded import find_embedded
from scripts.brokers.process import interrupted
from scripts.produce.happening import VIEWS, send
from scripts.produce.patterns import chunks
from scripts.produce.sending import Leash, Sending, at_once
from scripts.produce.spec import Spec

_YEAR_MS = 365 * 86_400_000

Pattern = Literal[
    "steady",
    "burst",
    "out-of-order",
    "only-red",
    "shuffled",
    "junk",
    "scattered",
    "random",
    "top",
    "segments",
    "uniques",
    "words",
    "orders",
    "clicks",
]
"""The names in `patterns.PATTERNS`."""


@dataclass(frozen=True, slots=True)
class Target:
    """The defaults of a pattern: its topic, partitions, the stream that reads it, and the time of the first record."""

    topic: str = "events"
    partitions: int = 3
    stream: str = "events"
    start_ms: int | None = None


_TARGETS = {
    "top": Target("dataset", 10, "dataset"),
    "segments": Target("segment-topic", 10, "segments"),
    "uniques": Target("messages", 3, "uniques", 1_468_244_384_000),
    "words": Target("words", 3, "words"),
    "orders": Target("orders", 3, "orders"),
    "clicks": Target("clicks", 3, "visitors"),
}


class Rate(ProgressColumn):
    """Shows records a second; rich's own column does so only without a total."""

    def render(self, task: Task) -> Text:
        """Return the recent rate, and at the end the mean rate."""
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


def prepare(bootstrap: str, topic: str, partitions: int, *, embedded: bool) -> int:
    """Create the topic if it is absent. Returns the number of partitions that it has.

    The embedded broker cannot create topics by request. It creates one, with its own number of partitions, when a producer asks
    for its metadata. Raises KafkaException if the broker does not answer.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    known = admin.list_topics(timeout=10).topics.get(topic)
    if known is not None and known.partitions:
        return len(known.partitions)
    if not embedded:
        try:
            admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=10)
        except KafkaException as error:  # another client may have created it just now
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    asking = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + 10
    while True:
        known = asking.list_topics(topic, timeout=10).topics[topic]
        if known.error is None and known.partitions:
            return len(known.partitions)
        if time.monotonic() > deadline:
            raise KafkaException(known.error)
        time.sleep(0.05)


def bootstrap_of(given: str | None) -> tuple[str, bool]:
    """Return the address of the broker, and whether it is the embedded one. Raises ValueError if there is no broker."""
    named = given or os.environ.get("FIRNLINE_KAFKA__BOOTSTRAP_SERVERS")
    found = find_embedded()
    if named and named != "embedded":
        return named, named == found
    if found is None:
        raise ValueError(
            "no broker: start `python scripts/serve.py`, which starts the embedded one, or give --bootstrap HOST:PORT"
        )
    return found, True


def delete(bootstrap: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone. Raises KafkaException if that fails."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        admin.delete_topics([topic])[topic].result(timeout=10)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
    deadline = time.monotonic() + 10
    while topic in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.05)


def write_lines(pattern: str, spec: Spec, rate: float | None, stop: threading.Event) -> None:
    """Print records, a line each, at a rate. Stops early if interrupted, or if the reader closes the pipe."""
    began, printed = time.monotonic(), 0
    size = at_once(rate)
    try:
        for chunk in chunks(pattern, spec):
            for low in range(0, len(chunk.values), size):
                while rate is not None and not stop.is_set() and (remaining := began + printed / rate - time.monotonic()) > 0:
                    time.sleep(min(remaining, 0.1))
                if stop.is_set():
                    return
                some = chunk.values[low : low + size]
                sys.stdout.buffer.write(b"\n".join(some) + b"\n")
                sys.stdout.buffer.flush()
                printed += len(some)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the buffer cannot be written


STEP_MS = {"words": 100}
"""Milliseconds between two events of a pattern, if they are more than 10."""


def default_start(now_ms: int, count: int, rate: float | None, *, step_ms: int = 10) -> int:
    """Return a time of the first event for which no event is ahead of the clock: the service keeps such events apart.

    Events are at most `step_ms` apart. Events without an end begin now if they have a rate, and run ahead above 100 a second.
    Without a rate they begin a year ago.
    """
    if count:
        return now_ms - step_ms * count
    return now_ms if rate is not None else now_ms - _YEAR_MS


def send_what_happens(views: Mapping[str, str], bootstrap: str | None, seed: int) -> None:
    """Send records for the view of each topic at their times, until a signal; no records for a view without any.

    Prints a line once the topics exist.
    """
    stop = interrupted()
    try:
        address, is_embedded = bootstrap_of(bootstrap)
        topics = {
            topic: (view, prepare(address, topic, _TARGETS.get(view, Target()).partitions, embedded=is_embedded))
            for topic, view in views.items()
            if view in VIEWS
        }
        print(f"sending to {', '.join(topics)} at {address}", flush=True)
        send(address, topics, seed, stop)
    except ValueError as error:
        sys.exit(f"producer: {error}")
    except KafkaException as error:
        sys.exit(f"producer: {error.args[0].str()}")


def main(
    pattern: Annotated[Pattern, typer.Option(help="The pattern of the records.")] = "steady",
    count: Annotated[int, typer.Option(min=0, help="Records to send; 0: until Ctrl-C.")] = 3_000_000,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Records a second; by default as fast as possible.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of random patterns; the same seed sends the same records.")] = 0,
    start: Annotated[int | None, typer.Option(min=0, help="Time of the first event in ms; by default, all are past.")] = None,
    displacement: Annotated[int, typer.Option(min=1, help="How many places `shuffled` moves a record at most.")] = 1_000,
    bootstrap: Annotated[str | None, typer.Option(help="HOST:PORT; by default the embedded broker that runs here.")] = None,
    topic: Annotated[str | None, typer.Option(help="The topic, created if absent; by default the pattern's own.")] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="Partitions of a topic that is created.")] = None,
    group: Annotated[str | None, typer.Option(help="The consumer group to wait for on the embedded broker.")] = None,
    size: Annotated[int, typer.Option(min=0, help="Numbers in each of the `segments`.")] = 100,
    delay: Annotated[int, typer.Option(min=0, help="Seconds by which late `uniques` are late at most.")] = 5,
    delay_probability: Annotated[float, typer.Option(min=0, max=1, help="The share of `uniques` that is late.")] = 0.001,
    recreate: Annotated[bool, typer.Option("--recreate", help="Delete the topic and create it again first.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the records, a line each, instead of sending them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    happening: Annotated[
        list[str] | None,
        typer.Option(help="VIEW=TOPIC: send records of things that happen now, until Ctrl-C. May be repeated."),
    ] = None,
) -> None:
    """Send records to Kafka in one of the patterns."""
    if happening:
        send_what_happens({topic: view for view, _, topic in (each.partition("=") for each in happening)}, bootstrap, seed)
        return
    console = Console(stderr=True)
    stop = interrupted()
    target = _TARGETS.get(pattern, Target())
    topic, partitions, group = topic or target.topic, partitions or target.partitions, group or f"firnline-{target.stream}"
    step_ms = STEP_MS.get(pattern, 10)
    by_default = target.start_ms or default_start(time.time_ns() // 10**6, count, rate, step_ms=step_ms)
    first = by_default if start is None else start
    spec = Spec(count or None, first, partitions, seed, displacement, size, delay, delay_probability)
    if stdout:
        write_lines(pattern, spec, rate, stop)
        return
    try:
        address, is_embedded = bootstrap_of(bootstrap)
        if recreate:
            delete(address, topic)
        found = prepare(address, topic, partitions, embedded=is_embedded)
        leash = Leash(address, topic, group) if is_embedded else None
        if leash is not None:
            leash.begin(found)
        sending = Sending(address, topic, rate=rate, leash=leash, stop=stop)
        spec = replace(spec, partitions=found)
        began = time.monotonic()
        columns = (TextColumn(pattern), BarColumn(), MofNCompleteColumn(), Rate())
        with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(pattern, total=count or None)
            for chunk in chunks(pattern, spec):
                sending.send(chunk, console, lambda sent: progress.update(task, completed=sent))
                if stop.is_set() or sending.failures.first:
                    break
            sending.finish()
    except ValueError as error:
        sys.exit(f"producer: {error}")
    except KafkaException as error:
        sys.exit(f"producer: {address}: {error.args[0].str()}")
    seconds = time.monotonic() - began
    done = sending.delivered
    if as_json:
        print(json.dumps({"records": done, "topic": topic, "bootstrap": address, "seconds": round(seconds, 3)}))
    else:
        print(f"{done:,} records to {topic} at {address} in {seconds:.1f} s, {done / max(seconds, 1e-9):,.0f} a second")
    if sending.failures.first:
        sys.exit(f"producer: {sending.failures.first}")
