"""Settings that are allowed but may be mistakes: each check yields one line a doubt, which begins with the setting's key."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from actors.reading.pace import Pace
from config.settings import Settings
from scripts.brokers.embedded import find_embedded
from scripts.service.memory import Budget

_BUFFER_EVENTS = Pace().buffer_events
_LARGE_COLLECTOR = 0.25
"""Part of a stream's memory above which one collector is large: it is dropped as a whole."""

_LARGE_BUDGET = 0.9
_TIGHT_BUDGET = 1.25
_SHORT_IDLE = 10
_BROKER_TIMEOUT_S = 10.0


def doubts_of_memory(settings: Settings, budget: Budget | None, limit: int) -> Iterator[str]:
    """Compare the budget with the memory limit and with the memory of an empty service."""
    asked = settings.memory.budget
    if not asked.share and asked.resolve(limit) > limit:
        yield f"memory.budget: {asked} is more than the limit of {limit >> 20} MiB, which is used instead"
    elif asked.resolve(limit) > _LARGE_BUDGET * limit:
        yield f"memory.budget: {asked} leaves less than a tenth of {limit >> 20} MiB to the rest of this machine or container"
    if budget is not None and budget.total < _TIGHT_BUDGET * budget.baseline:
        yield (
            f"memory.budget: {budget.total >> 20} MiB is tight: an empty service and replies need "
            f"{budget.baseline >> 20} MiB of it"
        )


def doubts_of_folder(settings: Settings) -> Iterator[str]:
    """Check that the data folder can be written, lasts, and has room."""
    folder = settings.data_dir
    if folder is None:
        yield "data_dir: null, so a restart reads every topic from its start, and records that Kafka has deleted are lost"
        return
    if settings.kafka["bootstrap.servers"] == "embedded":
        yield "kafka.bootstrap.servers: embedded, a broker to try Firnline: it keeps nothing over a restart"
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        yield f"data_dir: {folder} cannot be written: no permission to write in {parent}"
        return
    free = shutil.disk_usage(parent).free
    spill = settings.memory.spill_budget
    if spill is not None and spill.resolve(0) > free:
        yield f"memory.spill_budget: {spill} is more than the disk of data_dir has free ({free >> 20} MiB)"
    if free < 1 << 30:
        yield f"data_dir: its disk has {free >> 20} MiB free; if the disk is full, no new checkpoint is written"


def doubts_of_streams(settings: Settings, rooms: Mapping[str, int], rate: float) -> Iterator[str]:
    """Check each stream's times, sizes and outputs. `rooms` is the memory of each stream in bytes; empty if not computed."""
    files: dict[Path, str] = {}
    inputs = {stream.source.topic: name for name, stream in settings.streams.items() if stream.source.topic}
    for name, stream in settings.streams.items():
        key = f"streams.{name}"
        if stream.idle_ms * _SHORT_IDLE < stream.lateness_ms:
            yield (
                f"{key}.idle_ms: {stream.idle_ms} is much less than lateness_ms ({stream.lateness_ms}): a pause that short "
                "releases events that wait for late ones"
            )
        if stream.ordered and (held := rate * stream.lateness_ms / 1000) > _BUFFER_EVENTS:
            yield (
                f"{key}.lateness_ms: {stream.lateness_ms} holds {held:,.0f} events at {rate:,.0f} a second, but at most "
                f"{_BUFFER_EVENTS:,} may wait: the earliest are released sooner"
            )
        load = stream.load(rate)
        size = (stream.bound or 0) * load.nbytes
        if name in rooms and size > _LARGE_COLLECTOR * rooms[name]:
            yield (
                f"{key}: a collector retires at {stream.bound:,} {load.noun}, about {size / 2**20:,.0f} MiB of the "
                f"{rooms[name] >> 20} MiB for this stream, and is dropped as a whole"
            )
        if stream.output.topic is not None and stream.output.topic in inputs:
            yield f"{key}.output.topic: {stream.output.topic} is the source of {inputs[stream.output.topic]}"
        if stream.output.file is not None:
            path = stream.output.file.absolute()
            if path in files:
                yield f"{key}.output.file: {stream.output.file} is written by {files[path]} too"
            files[path] = name


def doubts_of_broker(settings: Settings) -> Iterator[str]:
    """Ask the broker for the topics of all sources; topics that a stream creates itself are left out."""
    wanted = {stream.source.topic: name for name, stream in settings.streams.items() if stream.source.topic}
    if not wanted:
        return
    kafka: dict[str, Any] = dict(settings.kafka)
    if kafka["bootstrap.servers"] == "embedded":
        found = find_embedded()
        if found is None:
            yield "kafka.bootstrap.servers: no embedded broker runs now; the service starts one"
            return
        kafka["bootstrap.servers"] = found
    try:
        topics = AdminClient({**kafka, "log_level": 0}).list_topics(timeout=_BROKER_TIMEOUT_S).topics
    except KafkaException as error:
        yield f"kafka.bootstrap.servers: {kafka['bootstrap.servers']} does not answer: {error.args[0].str()}"
        return
    for topic, name in wanted.items():
        if topic not in topics and settings.streams[name].source.partitions is None:
            yield f"streams.{name}.source.topic: {topic} does not exist; the stream waits for it"
