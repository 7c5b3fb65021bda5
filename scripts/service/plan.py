"""The plan of a stream: its stanza turned into the view, source, sinks, memory and store that its actors need."""

from collections.abc import Mapping
from typing import Any

from actors.durability.spool import Spool
from actors.reading.pace import Pace
from actors.records.encoding import Encoding
from actors.records.form import Form, TimeAt
from actors.sinks.kafka.transaction import longest_s
from actors.sources.source import Source
from actors.stream import StreamPlan
from actors.timeline.horizon import Ahead
from actors.timeline.unit import TimeUnit
from actors.views.kinds import VIEWS
from actors.views.view import View
from config.machine import MemoryMeter
from config.records import Record, TimeField
from config.settings import Settings
from config.streams import Stream
from config.units import NANOSECONDS, in_unit
from scripts.service.keeping import Keeping
from scripts.service.memory import Budget, StreamMeter
from scripts.service.parts import Complaints, Ownership, dead_letters, reader, sinks, writer
from scripts.service.schemas.found import encoding_of, schemas_of, with_schemas


def plan(
    name: str,
    stream: Stream,
    kafka: Mapping[str, Any],
    budget: Budget,
    settings: Settings,
    keeping: Keeping,
    *,
    once: bool,
    force: bool,
    complain: Complaints,
    source: Source | None = None,
) -> StreamPlan:
    """Return the plan of stream `name`. Raises ValueError for settings that librdkafka refuses, and as `schemas_of`.

    A `source` replaces that of the stanza.

    With `force`, the stream begins although its topic has results that its checkpoints do not have.
    """
    streams = len(settings.streams)
    meter = MemoryMeter()
    unit = TimeUnit(stream.unit if stream.unit_given else None, strict=stream.most_ahead_ms is not None)
    store = keeping.store_of(name, stream)
    for other in keeping.forsaken(name, store):
        complain(
            f"settings that change the meaning of answers have changed: the state in {other} is kept, and not read: go back to "
            "these settings, or delete the folder"
        )
    every_s = keeping.when.every_ms / 1000
    if stream.output.topic is not None and store.lasting and every_s > longest_s(kafka):
        every_s = longest_s(kafka)
        complain(f"a checkpoint is written every {every_s:.0f} s, because Kafka ends each transaction soon after that")
    schemas = schemas_of(stream.form, name, complain)
    if source is None:
        source = reader(name, stream.source, kafka, how=settings.reader, once=once, complain=complain)
    return StreamPlan(
        name=name,
        view=view_of(stream, encoding_of(schemas)),
        source=with_schemas(source, schemas, stream.form),
        lateness=in_unit(stream.lateness_ms, stream.unit),
        idle_s=stream.idle_ms / 1000,
        ahead=ahead_of(stream, once=once),
        unit=unit,
        meter=StreamMeter(
            settings.memory.budget,
            settings.memory.spill_budget if store.lasting else None,
            meter,
            streams,
            stream.max_aged,
            max_age_of(stream),
            meter.resident().mapped,
            complain,
            unit,
        ),
        baseline_bytes=budget.baseline // streams,
        streams=streams,
        sinks=sinks(
            stream.output,
            kafka,
            Ownership(keeping.owner_of(name), store.folder.name, every_s, force=force),
            complain,
        ),
        dead_letters=dead_letters(stream, kafka, complain),
        store=store,
        pace=Pace(checkpoint_s=every_s, checkpoint_events=keeping.when.events),
        connect=(lambda: writer(stream.source, kafka)) if stream.writable and stream.source.topic is not None else None,
    )


def ahead_of(stream: Stream, *, once: bool) -> Ahead:
    """Return the policy for events ahead of the clock. With `once`, a pipe and a command end as a file does."""
    most_ms = stream.most_ahead_ms
    limit = None if most_ms is None else in_unit(most_ms, stream.unit)
    return Ahead(limit, per_s=NANOSECONDS["s"] // NANOSECONDS[stream.unit], waits=stream.waits_for_clock(once=once))


def max_age_of(stream: Stream) -> int | None:
    """Return the most event time to keep, in the unit of the settings; None if memory alone decides."""
    return None if stream.max_age_ms is None else in_unit(stream.max_age_ms, stream.unit)


def view_of(stream: Stream, encoding: Encoding | None) -> View:
    """Make the view of a stanza whose records have this `encoding`. A view that spills gets a spool in `spill_dir`."""
    arguments = stream.view_arguments()
    if "spill_dir" in arguments:
        arguments["spool"] = Spool(arguments.pop("spill_dir"))
    if stream.form is not None:
        arguments["record"] = form_of(stream.form, stream.unit, encoding)
    view: View = VIEWS[stream.view](**arguments)
    return view


def form_of(record: Record, unit: str, encoding: Encoding | None) -> Form:
    """Return the form of records whose times are to be in `unit`."""
    time = record.time_field
    at = TimeAt(time.field, time.unit) if isinstance(time, TimeField) else TimeAt(None) if time is not None else None
    return Form(record.members(), at, unit, record.names(), encoding)
