"""What the configuration means: each stanza as the parts that its actors need, and the memory that they may use.

Used by the composition root. Opens no connection but librdkafka's own.
"""

import ctypes
import gc
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.durability.disk import LocalDisk
from actors.durability.spool import Spool
from actors.durability.store import Store
from actors.reading.pace import Pace
from actors.sinks.console import ConsoleSink
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.file import FileSink
from actors.sinks.kafka import KafkaSink
from actors.sinks.posting import KafkaWriter
from actors.sinks.sink import Sink
from actors.sources.command import CommandSource
from actors.sources.kafka import KafkaSource
from actors.sources.line_file import file_source
from actors.sources.lines import stdin_source
from actors.sources.source import Source as Reader
from actors.stream import StreamPlan
from actors.timeline.retention import Limits
from actors.views.kinds import VIEWS
from actors.views.view import View
from config.machine import MemoryMeter
from config.settings import Budget as BudgetSetting
from config.settings import (
    Checkpoints,
    Output,
    SegmentsStream,
    SetsStream,
    Settings,
    Source,
    Stream,
    TopStream,
    UniquesStream,
    WordsStream,
)
from scripts.checkout import own_command

_RESERVE_BYTES = 34 << 20
"""What the process needs beside its slices once events flow: librdkafka's queues, polls under way, replies."""

_TOPIC_BYTES = 12 << 20
"""What every topic after the first one adds to that."""

_LEAST_FOR_REPLIES = 8 << 20
_LEAST_FOR_EVENTS = 8 << 20
_QUIET_S = 30.0
_UNITS = {"s": 1_000, "ms": 1, "us": 1_000, "ns": 1_000_000}
_POST_TIMEOUT_S = 5.0


def in_unit(milliseconds: int, unit: str) -> int:
    """Return `milliseconds` in a stream's time unit; seconds are rounded up.

    >>> in_unit(500, "s"), in_unit(500, "us")
    (1, 500000)
    """
    return -(-milliseconds // _UNITS[unit]) if unit == "s" else milliseconds * _UNITS[unit]


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that the process may use, and those of them that it needs before any event; replies may take `replies` of these."""

    total: int
    baseline: int
    replies: int


@dataclass(frozen=True, slots=True)
class StreamMeter:
    """One of `streams` streams' share of the budget, measured anew whenever it is looked at."""

    budget: BudgetSetting
    spill: BudgetSetting | None
    meter: MemoryMeter
    streams: int
    max_aged: int | None
    max_age: int | None
    mapped_at_start: int

    def limits(self) -> Limits:
        """Return the stream's share."""
        spill = self.spill.resolve(0) // self.streams if self.spill is not None else 0
        return Limits(self.budget_bytes() // self.streams, self.max_aged, self.max_age, spill)

    def budget_bytes(self) -> int:
        """Return the budget of the process."""
        return _allowed(self.budget, self.meter.limit().bytes)

    def resident_bytes(self) -> int:
        """Return what the process holds; of mapped files, as much as at the start, as the system takes back the others."""
        resident = self.meter.resident()
        return resident.held + min(resident.mapped, self.mapped_at_start)

    def trim(self) -> None:
        """Look for what nobody needs any more, and have the C library give back what is free. Cost: 20 to 40 ms."""
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        gc.collect()
        if trim is not None:
            trim(0)


def _allowed(budget: BudgetSetting, limit_bytes: int) -> int:
    """Return a budget in bytes, where the process may use `limit_bytes`."""
    return min(budget.resolve(limit_bytes), limit_bytes)


def budget_of(settings: Settings, before: Budget | None = None) -> Budget:
    """Resolve the memory budget on this machine, anew where the process has events already: as it was `before` without them.

    Raises ValueError where it is too small to hold anything.
    """
    meter = MemoryMeter()
    limit = meter.limit()
    total = _allowed(settings.memory.budget, limit.bytes)
    topics = sum(stream.source.topic is not None for stream in settings.streams.values())
    replies = max(_LEAST_FOR_REPLIES, total // 16)
    empty = meter.resident().total + _RESERVE_BYTES + _TOPIC_BYTES * max(0, topics - 1)
    baseline = (empty if before is None else before.baseline - before.replies) + replies
    least = baseline + _LEAST_FOR_EVENTS * len(settings.streams)
    if total < least:
        raise ValueError(
            f"memory.budget: expected at least {least >> 20} MiB, which an empty service needs, "
            f"got {total >> 20} MiB ({limit.origin}: {limit.bytes >> 20} MiB)"
        )
    return Budget(total, baseline, replies)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where the state of streams is kept, and when it is written. `name` is the folder's own, for what must be its alone."""

    folder: Path
    name: str
    when: Checkpoints

    def store_of(self, stream: str, stanza: Stream) -> Store:
        """Return the files of a stream. Where its meaning changes they are others, and the old ones stay as they are."""
        meaning = json.dumps(stanza.meaning(), sort_keys=True).encode()
        return Store(self.folder / f"{stream}-{hashlib.sha256(meaning).hexdigest()[:8]}", LocalDisk())

    def others_of(self, stream: str, store: Store) -> list[Path]:
        """Return what was kept of a stream when it meant something else."""
        return [path for path in sorted(self.folder.glob(f"{stream}-????????")) if path != store.folder]


class Complaints:
    """Tells `log` what goes wrong on one stream, each text at most once in `_QUIET_S` seconds."""

    def __init__(self, stream: str, log: Callable[..., object]) -> None:
        self._stream = stream
        self._log = log
        self._told: dict[str, float] = {}

    def __call__(self, text: str) -> None:
        """Tell `text`, unless it was told just now."""
        now = time.monotonic()
        self._told = {known: at for known, at in self._told.items() if now - at < _QUIET_S}
        if text not in self._told:
            self._told[text] = now
            self._log("trouble", stream=self._stream, problem=text)

    def hear(self, line: str) -> None:
        """Tell a line that a command wrote to its standard error."""
        self._log("command says", stream=self._stream, line=line)


def plan(
    name: str,
    stream: Stream,
    kafka: Mapping[str, Any],
    budget: Budget,
    settings: Settings,
    keeping: Keeping | None,
    *,
    once: bool,
    complain: Complaints,
) -> StreamPlan:
    """Turn one stanza of the configuration into what its actors need. Raises ValueError for settings librdkafka refuses."""
    unit = stream.time_unit if isinstance(stream, SetsStream) else "ms"
    writable = isinstance(stream, TopStream) and stream.source.topic is not None
    streams = len(settings.streams)
    meter = MemoryMeter()
    store = pace = None
    if keeping is not None:
        store = keeping.store_of(name, stream)
        pace = Pace(checkpoint_s=keeping.when.every_ms / 1000, checkpoint_events=keeping.when.events)
        for other in keeping.others_of(name, store):
            complain(f"the settings have changed their meaning: what was kept before stays in {other}, and is not read")
    owner = f"firnline-{keeping.name}-{name}" if keeping is not None else None
    return StreamPlan(
        name=name,
        view=view_of(stream),
        source=reader(name, stream.source, kafka, once=once, complain=complain),
        lateness=in_unit(stream.lateness_ms, unit),
        idle_s=stream.idle_ms / 1000,
        meter=StreamMeter(
            settings.memory.budget,
            settings.memory.spill_budget if keeping is not None else None,
            meter,
            streams,
            stream.max_aged,
            max_age_of(stream),
            meter.resident().mapped,
        ),
        baseline_bytes=budget.baseline // streams,
        streams=streams,
        sinks=sinks(stream.output, kafka, owner, complain),
        dead_letters=dead_letters(stream, kafka, complain),
        store=store,
        pace=pace or Pace(),
        connect=(lambda: writer(stream.source, kafka)) if writable else None,
    )


def max_age_of(stream: Stream) -> int | None:
    """Return how much event time is kept at most, in the stream's unit; None where memory decides."""
    unit = stream.time_unit if isinstance(stream, SetsStream) else "ms"
    return None if stream.max_age_ms is None else in_unit(stream.max_age_ms, unit)


def view_of(stream: Stream) -> View:
    """Make the view of a stanza."""
    match stream:
        case SetsStream():
            view = VIEWS["sets"](steps=stream.steps, max_sets=stream.max_sets)
        case TopStream():
            view = VIEWS["top"]()
        case SegmentsStream():
            view = VIEWS["segments"](
                segments=stream.segments,
                max_batches=stream.max_batches,
                spill_bytes=stream.spill_bytes,
                spool=Spool(stream.spill_dir),
            )
        case UniquesStream():
            view = VIEWS["uniques"](
                zone=stream.zone, max_cells=stream.max_cells, max_hashes=stream.max_hashes, exact_users=stream.exact_users
            )
        case WordsStream():
            view = VIEWS["words"](max_pairs=stream.max_pairs, max_names=stream.max_names)
    made: View = view
    return made


def reader(name: str, source: Source, kafka: Mapping[str, Any], *, once: bool, complain: Complaints) -> Reader:
    """Make the source of a stanza."""
    if source.file is not None:
        if once and not source.file.is_file():
            raise ValueError(f"{source.file}: expected a file to read, got nothing that is one")
        return file_source(source.file, on_error=complain)
    if source.stdin:
        return stdin_source(on_error=complain)
    if source.command is not None:
        first, *words = shlex.split(source.command)
        command = {"python": [sys.executable], "firnline": own_command()}.get(first, [first]) + words
        return CommandSource(command, once=once, on_line=complain.hear, on_error=complain)
    settings = {"group.id": f"firnline-{name}", **kafka}
    return KafkaSource(settings, str(source.topic), start=source.start, partitions=source.partitions, on_error=complain)


def writer(source: Source, kafka: Mapping[str, Any]) -> KafkaWriter:
    """Make the client that writes to a stanza's own topic."""
    return KafkaWriter(kafka, str(source.topic), partitions=source.partitions, timeout_s=_POST_TIMEOUT_S)


def source_name(source: Source, kafka: Mapping[str, Any]) -> str:
    """Return what people know a source by."""
    if source.topic is not None:
        return f"topic {source.topic} at {kafka.get('bootstrap.servers')}"
    return str(source.file or source.command or "standard input")


def dead_letters(stream: Stream, kafka: Mapping[str, Any], complain: Complaints) -> DeadLetterSink | None:
    """Make the sink of a stanza's dead letters, where it wants any."""
    if stream.dead_letters is None:
        return None
    return DeadLetterSink(kafka, stream.dead_letters, origin=str(stream.source.topic or ""), on_error=complain)


def sinks(output: Output, kafka: Mapping[str, Any], owner: str | None, complain: Complaints) -> list[Sink]:
    """Make the sinks of a stanza; `owner` is whose the transactions are, None where there are none."""
    made: list[Sink] = []
    if output.console:
        made.append(ConsoleSink(on_error=complain))
    if output.file is not None:
        made.append(FileSink(output.file, max_bytes=output.max_file_bytes, on_error=complain))
    if output.topic is not None:
        made.append(KafkaSink(kafka, output.topic, transactional_id=owner, on_error=complain))
    return made
