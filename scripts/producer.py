"""Send events to Kafka: the patterns of the exercise, at any rate, to any broker.

On the embedded broker, which forgets what is not read in time, it never gets far ahead of the service.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import compress
from typing import Annotated, Any

import numpy as np
import typer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from scripts.broker import find_embedded
from scripts.patterns import chunks
from scripts.spec import Chunk, Spec

_AHEAD = 20_000
"""Records that a partition of the embedded broker may hold unread; it forgets from 100,000 or 5 MiB on."""

_LOOK_S = 0.05
_SLICE_S = 0.05
_MOST_AT_ONCE = 10_000
_MOST_ON_LEASH = 2_000
_SILENT_S = 1.0


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


class Interrupted:
    """Becomes true at the first SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def __bool__(self) -> bool:
        """Whether a signal came."""
        return self._asked


class Failures:
    """Counts records that the broker did not take, and keeps the first reason."""

    def __init__(self) -> None:
        self.count = 0
        self.first: str | None = None

    def __call__(self, error: Any, _: Any) -> None:
        """Take one report of librdkafka, which reports failures alone."""
        self.count += 1
        self.first = self.first or error.str()


class Leash:
    """Holds a producer back while the readers of the embedded broker, `group`, are far behind it."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._reader = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        self._topic = topic
        self._sent: Counter[int] = Counter()
        self._committed: dict[int, int] = {}
        self._looked_at = 0.0

    def sent(self, partitions: list[int]) -> None:
        """Take note of records that were sent."""
        self._sent.update(partitions)

    def taut(self) -> bool:
        """Whether a slice more could leave some partition with more unread records than it safely holds."""
        if not self._sent or time.monotonic() - self._looked_at < _LOOK_S:
            return self._ahead() > _AHEAD - _MOST_ON_LEASH
        self._looked_at = time.monotonic()
        self._committed = {
            place.partition: max(0, place.offset)
            for place in self._reader.committed([TopicPartition(self._topic, number) for number in self._sent], timeout=5)
        }
        return self._ahead() > _AHEAD - _MOST_ON_LEASH

    def begin(self, partitions: int) -> None:
        """Take note of what the partitions hold already."""
        for number in range(partitions):
            end = self._reader.get_watermark_offsets(TopicPartition(self._topic, number), timeout=5)[1]
            self._sent[number] = end

    def _ahead(self) -> int:
        return max((count - self._committed.get(number, 0) for number, count in self._sent.items()), default=0)


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


class Sending:
    """Sends chunks at a rate, and counts them."""

    def __init__(self, bootstrap: str, topic: str, *, rate: float | None, leash: Leash | None, stop: Interrupted) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "message.max.bytes": 8 << 20,
                "queue.buffering.max.messages": 500_000,
                "queue.buffering.max.kbytes": 512 << 10,
                "enable.idempotence": leash is None,
                "delivery.report.only.error": True,
                "message.timeout.ms": 30_000,
                "log_level": 3,
            }
        )
        self._topic = topic
        self._rate = rate
        self._leash = leash
        self._stop = stop
        self._began = time.monotonic()
        self._waited = False
        self.sent = 0
        self.failures = Failures()

    def send(self, chunk: Chunk, console: Console, on_progress: Callable[[int], None]) -> None:
        """Send a chunk, in slices that the rate and the leash allow; ends early where it is interrupted or fails.

        After each slice `on_progress` gets the number of records sent so far.
        """
        size = _MOST_AT_ONCE if self._leash is None else _MOST_ON_LEASH
        if self._rate is not None:
            size = max(1, min(size, int(self._rate * _SLICE_S)))
        for low in range(0, len(chunk.values), size):
            self._await_turn(console)
            if self._stop or self.failures.first:
                return
            self._slice(chunk.values[low : low + size], chunk.partitions[low : low + size])
            on_progress(self.sent)

    def finish(self) -> None:
        """Wait for the broker's word on all that was sent; after a failure, what is still queued here is given up."""
        while len(self._producer) and self.failures.first is None:
            self._producer.flush(0.5)
        if self.failures.first:
            self._producer.purge(in_flight=False)
            self._producer.flush(10)

    @property
    def delivered(self) -> int:
        """Records that the broker has acknowledged; exact once finished."""
        return self.sent - len(self._producer) - self.failures.count

    def _await_turn(self, console: Console) -> None:
        if self._rate is not None:
            due = self._began + self.sent / self._rate
            while not self._stop and (remaining := due - time.monotonic()) > 0:
                self._producer.poll(min(remaining, 0.1))
        since = time.monotonic()
        while self._leash is not None and not self._stop and not self.failures.first and self._leash.taut():
            if not self._waited and time.monotonic() - since > _SILENT_S:
                self._waited = True
                console.print("waiting for the service to read what is there", style="dim")
            self._producer.poll(_LOOK_S)

    def _slice(self, values: list[bytes], partitions: list[int]) -> None:
        # The library heeds the partition of a batch, and not that of a record in it.
        places = np.array(partitions)
        for number in set(partitions):
            self._to_partition(number, [{"value": value} for value in compress(values, (places == number).tolist())])
        if self._leash is not None:
            self._leash.sent(partitions)

    def _to_partition(self, number: int, records: list[dict[str, Any]]) -> None:
        """Hand records over to librdkafka; what its queue has no room for is tried again, and no other refusal is."""
        while records and not self.failures.first and not self._stop:
            taken = self._producer.produce_batch(self._topic, records, partition=number, on_delivery=self.failures)
            self.sent += taken
            refused = (
                [(record, record.pop("_error")) for record in records if "_error" in record] if taken < len(records) else []
            )
            for _, error in refused:
                if error.code() != KafkaError._QUEUE_FULL:  # noqa: SLF001  # its public name
                    self.failures.first = error.str()
            records = [record for record, _ in refused]
            self._producer.poll(0.05 if records else 0)


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


def speak(pattern: str, spec: Spec, rate: float | None, stop: Interrupted) -> None:
    """Print records, a line each, at a rate; ends early where it is interrupted, or nobody reads on."""
    began, printed = time.monotonic(), 0
    size = _MOST_AT_ONCE if rate is None else max(1, min(_MOST_AT_ONCE, int(rate * _SLICE_S)))
    try:
        for chunk in chunks(pattern, spec):
            for low in range(0, len(chunk.values), size):
                while rate is not None and not stop and (remaining := began + printed / rate - time.monotonic()) > 0:
                    time.sleep(min(remaining, 0.1))
                if stop:
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
    """Send records in one of the patterns: of the exercise, or of one of the other views."""
    console = Console(stderr=True)
    stop = Interrupted()
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
                if stop or sending.failures.first:
                    break
            sending.finish()
    except (ValueError, KafkaException) as error:
        reason = error.args[0] if isinstance(error, KafkaException) else error
        sys.exit(f"producer: {reason.str() if hasattr(reason, 'str') else reason}")
    seconds = time.monotonic() - began
    done = sending.delivered
    if as_json:
        print(json.dumps({"records": done, "topic": topic, "bootstrap": address, "seconds": round(seconds, 3)}))
    else:
        print(f"{done:,} records to {topic} at {address} in {seconds:.1f} s, {done / max(seconds, 1e-9):,.0f} a second")
    if sending.failures.first:
        sys.exit(f"producer: {sending.failures.first}")


if __name__ == "__main__":
    typer.run(main)
