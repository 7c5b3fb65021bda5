"""The metrics of streams: a table with a row for each metric, which is read from the stats that the streams reply. Pure.

Labels are bounded: streams, shards, views, states, lanes and reasons are few and fixed, and only the first 256 partitions have
their own. Counters are of this process and only grow; gauges are of this moment. Units: seconds, bytes, and seconds since 1970.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric

from actors.replies import Durability, Stats, Troubled
from actors.timeline.unit import UNITS
from actors.views.view import Meta
from gateway.stream import Served

MOST_PARTITIONS = 256
"""Partitions with a label of their own. The others share the label `other`."""

GONE = ("memory", "max_aged", "max_age", "disk", "emergency", "unreadable")
"""The reasons why generations are dropped. Each has a value of 0 from the start, so that rates see the first drop."""

MISSED = ("deleted", "recreated", "shrank", "interrupted", "damaged", "unreadable")
"""The reasons why records are missing."""

TROUBLES: tuple[str, ...] = get_args(Troubled)

Rows = Iterable[tuple[Sequence[str], float]]
"""The labels' values beside the stream's, and the number."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A stream, and its stats of the time `at`; None if the stream did not reply in time.

    In a cluster, the stats of each `shard` of this process are a reading of their own.
    """

    stream: Served
    stats: Stats | None
    at: float
    shard: int | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of the labels that say what the stats are about."""
        return (self.stream.name,) if self.stream.shards is None else (self.stream.name, str(self.shard))

    def by_shard(self) -> "Sequence[Reading]":
        """Return a reading for each shard of this process, or this one if there is no cluster."""
        shards = self.stats.by_shard if self.stats is not None else None
        return [self] if shards is None else [Reading(self.stream, each, self.at, shard) for shard, each in shards.items()]


@dataclass(frozen=True, slots=True)
class _Of:
    """A metric of each stream that replies: its kind, name, help, labels beside `stream`, and the function that reads it."""

    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[Reading, Stats], Rows]


def _one(read: Callable[[Stats], float | None]) -> Callable[[Reading, Stats], Rows]:
    """Return a function that reads a number without further labels. None is left out."""
    return lambda _, stats: [((), value)] if (value := read(stats)) is not None else []


def _since(name: str) -> Callable[[Reading, Stats], Rows]:
    return _one(lambda stats: stats.since_start.get(name, 0))


def _by_reason(name: str, known: Sequence[str] = ()) -> Callable[[Reading, Stats], Rows]:
    def read(_: Reading, stats: Stats) -> Rows:
        counts = dict.fromkeys(known, 0)
        counts |= {key[len(name) + 1 :]: count for key, count in stats.since_start.items() if key.startswith(f"{name} ")}
        return [((reason,), count) for reason, count in counts.items()]

    return read


def _generations(measure: Callable[[Meta], float]) -> Callable[[Reading, Stats], Rows]:
    """Return a function that sums a figure of the generations by their state."""

    def read(_: Reading, stats: Stats) -> Rows:
        sums = {"active": measure(stats.active), "aged": 0.0, "spilled": 0.0}
        for meta in stats.aged:
            sums["spilled" if meta.file_bytes else "aged"] += measure(meta)
        return [((state,), value) for state, value in sums.items()]

    return read


def _durable(read: Callable[[Durability], float | None]) -> Callable[[Reading, Stats], Rows]:
    return _one(lambda stats: read(stats.durability) if stats.durability is not None else None)


def _checkpoint_age(reading: Reading, stats: Stats) -> Rows:
    at = stats.durability.at if stats.durability is not None else None
    return [((), max(0.0, reading.at - at))] if at is not None else []


def _lag(_: Reading, stats: Stats) -> Rows:
    lag = stats.progress.lag
    named = {str(number): waiting for number, waiting in lag.items() if number < MOST_PARTITIONS}
    others = [waiting for number, waiting in lag.items() if number >= MOST_PARTITIONS]
    return [((partition,), waiting) for partition, waiting in {**named, **({"other": sum(others)} if others else {})}.items()]


def _holding(_: Reading, stats: Stats) -> Rows:
    """Return 1 for the partition that holds the watermark back, and 0 for every other one."""
    slowest = stats.progress.held_back_by
    known = {*stats.progress.lag, *([slowest] if slowest is not None else [])}
    rows = {str(number) if number < MOST_PARTITIONS else "other": 0 for number in known}
    if slowest is not None:
        rows[str(slowest) if slowest < MOST_PARTITIONS else "other"] = 1
    return [((partition,), value) for partition, value in rows.items()]


def _troubles(_: Reading, stats: Stats) -> Rows:
    """Return 1 for the state of the trouble that keeps records away, and 0 for every other one."""
    trouble = stats.progress.trouble
    return [((state,), trouble is not None and trouble.state == state) for state in TROUBLES]


def _newest_age(reading: Reading, stats: Stats) -> Rows:
    at = stats.progress.last_record_at
    return [((), max(0.0, reading.at - at))] if at is not None else []


def _second(read: Callable[[Stats], int | None]) -> Callable[[Reading, Stats], Rows]:
    """Return a function that reads a time in seconds since 1970. Streams whose axis is not time have no such metric."""

    def rows(reading: Reading, stats: Stats) -> Rows:
        at, per_second = read(stats), UNITS.get(reading.stream.time_unit)
        return [((), at / per_second)] if at is not None and per_second is not None else []

    return rows


def _watermark_age(reading: Reading, stats: Stats) -> Rows:
    return [((), reading.at - at) for _, at in _second(lambda stats: stats.progress.watermark)(reading, stats)]


def _begin(stats: Stats) -> int | None:
    """Return the time from which answers are complete; if that is the beginning of the stream, the first time in memory."""
    if stats.coverage.complete_from is not None:
        return stats.coverage.complete_from
    return min((meta.span.start for meta in (*stats.aged, stats.active) if meta.span is not None), default=None)


def _covered(reading: Reading, stats: Stats) -> Rows:
    begin, end, per_second = _begin(stats), stats.coverage.complete_to, UNITS.get(reading.stream.time_unit)
    if per_second is None or begin is None or end is None:
        return []
    return [((), max(0, end - begin) / per_second)]


_C, _G = CounterMetricFamily, GaugeMetricFamily

OF_STREAMS: tuple[_Of, ...] = (
    _Of(_C, "firnline_records", "Records read.", (), _since("records")),
    _Of(_C, "firnline_events", "Events among the records read.", (), _since("events")),
    _Of(_C, "firnline_other_records", "Records whose step is not one of the names.", (), _since("other")),
    _Of(_C, "firnline_late_events", "Events that came after the watermark had passed them.", (), _since("late")),
    _Of(_C, "firnline_ahead_events", "Events that came more than max_ahead_ms before their time.", (), _since("ahead")),
    _Of(_C, "firnline_rejected_records", "Refused records, by reason.", ("reason",), _by_reason("rejects")),
    _Of(_C, "firnline_missed_records", "Records that never arrived, by reason.", ("reason",), _by_reason("missed", MISSED)),
    _Of(
        _C,
        "firnline_dropped_events",
        "Dropped events, by reason.",
        ("reason",),
        _by_reason("dropped", GONE),
    ),
    _Of(
        _C,
        "firnline_dropped_generations",
        "Dropped generations, by reason.",
        ("reason",),
        _by_reason("generations", GONE),
    ),
    _Of(_G, "firnline_generations", "Generations held, by state.", ("state",), _generations(lambda _: 1)),
    _Of(_G, "firnline_held_events", "Events held, by state.", ("state",), _generations(lambda meta: meta.events)),
    _Of(_G, "firnline_held_bytes", "Memory that generations take.", ("state",), _generations(lambda meta: meta.nbytes)),
    _Of(
        _G,
        "firnline_spilled_bytes",
        "Bytes of generations on the disk alone.",
        (),
        _one(lambda stats: sum(meta.file_bytes for meta in stats.aged)),
    ),
    _Of(
        _G,
        "firnline_memory_budget_bytes",
        "The memory budget of the stream.",
        (),
        _one(lambda stats: stats.memory.budget_bytes),
    ),
    _Of(
        _G,
        "firnline_memory_accounted_bytes",
        "Memory that counts against the budget.",
        (),
        _one(lambda stats: stats.memory.accounted_bytes),
    ),
    _Of(
        _C,
        "firnline_memory_emergencies",
        "Times that the resident set alone caused a drop.",
        (),
        _one(lambda stats: stats.memory.emergencies),
    ),
    _Of(_G, "firnline_lag_records", "Records in Kafka that are not read yet.", ("partition",), _lag),
    _Of(_G, "firnline_source_trouble", "1 for the reason why no records can be read.", ("state",), _troubles),
    _Of(_G, "firnline_newest_record_age_seconds", "Time since the newest record was read.", (), _newest_age),
    _Of(_G, "firnline_partitions", "Partitions read.", (), _one(lambda stats: len(stats.progress.lag))),
    _Of(
        _G,
        "firnline_watermark_timestamp_seconds",
        "Event time before which nothing more is expected.",
        (),
        _second(lambda stats: stats.progress.watermark),
    ),
    _Of(_G, "firnline_watermark_age_seconds", "How far the watermark is behind the clock.", (), _watermark_age),
    _Of(_G, "firnline_watermark_held_back", "1 for the partition that holds the watermark back.", ("partition",), _holding),
    _Of(
        _G,
        "firnline_open_transactions",
        "Partitions whose next records belong to an open transaction.",
        (),
        _one(lambda stats: len(stats.progress.transactions)),
    ),
    _Of(_G, "firnline_coverage_seconds", "Event time for which answers are complete.", (), _covered),
    _Of(
        _G,
        "firnline_missing_ranges",
        "Ranges of time that may lack events.",
        (),
        _one(lambda stats: len(stats.coverage.missing)),
    ),
    _Of(
        _G,
        "firnline_apart_events",
        "Events that are kept apart until their time comes.",
        (),
        _one(lambda stats: stats.progress.apart),
    ),
    _Of(
        _G,
        "firnline_buffered_events",
        "Events that wait for their turn in time.",
        (),
        _one(lambda stats: stats.progress.buffered),
    ),
    _Of(
        _G,
        "firnline_in_flight_events",
        "Events in flight to a collector.",
        (),
        _one(lambda stats: stats.progress.in_flight),
    ),
    _Of(
        _G,
        "firnline_credit_events",
        "Events in flight at which sending stops.",
        (),
        _one(lambda stats: stats.progress.credits),
    ),
    _Of(
        _G,
        "firnline_last_batch_timestamp_seconds",
        "Time of the last batch of events.",
        (),
        _one(lambda stats: stats.last_batch_at),
    ),
    _Of(_G, "firnline_starting", "1 while the checkpoint is being read.", (), _one(lambda stats: stats.starting)),
    _Of(
        _G,
        "firnline_checkpoint_timestamp_seconds",
        "When the newest checkpoint was saved.",
        (),
        _durable(lambda durability: durability.at),
    ),
    _Of(_G, "firnline_checkpoint_age_seconds", "Time since the newest checkpoint was saved.", (), _checkpoint_age),
    _Of(
        _G,
        "firnline_checkpoint_bytes",
        "Bytes of the newest checkpoint's own file.",
        (),
        _durable(lambda durability: durability.nbytes if durability.at is not None else None),
    ),
    _Of(
        _G,
        "firnline_checkpoint_last_duration_seconds",
        "Time that the newest checkpoint took to write.",
        (),
        _durable(lambda durability: durability.seconds if durability.at is not None else None),
    ),
    _Of(
        _C,
        "firnline_checkpoint_failures",
        "Checkpoints that could not be written.",
        (),
        _durable(lambda durability: durability.failures),
    ),
    _Of(
        _G,
        "firnline_checkpoints_failing",
        "Checkpoints that could not be written since the newest one.",
        (),
        _durable(lambda durability: durability.failed),
    ),
    _Of(
        _G,
        "firnline_checkpoint_copy_failing",
        "1 while the newest checkpoint is not in the checkpoint topic of a cluster.",
        (),
        _durable(lambda durability: durability.copy_problem is not None),
    ),
    _Of(
        _G,
        "firnline_output_waiting",
        "1 while results wait because they cannot be written.",
        (),
        _one(lambda stats: stats.output_problem is not None),
    ),
)


def of_streams(readings: Sequence[Reading]) -> Iterator[Metric]:
    """Yield a metric for each row of the table, and the metrics with other labels."""
    replied = [(each, each.stats) for reading in readings for each in reading.by_shard() if each.stats is not None]
    of = ("stream", "shard") if any(reading.stream.shards is not None for reading in readings) else ("stream",)
    info = GaugeMetricFamily("firnline_stream_info", "Always 1; the view of each stream.", labels=("stream", "view"))
    answers = GaugeMetricFamily("firnline_answers", "Whether the stream replied in time.", labels=("stream",))
    for reading in readings:
        info.add_metric((reading.stream.name, reading.stream.view), 1)
        answers.add_metric((reading.stream.name,), reading.stats is not None)
    yield from (info, answers)
    for each in OF_STREAMS:
        family = each.kind(each.name, each.help, labels=(*of, *each.labels))
        for reading, stats in replied:
            for labels, value in each.read(reading, stats):
                family.add_metric((*reading.labels, *labels), value)
        yield family
    took = SummaryMetricFamily("firnline_checkpoint_duration_seconds", "Time that checkpoints took.", labels=of)
    for reading, stats in replied:
        if stats.durability is not None:
            took.add_metric(reading.labels, stats.durability.saved, stats.durability.seconds_in_all)
    yield took
