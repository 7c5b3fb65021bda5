"""What the configuration means: each stanza as the parts that its actors need, and the memory that they may use.

Used by the composition root. Opens no connection but librdkafka's own.
"""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from actors.command import CommandSource
from actors.lines import file_source, stdin_source
from actors.sink import ConsoleSink, FileSink, KafkaSink, KafkaWriter, Sink
from actors.source import KafkaSource
from actors.source import Source as Reader
from actors.spool import Spool
from actors.stream import StreamPlan
from actors.timeline.retention import Limits
from actors.views import VIEWS
from actors.views.view import View
from config.machine import memory_limit
from config.settings import (
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

_RESERVE_BYTES = 24 << 20
"""What the process needs beside its slices once events flow: librdkafka's queues, polls under way, replies."""

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
    name: str, stream: Stream, kafka: Mapping[str, Any], budget: Budget, streams: int, *, once: bool, complain: Complaints
) -> StreamPlan:
    """Turn one stanza of the configuration into what its actors need. Raises ValueError for settings librdkafka refuses."""
    share = Budget(budget.total // streams, budget.baseline // streams)
    unit = stream.time_unit if isinstance(stream, SetsStream) else "ms"
    max_age = None if stream.max_age_ms is None else in_unit(stream.max_age_ms, unit)
    writable = isinstance(stream, TopStream) and stream.source.topic is not None
    return StreamPlan(
        name=name,
        view=view_of(stream),
        source=reader(name, stream.source, kafka, once=once, complain=complain),
        lateness=in_unit(stream.lateness_ms, unit),
        idle_s=stream.idle_ms / 1000,
        limits=Limits(share.total, stream.max_aged, max_age),
        baseline_bytes=share.baseline,
        rss=resident_bytes,
        sinks=sinks(stream.output, kafka, complain),
        connect=(lambda: writer(stream.source, kafka)) if writable else None,
    )


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
        words = shlex.split(source.command)
        command = [sys.executable if word == "python" else word for word in words[:1]] + words[1:]
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


def sinks(output: Output, kafka: Mapping[str, Any], complain: Complaints) -> list[Sink]:
    """Make the sinks of a stanza."""
    made: list[Sink] = []
    if output.console:
        made.append(ConsoleSink(on_error=complain))
    if output.file is not None:
        made.append(FileSink(output.file, max_bytes=output.max_file_bytes))
    if output.topic is not None:
        made.append(KafkaSink(kafka, output.topic, on_error=complain))
    return made
