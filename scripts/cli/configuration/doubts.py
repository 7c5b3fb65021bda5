"""Settings that are allowed but may be mistakes (doubts), and those with which the service cannot run here (problems).

Each check yields one line for each of them, which begins with the setting's key.
"""

import difflib
import os
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from actors.kafka_topic import client_settings
from actors.reading.pace import Pace
from config.settings import Settings
from scripts.brokers.embedded import LIMITS, find_embedded
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
    """Check that the data folder lasts, and has room."""
    folder = settings.data_dir
    if folder is None:
        yield "data_dir: null, so a restart reads every topic from its start, and records that Kafka has deleted are lost"
        return
    if settings.kafka["bootstrap.servers"] == "embedded":
        yield f"kafka.bootstrap.servers: embedded, a broker to try Firnline: {LIMITS}"
    parent = _nearest(folder)
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


def doubts_of_effects(settings: Settings) -> Iterator[str]:
    """Find settings that have no effect."""
    for name, stream in settings.streams.items():
        key, output, source = f"streams.{name}", stream.output, stream.source
        wanted = output.topic is not None or output.file is not None or output.console
        if wanted and not stream.publishes:
            yield f"{key}.output: no effect, because the view {stream.view} publishes nothing; ask over HTTP"
        if "max_file_bytes" in output.model_fields_set and output.file is None:
            yield f"{key}.output.max_file_bytes: no effect without output.file"
        for each in stream.idle:
            if each in stream.model_fields_set and getattr(stream, each) != type(stream).model_fields[each].default:
                yield f"{key}.{each}: no effect on the view {stream.view}"
        if source.topic is None and source.start == "latest":
            yield f"{key}.source.start: no effect without a topic"
        if source.command is not None and not _is_there(source.command):
            yield f"{key}.source.command: {shlex.split(source.command)[0]} is not a command here"
        if source.file is not None and not (source.file.is_file() and os.access(source.file, os.R_OK)):
            yield f"{key}.source.file: {source.file} is not a file that can be read; the stream waits for it"


def problems_of_machine(settings: Settings) -> Iterator[str]:
    """Find what the service cannot do on this machine: write its data folder, or listen at its address."""
    folder, host = settings.data_dir, settings.http.host
    parent = _nearest(folder) if folder is not None else None
    if parent is not None and not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        yield f"data_dir: {folder} cannot be written: no permission to write in {parent}"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError as error:
        yield f"http.host: {host} is not an address of this machine: {error.strerror}"


def problems_of_broker(settings: Settings) -> Iterator[str]:
    """Ask the broker for the topics of all sources; topics that a stream creates itself are left out."""
    wanted = {stream.source.topic: name for name, stream in settings.streams.items() if stream.source.topic}
    kafka: dict[str, Any] = dict(settings.client)
    if kafka["bootstrap.servers"] == "embedded":
        found = find_embedded()
        if found is None:
            return  # the service starts one, and its topics
        kafka["bootstrap.servers"] = found
    written = any(stream.output.topic or stream.dead_letters for stream in settings.streams.values())
    if not wanted and not written:
        return
    reasons: list[str] = []
    more: dict[str, Any] = {"error_cb": lambda error: reasons.append(error.str())}
    admin = AdminClient({**client_settings(kafka), **more})
    try:
        topics = admin.list_topics(timeout=_BROKER_TIMEOUT_S).topics
    except KafkaException as error:
        admin.poll(0)
        reason = next(iter(reasons), error.args[0].str())
        yield f"kafka.bootstrap.servers: {kafka['bootstrap.servers']} does not answer: {reason}"
        return
    for topic, name in wanted.items():
        if topic not in topics and settings.streams[name].source.partitions is None:
            near = difflib.get_close_matches(topic, topics, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"streams.{name}.source.topic: {topic} does not exist; the stream waits for it{hint}"


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _is_there(command: str) -> bool:
    word = shlex.split(command)[0]
    return word in {"python", "firnline"} or shutil.which(word) is not None
