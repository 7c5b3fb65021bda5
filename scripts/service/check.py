"""What the settings mean on this machine, in figures, and what is odd about them. For `firnline config check`.

Figures come from constants that were measured, each with its source, and from the machine itself.
"""

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from actors.reading.pace import Pace
from config.machine import memory_limit
from config.settings import SegmentsStream, SetsStream, Settings, Stream, UniquesStream, WordsStream
from config.tokens import is_loopback, tokens
from scripts.brokers.embedded import find_embedded
from scripts.service.plan import Budget, budget_of

_PACKING = 1.03
"""Bytes that a compressed column of times takes, of the entropy of its gaps. Measured: 1.010 to 1.025, for sets at random times
whose mean gap is 0.3, 3.6, 36, 1,000 and 100,000 units; `scripts/bench.py` measures 1.33 bytes a set at 3.6, as this says.
"""

_TOP_BYTES = 56
"""Beside its name, an id of a dataset: 92 bytes with a name of 36, in a table of 200,000 of `producer.py --pattern top`."""

_NAME_BYTES = 36
_USER_BYTES = 8.1
"""A user in a period: 585,222 of them took 4,727,144 bytes, with `producer.py --pattern uniques`."""

_PAIR_BYTES = 0.73
"""A count of a name in a second: 228,982 of them took 166,530 bytes, with `producer.py --pattern words`."""

_NAMES_A_SECOND = 100
_BATCH_BYTES = 3.7
"""A finished batch in the listing: 2,000 of them took 7,243 bytes, with `producer.py --pattern segments`."""

_LEVELS = 6
"""Periods that one frame is counted in: its minute, hour, day, week, month and year."""

_BUFFER_EVENTS = Pace().buffer_events
_MOST_OF_SHARE = 0.25
_MOST_OF_MACHINE = 0.9
_TIGHT = 1.25
_PAUSES = 10
_UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_BROKER_S = 10.0


@dataclass(frozen=True, slots=True)
class Holds:
    """What one stream's share of the memory holds: about so many of `what`, which is so many `seconds` of a stream like `of`.

    `bound_by` is what ends it before memory does, None where memory decides.
    """

    stream: str
    view: str
    share_bytes: int
    room_bytes: int
    bytes_each: float
    what: str
    count: int
    seconds: float
    of: str
    bound_by: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What the settings mean. `odd` is what may not be meant; `wrong` is what the service would end at."""

    limit_bytes: int
    limit_origin: str
    processors: int
    budget: Budget | None
    holds: tuple[Holds, ...]
    odd: tuple[str, ...]
    wrong: tuple[str, ...]


def check(settings: Settings, rate: float, environ: Mapping[str, str], *, connect: bool) -> Checked:
    """Say what `settings` mean for streams of `rate` records a second; with `connect`, ask the broker too, for up to 10 s."""
    limit, wrong = memory_limit(), []
    budget: Budget | None = None
    try:
        budget = budget_of(settings)
    except ValueError as error:
        wrong.append(str(error))
    try:
        tokens(settings.http, environ)
    except ValueError as error:
        wrong.append(str(error))
    holds = tuple(_holds(settings, budget, rate)) if budget is not None else ()
    odd = [*_odd_memory(settings, budget, limit.bytes), *_odd_folder(settings), *_odd_streams(settings, holds, rate)]
    if not is_loopback(settings.http.host):
        odd.append(f"http.host: {settings.http.host} is reached by other machines, with a token, unencrypted")
    if settings.log.traces is not None and find_spec("opentelemetry.sdk") is None:
        wrong.append("log.traces: expected the packages for it, which are not here: pip install 'firnline[tracing]'")
    if connect:
        odd += _asked(settings)
    return Checked(limit.bytes, limit.origin, os.cpu_count() or 1, budget, holds, tuple(odd), tuple(wrong))


def bytes_a_set(steps: int, sets_per_s: float, unit: str) -> float:
    """Return what a set of `steps` events at random times takes once it is compressed: the entropy of the gaps between them.

    The gaps of n times that fall anywhere are geometric; regular times take next to nothing.

    >>> round(bytes_a_set(3, 1_000_000 / 3_600, "ms"), 2)
    1.34
    """
    gap = 1 / (sets_per_s * _UNIT_S[unit])
    bits = (gap + 1) * math.log2(gap + 1) - gap * math.log2(gap)
    return _PACKING * steps * bits / 8


def _holds(settings: Settings, budget: Budget, rate: float) -> Iterator[Holds]:
    """Say of each stream what its share holds."""
    count = len(settings.streams)
    share = budget.total // count
    room = share - budget.baseline // count
    for name, stream in settings.streams.items():
        each, what, per_s, of = _kept(stream, rate)
        held, bound_by = room / each, None
        collector = _collector(stream)
        if stream.max_aged is not None and collector is not None and (stream.max_aged + 1) * collector < held:
            held, bound_by = (stream.max_aged + 1) * collector, f"max_aged ({stream.max_aged})"
        seconds = held / per_s
        if stream.max_age_ms is not None and stream.max_age_ms / 1000 < seconds:
            seconds, bound_by = stream.max_age_ms / 1000, f"max_age_ms ({stream.max_age_ms})"
            held = seconds * per_s
        yield Holds(name, stream.view, share, room, each, what, int(held), seconds, of, bound_by)


def _kept(stream: Stream, rate: float) -> tuple[float, str, float, str]:
    """Return the bytes of one thing that a stream keeps, what it is, how many a second come, and of what stream that is so."""
    match stream:
        case SetsStream():
            per_s = rate / len(stream.steps)
            each = bytes_a_set(len(stream.steps), per_s, stream.time_unit)
            return each, "sets", per_s, f"{rate:,.0f} events a second at random times"
        case UniquesStream():
            return _USER_BYTES, "users by period", rate * _LEVELS, f"{rate:,.0f} frames a second, each of another user"
        case WordsStream():
            return _PAIR_BYTES, "counts by second and name", _NAMES_A_SECOND, f"{_NAMES_A_SECOND} names each second"
        case SegmentsStream():
            per_s = rate / stream.segments
            return _BATCH_BYTES, "finished batches", per_s, f"{rate:,.0f} segments a second"
        case _:
            return _TOP_BYTES + _NAME_BYTES, f"ids of {_NAME_BYTES} letters", rate, f"{rate:,.0f} new ids a second"


def _collector(stream: Stream) -> int | None:
    """Return how many things a collector has when it retires; None where none retires."""
    match stream:
        case SetsStream():
            return stream.max_sets
        case UniquesStream():
            return stream.max_hashes
        case WordsStream():
            return stream.max_pairs
        case SegmentsStream():
            return stream.max_batches
        case _:
            return None


# What may not be meant -----------------------------------------------------------------------------------------------


def _odd_memory(settings: Settings, budget: Budget | None, limit: int) -> Iterator[str]:
    asked = settings.memory.budget
    if not asked.share and asked.resolve(limit) > limit:
        yield f"memory.budget: {asked} is more than there is ({limit >> 20} MiB), so it is that"
    elif asked.resolve(limit) > _MOST_OF_MACHINE * limit:
        yield f"memory.budget: {asked} leaves less than a tenth of {limit >> 20} MiB to the rest of this machine or container"
    if budget is not None and budget.total < _TIGHT * budget.baseline:
        yield (
            f"memory.budget: {budget.total >> 20} MiB is tight: {budget.baseline >> 20} MiB of it are needed before any event, "
            "and for replies"
        )


def _odd_folder(settings: Settings) -> Iterator[str]:
    folder = settings.data_dir
    if folder is None:
        yield "data_dir: null, so a restart begins at the start of every topic, and what Kafka has forgotten is gone"
        return
    if settings.kafka["bootstrap.servers"] == "embedded":
        yield "kafka.bootstrap.servers: embedded, a broker for trying out: with it nothing outlasts a restart"
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield f"data_dir: {folder} cannot be written: {there} is not ours to write in"
        return
    free = shutil.disk_usage(there).free
    spill = settings.memory.spill_budget
    if spill is not None and spill.resolve(0) > free:
        yield f"memory.spill_budget: {spill} is more than is free where data_dir lies ({free >> 20} MiB)"
    if free < 1 << 30:
        yield f"data_dir: {free >> 20} MiB are free where it lies; when it is full, the last checkpoint stays as it is"


def _odd_streams(settings: Settings, holds: tuple[Holds, ...], rate: float) -> Iterator[str]:
    rooms = {each.stream: each for each in holds}
    files: dict[Path, str] = {}
    read = {stream.source.topic: name for name, stream in settings.streams.items() if stream.source.topic}
    for name, stream in settings.streams.items():
        key = f"streams.{name}"
        if stream.idle_ms * _PAUSES < stream.lateness_ms:
            yield (
                f"{key}.idle_ms: {stream.idle_ms} is much less than lateness_ms ({stream.lateness_ms}): a pause that short "
                "releases what waits for late events"
            )
        if isinstance(stream, SetsStream) and (held := rate * stream.lateness_ms / 1000) > _BUFFER_EVENTS:
            yield (
                f"{key}.lateness_ms: {stream.lateness_ms} holds {held:,.0f} events at {rate:,.0f} a second, and no more than "
                f"{_BUFFER_EVENTS:,} may wait: the earliest go on sooner"
            )
        room, collector = rooms.get(name), _collector(stream)
        if room is not None and collector is not None and collector * room.bytes_each > _MOST_OF_SHARE * room.room_bytes:
            yield (
                f"{key}: a collector retires at {collector:,} {room.what}, some {collector * room.bytes_each / 2**20:,.0f} MiB"
                f": much of the {room.room_bytes >> 20} MiB that it has, and that goes at once"
            )
        if stream.output.topic is not None and stream.output.topic in read:
            yield f"{key}.output.topic: {stream.output.topic} is what {read[stream.output.topic]} reads"
        if stream.output.file is not None:
            path = stream.output.file.absolute()
            if path in files:
                yield f"{key}.output.file: {stream.output.file} is written by {files[path]} too"
            files[path] = name


# The broker ----------------------------------------------------------------------------------------------------------


def _asked(settings: Settings) -> Iterator[str]:
    """Ask the broker what is there; yields what is not. What a stream creates itself is nothing odd."""
    wanted = {stream.source.topic: name for name, stream in settings.streams.items() if stream.source.topic}
    if not wanted:
        return
    kafka: dict[str, Any] = dict(settings.kafka)
    if kafka["bootstrap.servers"] == "embedded":
        found = find_embedded()
        if found is None:
            yield "kafka.bootstrap.servers: no embedded broker runs now; the service brings one"
            return
        kafka["bootstrap.servers"] = found
    try:
        topics = AdminClient({**kafka, "log_level": 0}).list_topics(timeout=_BROKER_S).topics
    except KafkaException as error:
        yield f"kafka.bootstrap.servers: {kafka['bootstrap.servers']} does not answer: {error.args[0].str()}"
        return
    for topic, name in wanted.items():
        if topic not in topics and settings.streams[name].source.partitions is None:
            yield f"streams.{name}.source.topic: {topic} is not there; the stream waits for it"
