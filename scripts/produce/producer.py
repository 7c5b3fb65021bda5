"""Send events to Kafka: the patterns of the exercise, at any rate, to any broker.

On the embedded broker, which forgets what is not read in time, it never gets far ahead of the service.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from scripts.brokers.embedded import find_embedded
from scripts.brokers.process import interrupted
from scripts.produce.patterns import chunks
from scripts.produce.sending import Leash, Sending, at_once
from scripts.produce.spec import Spec


class Pattern(StrEnum):
    """What can be sent; each is made by the pattern of its name."""

    STEADY = "steady"
    BURST = "burst"
    OUT_OF_ORDER = "out-of-order"
    ONLY_RED = "only-red"
    SHUFFLED = "shuffled"
    JUNK = "junk"
    SCATTERED = "scattered"
    TOP = "top"
    SEGMENTS = "segments"
    UNIQUES = "uniques"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a pattern goes unless told otherwise: the topic, its partitions, the stream that reads it; and the first time."""

    topic: str = "events"
    partitions: int = 3
    stream: str = "events"
    start_ms: int | None = None


_TARGETS = {
    Pattern.TOP: Target("dataset", 10, "dataset"),
    Pattern.SEGMENTS: Target("segment-topic", 10, "segments"),
    Pattern.UNIQUES: Target("messages", 3, "uniques", 1_468_244_384_000),
    Pattern.WORDS: Target("words", 3, "words"),
}


class Rate(ProgressColumn):
    """Shows records a second; rich's own column shows them only where the end is not known."""

    def render(self, task: Task) -> Text:
        """Return the recent rate, and at the end that of the whole."""
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


def prepare(bootstrap: str, topic: str, partitions: int, *, embedded: bool) -> int:
    """Create the topic where it is absent; returns how many partitions it has.

    The embedded broker has no request for it, and makes a topic of its own size for a producer that asks about it.

    Raises KafkaException where the broker does not answer.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    known = admin.list_topics(timeout=10).topics.get(topic)
    if known is not None and known.partitions:
        return len(known.partitions)
    if not embedded:
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=10)
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
    """Return the broker to send to, and whether it is the embedded one.

    Raises ValueError where there is none.
    """
    named = given or os.environ.get("FIRNLINE_KAFKA__BOOTSTRAP_SERVERS")
    found = find_embedded()
    if named and named != "embedded":
        return named, named == found
    if found is None:
        raise ValueError(
            "no broker: start `python scripts/serve.py`, which brings the embedded one, or give --bootstrap HOST:PORT"
        )
    return found, True


def delete(bootstrap: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone. Raises KafkaException where that fails."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        admin.delete_topics([topic])[topic].result(timeout=10)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
    deadline = time.monotonic() + 10
    while topic in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.05)


def speak(pattern: str, spec: Spec, rate: float | None, stop: threading.Event) -> None:
    """Print records, a line each, at a rate; ends early where it is interrupted, or nobody reads on."""
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has nowhere to go


def main(
    pattern: Annotated[Pattern, typer.Option(help="What to send.")] = Pattern.STEADY,
    count: Annotated[int, typer.Option(min=0, help="Records to send; 0 goes on until Ctrl-C.")] = 3_000_000,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Records a second; without it, as fast as it goes.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same records.")] = 0,
    start: Annotated[int | None, typer.Option(min=0, help="Time of the first event in ms; without it, now.")] = None,
    displacement: Annotated[int, typer.Option(min=1, help="`shuffled` moves a record by at most so many places.")] = 1_000,
    bootstrap: Annotated[str | None, typer.Option(help="HOST:PORT; without it, the embedded broker that runs here.")] = None,
    topic: Annotated[str | None, typer.Option(help="The topic; created if absent. Without it, that of the pattern.")] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="Partitions of a topic that is created.")] = None,
    group: Annotated[str | None, typer.Option(help="The readers that the embedded broker must not outrun.")] = None,
    size: Annotated[int, typer.Option(min=0, help="`segments` have so many numbers.")] = 100,
    delay: Annotated[int, typer.Option(min=0, help="`uniques` that are late are so by up to so many seconds.")] = 5,
    delay_probability: Annotated[float, typer.Option(min=0, max=1, help="The share of `uniques` that is late.")] = 0.001,
    recreate: Annotated[bool, typer.Option("--recreate", help="Delete the topic first, and create it again.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the records, a line each, instead of sending them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was sent as JSON.")] = False,
) -> None:
    """Send records to Kafka in one of the patterns."""
    console = Console(stderr=True)
    stop = interrupted()
    target = _TARGETS.get(pattern, Target())
    topic, partitions, group = topic or target.topic, partitions or target.partitions, group or f"firnline-{target.stream}"
    first = start if start is not None else target.start_ms or time.time_ns() // 10**6
    spec = Spec(count or None, first, partitions, seed, displacement, size, delay, delay_probability)
    if stdout:
        speak(pattern.value, spec, rate, stop)
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
        columns = (TextColumn(pattern.value), BarColumn(), MofNCompleteColumn(), Rate())
        with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(pattern.value, total=count or None)
            for chunk in chunks(pattern.value, spec):
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
