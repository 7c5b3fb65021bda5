"""The meaning of the settings on this machine, in figures: memory, and how long it lasts for each stream."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from actors.sources.kafka.source import TUNING
from config.machine import memory_limit
from config.settings import Settings
from config.tokens import is_loopback, tokens
from scripts.brokers.settings import refused
from scripts.cli.configuration.doubts import (
    doubts_of_effects,
    doubts_of_folder,
    doubts_of_memory,
    doubts_of_streams,
    problems_of_broker,
    problems_of_machine,
)
from scripts.service.memory import Budget, budget_of
from scripts.service.schemas.found import schemas_of


@dataclass(frozen=True, slots=True)
class Holds:
    """The capacity of one stream's share of the memory: `count` of `what`, or `seconds` of a stream described by `of`.

    `room_bytes` is the share without the baseline. `bound_by` is a setting that limits the stream before memory does, or None.
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
    """The result of a check. `odd` lists settings that may be mistakes; `wrong` lists why the service cannot start."""

    limit_bytes: int
    limit_origin: str
    processors: int
    budget: Budget | None
    holds: tuple[Holds, ...]
    odd: tuple[str, ...]
    wrong: tuple[str, ...]


def check(settings: Settings, rate: float, environ: Mapping[str, str], *, connect: bool) -> Checked:
    """Check settings for streams of `rate` records a second each; with `connect`, ask the broker too, for up to 10 s."""
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
    rooms = {each.stream: each.room_bytes for each in holds}
    odd = [
        *doubts_of_memory(settings, budget, limit.bytes),
        *doubts_of_folder(settings),
        *doubts_of_streams(settings, rooms, rate),
        *doubts_of_effects(settings),
    ]
    wrong += problems_of_machine(settings)
    wrong += _library_problems(settings)
    if not is_loopback(settings.http.host):
        odd.append(f"http.host: {settings.http.host} is reached by other machines, with a token, unencrypted")
    if settings.log.traces is not None and find_spec("opentelemetry.sdk") is None:
        wrong.append("log.traces: expected packages that are not installed: pip install 'firnline[tracing]'")
    wrong += _schema_problems(settings)
    if connect:
        wrong += problems_of_broker(settings)
    return Checked(limit.bytes, limit.origin, os.cpu_count() or 1, budget, holds, tuple(odd), tuple(wrong))


def _library_problems(settings: Settings) -> Iterator[str]:
    """Yield why librdkafka refuses the settings with which the service makes its clients."""
    writes = any(stream.writable or stream.dead_letters or stream.output.topic for stream in settings.streams.values())
    for name, reason in refused({**TUNING, **settings.client}, writes=writes).items():
        yield f"kafka{'.' if name else ''}{name}: {reason}"


def _schema_problems(settings: Settings) -> Iterator[str]:
    """Yield why records cannot be decoded by the schemas of the settings."""
    for name, stream in settings.streams.items():
        try:
            schemas_of(stream.form, name, lambda _: None)
        except ValueError as error:
            yield f"streams.{name}.{error}"


def _holds(settings: Settings, budget: Budget, rate: float) -> Iterator[Holds]:
    """Yield the capacity of each stream."""
    streams = len(settings.streams)
    share = budget.total // streams
    room = share - budget.baseline // streams
    for name, stream in settings.streams.items():
        load = stream.load(rate)
        count, bound_by = room / load.nbytes, None
        if stream.max_aged is not None and stream.bound is not None and (stream.max_aged + 1) * stream.bound < count:
            count, bound_by = (stream.max_aged + 1) * stream.bound, f"max_aged ({stream.max_aged})"
        seconds = count / load.per_s
        if stream.max_age_ms is not None and stream.max_age_ms / 1000 < seconds:
            seconds, bound_by = stream.max_age_ms / 1000, f"max_age_ms ({stream.max_age_ms})"
            count = seconds * load.per_s
        yield Holds(name, stream.view, share, room, load.nbytes, load.noun, int(count), seconds, load.of, bound_by)
