"""The stanza of a stream: one class a view, with its settings and with every fact about the view that other rooms need.

A new view needs one class here. The service and the commands ask the class; none of them compares names of views.
"""

import math
import re
import shlex
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Discriminator, Field, StrictBool, Tag, model_validator

from config.fields import TOPIC, Model, Whole
from config.records import (
    KAFKA,
    SCHEMA_SETTINGS,
    FunnelRecord,
    Record,
    SegmentsRecord,
    SetsRecord,
    TopRecord,
    UniquesRecord,
    WordsRecord,
)
from config.units import NANOSECONDS, TimeUnit, duration_ms, in_unit

_PACKING = 1.03
"""Bytes of a compressed column of times, divided by the entropy of its gaps. Measured: 1.010 to 1.025, for sets at random times
with a mean gap of 0.3, 3.6, 36, 1,000 and 100,000 units; `scripts/bench.py` measures 1.33 bytes a set at a gap of 3.6.
"""
_HOUR_MS = 3_600_000
_NAMES_A_SECOND = 100


def _is_command(text: str) -> bool:
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


class Source(Model):
    """Where a stream's records come from: one of topic, file, stdin and command."""

    topic: str | None = Field(None, pattern=TOPIC, description="A Kafka topic.")
    start: Literal["earliest", "latest"] = Field("earliest", description="Which records of the topic to begin with.")
    partitions: Whole | None = Field(
        None, ge=1, le=10_000, description="If the topic is missing, create it with this many partitions; null: wait for it."
    )
    on_damage: Literal["stop", "skip"] = Field(
        "stop",
        description="At a damaged batch of the topic: stop the stream, or skip the batch and count its offsets as missed.",
    )
    file: Path | None = Field(None, description="A file of lines, plain or gzip, read once to its end.")
    stdin: Literal[True] | None = Field(None, description="Standard input, line by line.")
    command: str | None = Field(None, min_length=1, description="A program whose standard output is read line by line.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "Source":
        given = [name for name in ("topic", "file", "stdin", "command") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("one of topic, file, stdin and command")
        if self.topic is None and self.partitions is not None:
            raise ValueError("partitions only with a topic")
        if self.topic is None and self.on_damage != "stop":
            raise ValueError("on_damage only with a topic")
        if self.command is not None and not _is_command(self.command):
            raise ValueError("a command of one word or more, with each quote closed")
        return self

    def __str__(self) -> str:
        """Describe the source to any client. A command may hold a secret, so its words are left out."""
        if self.topic is not None:
            return f"topic {self.topic}"
        return f"file {self.file}" if self.file is not None else "command" if self.command is not None else "standard input"


class Output(Model):
    """Where a stream writes its results; each destination is optional."""

    topic: str | None = Field(None, pattern=TOPIC, description="A Kafka topic, created if absent.")
    key: list[str] = Field([], max_length=8, description="Members of a result whose values are the key of its record.")
    file: Path | None = Field(None, description="A file to append to; its folder is made.")
    max_file_bytes: Whole | None = Field(
        1 << 30, ge=1, description="Bytes at which the file is renamed to a number and a new one begins; null: never."
    )
    console: StrictBool = Field(False, description="Whether to write to standard output.")

    @model_validator(mode="after")
    def _key_of_a_topic(self) -> "Output":
        if self.key and self.topic is None:
            raise ValueError("key only with a topic")
        return self


def bytes_a_set(steps: int, sets_per_s: float, unit: str) -> float:
    """Return the compressed bytes of a set of `steps` events at random times: the entropy of the gaps between them.

    The gaps of random times have a geometric distribution. Regular times take almost no bytes.

    >>> round(bytes_a_set(3, 1_000_000 / 3_600, "ms"), 2)
    1.34
    """
    gap = 1e9 / NANOSECONDS[unit] / sets_per_s
    bits = (gap + 1) * math.log2(gap + 1) - gap * math.log2(gap)
    return _PACKING * steps * bits / 8


class Load(NamedTuple):
    """What a stream keeps: things called `noun`, of `nbytes` each, `per_s` a second of input described by `of`."""

    nbytes: float
    noun: str
    per_s: float
    of: str


class StreamSettings(Model):
    """Settings and facts of any stream."""

    meant: ClassVar[tuple[str, ...]] = ()
    """Settings that change what an answer means; a checkpoint that was written with other values is not used."""

    newer: ClassVar[tuple[str, ...]] = ()
    """Settings of `meant` that earlier versions did not have. At their defaults they are not a part of the meaning."""

    bounds: ClassVar[tuple[str, ...]] = ()
    """Settings that say at which size a collector retires; the first one counts the things of `load`."""

    view_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that the view's class takes as arguments."""

    dated: ClassVar[bool] = True
    """Whether a record has the time of an event. Otherwise a record counts when it comes, whatever its time."""

    ordered: ClassVar[bool] = False
    """Whether events wait for late ones, up to `lateness_ms`."""

    publishes: ClassVar[bool] = False
    """Whether the view has results for `output`."""

    joins: ClassVar[bool] = False
    """Whether the shards of a cluster can answer together."""

    apart: ClassVar[str] = "its answers cannot be joined"
    """Why the shards of a cluster cannot answer together, if they cannot."""

    matches_alone: ClassVar[bool] = False
    """Whether one shard of a cluster reads all partitions, and the others hold older generations."""

    publishes_together: ClassVar[bool] = False
    """Whether one process of a cluster publishes the results of all shards."""

    result_keys: ClassVar[tuple[str, ...]] = ()
    """The members of a result that identify it, for `output.key`."""

    idle: ClassVar[tuple[str, ...]] = ()
    """Settings of any stream that have no effect on this view, because it has no time or no aged collectors."""

    if TYPE_CHECKING:
        view: str  # each class has the field with the name of its view as the one value

    source: Source = Field(description="Where the records come from.")
    output: Output = Field(Output(), description="Where results go.")
    dead_letters: str | None = Field(
        None, pattern=TOPIC, description="A Kafka topic for records that are refused; null: they are only counted."
    )
    lateness_ms: Whole = Field(500, ge=0, description="Milliseconds that an event may be behind the newest one, in order.")
    idle_ms: Whole = Field(200, ge=1, description="Milliseconds of silence after which held events are released.")
    max_ahead_ms: Annotated[Whole, Field(ge=0)] | Literal["auto"] | None = Field(
        "auto",
        description="Milliseconds that an event may be ahead of this machine's clock; auto: an hour, and an event of a source "
        "that ends does not wait; null: any number.",
    )
    max_aged: Whole | None = Field(None, ge=0, description="Aged collectors to keep at most; null: as memory allows.")
    max_age_ms: Whole | None = Field(
        None, ge=1, description="Milliseconds of event time to keep at most; null: as memory allows."
    )

    @property
    def rekeyed(self) -> bool:
        """Whether the shards of a cluster read the records from a topic by key, into which they forward them."""
        return False

    @property
    def stays_apart(self) -> str | None:
        """Why the shards of a cluster cannot answer together; None if they can."""
        return None if self.joins else self.apart

    @model_validator(mode="after")
    def _key_of_results(self) -> Self:
        if strange := [name for name in self.output.key if name not in self.result_keys]:
            known = f"members out of {', '.join(self.result_keys)}" if self.result_keys else f"none for the view {self.view}"
            raise ValueError(f"output.key: {known}, not {', '.join(strange)}")
        return self

    @model_validator(mode="after")
    def _time_of_kafka(self) -> Self:
        if self.form is not None and self.form.time_field == KAFKA and self.source.topic is None:
            raise ValueError("record.time: kafka only with a topic")
        return self

    @model_validator(mode="after")
    def _binary_of_kafka(self) -> Self:
        if self.form is not None and self.binary and self.source.topic is None:
            raise ValueError(f"record.format: {self.form.format} only with a topic, because its records may contain line ends")
        return self

    @property
    def binary(self) -> bool:
        """Whether records are bytes that are no text."""
        return self.form is not None and self.form.format != "json"

    @property
    def form(self) -> Record | None:
        """The form of the records if it is not the view's own."""
        found: Record | None = getattr(self, "record", None)
        return found if found is not None and found.format != "text" else None

    @property
    def unit(self) -> str:
        """The unit of the events' times, or that in which they count until they have decided it."""
        return "ms"

    @property
    def unit_given(self) -> bool:
        """Whether the settings name the unit. Otherwise the events decide it."""
        return True

    @property
    def axis(self) -> str:
        """The unit of the spans in answers."""
        return self.unit

    @property
    def step_names(self) -> tuple[str, ...]:
        """The steps of a set; empty if the view has none."""
        return ()

    @property
    def period_names(self) -> tuple[str, ...]:
        """The lengths of the periods that are kept, shortest first; empty if the view has none."""
        return ()

    @property
    def most_ahead_ms(self) -> int | None:
        """The milliseconds that an event may be ahead of the clock; None: any number."""
        return _HOUR_MS if self.max_ahead_ms == "auto" else self.max_ahead_ms

    @property
    def writable(self) -> bool:
        """Whether clients may write to the topic."""
        return False

    def waits_for_clock(self, *, once: bool) -> bool:
        """Whether events that are too far ahead of the clock are kept apart until their time.

        With `auto` they are not if the source ends, because its answers depend on its bytes alone.
        """
        ends = self.source.file is not None or (once and self.source.topic is None)
        return self.dated and (not ends or self.max_ahead_ms != "auto")

    @property
    def bound(self) -> int | None:
        """The things of `load` in a collector that retires; None if none retires."""
        found: int | None = getattr(self, self.bounds[0]) if self.bounds else None
        return found

    def load(self, rate: float) -> Load:
        """Return what the stream keeps of `rate` records a second. The bytes are measured."""
        raise NotImplementedError

    def view_arguments(self) -> dict[str, Any]:
        """Return the arguments of the view's class."""
        return {name: getattr(self, name) for name in self.view_settings}

    def meaning(self) -> dict[str, Any]:
        """Return everything that an answer's meaning depends on: view, source, and the settings of `meant`.

        A service of this version with the defaults finds the checkpoints of an earlier one, so `newer` settings are left out
        at their defaults.
        """
        source = self.source.model_dump(mode="json", include={"topic", "file", "stdin", "command"}, exclude_none=True)
        unset = {name for name in self.newer if getattr(self, name) == type(self).model_fields[name].default}
        meant = {"view", *self.meant} - unset
        unmeant = {"record": set(SCHEMA_SETTINGS)}
        return {**self.model_dump(mode="json", include=meant, exclude=unmeant, exclude_none=True), "source": source}

    def alike(self) -> list["StreamSettings"]:
        """Return the same settings with other values of `meant` for which checkpoints have the same form, the best first."""
        return []


def _steps(steps: list[str]) -> list[str]:
    for step in steps:
        if not re.fullmatch(r"[!-^`-~]{1,32}", step):
            raise ValueError("names of 1 to 32 printable ASCII characters, no space and no underscore")
    if len({step.lower() for step in steps}) < len(steps):
        raise ValueError("names that differ in more than case, because a set has one event of each; a funnel takes one twice")
    return steps


def _check_names(steps: list[str], record: Record) -> None:
    """Raise ValueError if a text stands for a step that does not exist, or for several steps."""
    names = record.names()
    if strange := [name for name in names if name not in steps]:
        raise ValueError(f"record.step.names: the steps {', '.join(steps)}, not {', '.join(strange)}")
    texts = [text for step in dict.fromkeys(steps) for text in dict.fromkeys(names.get(step, [step]))]
    if twice := [text for text in dict.fromkeys(texts) if texts.count(text) > 1]:
        raise ValueError(f"record.step.names: each text for one step, not {', '.join(twice)} for several")


def _limit(text: str) -> str:
    if not 1 <= duration_ms(text) <= _LONGEST_MS:
        raise ValueError("a duration from 1ms to ten years")
    return text


class SetsStream(StreamSettings):
    """Sets of one event of each step."""

    joins = True
    matches_alone = True

    meant = ("steps", "time_unit", "record", "within")
    newer = ("record", "within")
    bounds = ("max_sets",)
    view_settings = ("steps", "max_sets")
    ordered = True

    source: Source = Field(Source(topic="events"), description="Where the records come from.")
    view: Literal["sets"] = Field("sets", description="What is answered.")
    steps: Annotated[list[str], AfterValidator(_steps)] = Field(
        ["R", "G", "B"], min_length=2, max_length=8, description="The categories that make a set, in order of time."
    )
    time_unit: TimeUnit | Literal["auto"] = Field(
        "auto",
        description="The unit of the events' times; auto: the first event with a plausible time decides; with record.time: "
        "that of the record if it is us or ns, else ms.",
    )
    record: SetsRecord = Field(SetsRecord(), description="The form of the records.")
    within: Annotated[str, AfterValidator(_limit)] | None = Field(
        None, description="The longest time from the first event of a set to the last one, such as 2h; null: any time."
    )
    max_sets: Whole = Field(1_000_000, ge=1, description="Sets at which a collector retires.")

    @model_validator(mode="after")
    def _names_of_steps(self) -> Self:
        _check_names(self.steps, self.record)
        return self

    @model_validator(mode="after")
    def _unit_of_within(self) -> Self:
        if self.within is not None and not self.unit_given:
            raise ValueError("within: only with time_unit s, ms, us or ns, because the limit counts in it from the start")
        if self.within is not None and duration_ms(self.within) * NANOSECONDS["ms"] % NANOSECONDS[self.unit]:
            raise ValueError(f"within: a whole number of {self.unit}, the unit of the times")
        return self

    @property
    def unit(self) -> str:
        """See the base."""
        return (self.record.unit or "ms") if self.time_unit == "auto" else self.time_unit

    @property
    def unit_given(self) -> bool:
        """See the base."""
        return self.time_unit != "auto" or self.form is not None

    def view_arguments(self) -> dict[str, Any]:
        """Return the arguments of the view's class: the limit is in the unit of the times."""
        within = None if self.within is None else in_unit(duration_ms(self.within), self.unit)
        return {**super().view_arguments(), "within": within}

    def alike(self) -> list[StreamSettings]:
        """Return the settings with a unit if the events decide it, else with `auto`."""
        if self.form is not None:
            return []
        units = ["ms", "s", "us", "ns"] if self.time_unit == "auto" else ["auto"]
        return [self.model_copy(update={"time_unit": unit}) for unit in units]

    @property
    def step_names(self) -> tuple[str, ...]:
        """The steps of a set."""
        return tuple(self.steps)

    def load(self, rate: float) -> Load:
        """See the base."""
        per_s = rate / len(self.steps)
        nbytes = bytes_a_set(len(self.steps), per_s, self.unit)
        return Load(nbytes, "sets", per_s, f"{rate:,.0f} events a second at random times")


class TopStream(StreamSettings):
    """The ids with the largest values."""

    meant = ("record",)
    newer = ("record",)
    dated = False
    joins = True
    idle = ("max_aged", "max_age_ms")

    view: Literal["top"] = Field(description="What is answered.")
    record: TopRecord = Field(TopRecord(), description="The form of the records.")

    @property
    def writable(self) -> bool:
        """Whether clients may write to the topic: they write the view's own format."""
        return self.form is None

    def load(self, rate: float) -> Load:
        """See the base. An id of 36 letters: 92 bytes, in a table of 200,000 of `producer.py --pattern top`."""
        return Load(92, "ids of 36 letters", rate, f"{rate:,.0f} new ids a second")


class SegmentsStream(StreamSettings):
    """Segments of batches, merged."""

    apart = "the segments of a batch lie in several partitions, so no shard has a whole batch"

    meant = ("segments", "record")
    newer = ("record",)
    publishes = True
    idle = ("lateness_ms", "max_age_ms")
    bounds = ("max_batches",)
    dated = False
    view_settings = ("segments", "max_batches", "spill_bytes", "spill_dir")

    view: Literal["segments"] = Field(description="What is answered.")
    record: SegmentsRecord = Field(SegmentsRecord(), description="The form of the records.")
    max_ahead_ms: None = Field(None, description="Always null, because the numbers of batches are no times.")
    segments: Whole = Field(10, ge=1, le=10_000, description="Segments that make a batch.")
    max_batches: Whole = Field(100_000, ge=1, description="Finished batches at which a collector retires.")
    spill_bytes: Whole = Field(32 << 20, ge=1, description="Bytes of pending segments in memory; more go to a file.")
    spill_dir: Path | None = Field(None, description="The folder for that file; null: the system's temporary one.")

    @property
    def axis(self) -> str:
        """The unit of the spans in answers."""
        return "batch"

    def load(self, rate: float) -> Load:
        """See the base. A finished batch in the listing: 2,000 took 7,243 bytes, with `producer.py --pattern segments`."""
        return Load(3.7, "finished batches", rate / self.segments, f"{rate:,.0f} segments a second")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone such as Europe/Berlin") from None
    return name


Granularity = Literal["minute", "hour", "day", "week", "month", "year"]
"""The lengths of periods, shortest first."""


def _by_length(given: list[Granularity]) -> list[Granularity]:
    return [name for name in get_args(Granularity) if name in given]


class UniquesStream(StreamSettings):
    """Unique users by minute, hour, day, week, month and year."""

    meant = ("zone", "granularities", "record")
    newer = ("granularities", "record")
    publishes = True
    joins = True
    publishes_together = True
    result_keys = ("granularity", "start", "end")
    bounds = ("max_hashes", "max_cells")
    view_settings = ("zone", "granularities", "max_cells", "max_hashes", "exact_users")

    view: Literal["uniques"] = Field(description="What is answered.")
    record: UniquesRecord = Field(UniquesRecord(), description="The form of the records.")
    zone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description="The time zone of hours, days and longer periods.")
    granularities: Annotated[list[Granularity], AfterValidator(_by_length)] = Field(
        list(get_args(Granularity)),
        min_length=1,
        description="The lengths of periods that are counted, published and answered.",
    )
    exact_users: Whole = Field(1_000_000, ge=1_000, description="Users of a period beyond which it is estimated.")
    max_cells: Whole = Field(50_000, ge=10, description="Periods at which a collector retires.")
    max_hashes: Whole = Field(2_000_000, ge=1_000, description="Users held at which a collector retires.")

    @property
    def period_names(self) -> tuple[str, ...]:
        """The lengths of the periods that are kept."""
        return tuple(self.granularities)

    def load(self, rate: float) -> Load:
        """See the base. A user in a period: 585,222 took 4,727,144 bytes, with `producer.py --pattern uniques`."""
        return Load(
            8.1, "users by period", rate * len(self.granularities), f"{rate:,.0f} frames a second, each of another user"
        )


class WordsStream(StreamSettings):
    """Counts of events by type, and of words."""

    meant = ("words", "record")
    newer = ("words", "record")
    bounds = ("max_pairs",)
    view_settings = ("words", "max_pairs", "max_names")

    joins = True

    view: Literal["words"] = Field(description="What is answered.")
    record: WordsRecord = Field(WordsRecord(), description="The form of the records.")
    words: Literal["any", "alphabetic"] = Field(
        "any", description="Whether any data is counted, or only events whose data is one word of letters."
    )
    max_names: Whole = Field(100_000, ge=1_000, description="Distinct names of an answer beyond which counts are bounds.")
    max_pairs: Whole = Field(200_000, ge=1_000, description="Counts by second and name at which a collector retires.")

    def load(self, rate: float) -> Load:  # noqa: ARG002  # their number depends on the names alone
        """See the base. A count of a name in a second: 228,982 took 166,530 bytes, with `producer.py --pattern words`."""
        return Load(0.73, "counts by second and name", _NAMES_A_SECOND, f"{_NAMES_A_SECOND} names each second")


_LONGEST_MS = 10 * 366 * 86_400_000


def _funnel_steps(steps: list[str]) -> list[str]:
    for step in steps:
        if not re.fullmatch(r"[!-~]{1,64}", step) or step in {"key", "state", "lapsesAt"}:
            raise ValueError("names of 1 to 64 printable ASCII characters without spaces, other than key, state and lapsesAt")
    if twice := [label for label in dict.fromkeys(labels_of(steps)) if labels_of(steps).count(label) > 1]:
        raise ValueError(f"other names than {', '.join(twice)}, by which answers call a step that is listed again")
    return steps


def labels_of(steps: list[str]) -> list[str]:
    """Return the names of steps in answers: a step that is listed again has a number.

    >>> labels_of(["created", "paid", "created"])
    ['created', 'paid', 'created_2']
    """
    counts = [steps[: place + 1].count(step) for place, step in enumerate(steps)]
    return [step if count == 1 else f"{step}_{count}" for step, count in zip(steps, counts, strict=True)]


class FunnelStream(StreamSettings):
    """Sequences of one event of each step by key, within a time."""

    meant = ("steps", "within", "record", "by_key")
    newer = ("by_key",)
    publishes = True
    joins = True
    result_keys = ("key", "state")
    bounds = ("max_sequences",)
    view_settings = ("steps", "max_sequences")

    view: Literal["funnel"] = Field(description="What is answered.")
    record: FunnelRecord = Field(description="The form of the records.")
    steps: Annotated[list[str], AfterValidator(_funnel_steps)] = Field(
        min_length=2, max_length=8, description="The steps of a sequence, in order of time. One may be listed again."
    )
    within: Annotated[str, AfterValidator(_limit)] = Field(
        description="The longest time from the first event of a sequence to the last one, such as 30m, 2h or 7d."
    )
    max_sequences: Whole = Field(200_000, ge=1, description="Final sequences at which a collector retires.")
    by_key: StrictBool = Field(
        False,
        description="In a cluster: forward the records to a topic by key, because the topic is not partitioned by the key.",
    )

    @property
    def rekeyed(self) -> bool:
        """See the base."""
        return self.by_key

    @property
    def stays_apart(self) -> str | None:
        """Refuse a step that is listed again: such sequences lapse before their limit too."""
        if len(set(self.steps)) == len(self.steps):
            return None
        return "with a step that is listed again, which sequences lapse depends on how far all partitions are read"

    @model_validator(mode="after")
    def _names_of_steps(self) -> Self:
        _check_names(self.steps, self.record)
        return self

    @model_validator(mode="after")
    def _key_of_kafka(self) -> Self:
        if self.record.key == KAFKA and self.source.topic is None:
            raise ValueError("record.key: kafka only with a topic")
        return self

    @property
    def unit(self) -> str:
        """See the base."""
        return self.record.unit or "ms"

    @property
    def step_names(self) -> tuple[str, ...]:
        """The steps of a sequence, as answers name them."""
        return tuple(labels_of(self.steps))

    def view_arguments(self) -> dict[str, Any]:
        """Return the arguments of the view's class: the limit is in the unit of the times."""
        within = in_unit(duration_ms(self.within), self.unit)
        return {**super().view_arguments(), "labels": self.step_names, "within": within, "unit": self.unit}

    def load(self, rate: float) -> Load:
        """See the base. A final sequence of three steps, with a random UUID as its key: 864,115 took 27,173,211 bytes."""
        per_s = rate / len(self.steps)
        return Load(31.4, "sequences with a key of 36 letters", per_s, f"{rate:,.0f} events a second")


STREAMS: dict[str, type[StreamSettings]] = {
    get_args(stanza.model_fields["view"].annotation)[0]: stanza for stanza in StreamSettings.__subclasses__()
}
"""The stanza's class by the name of its view. The first one is that of a stanza that names no view."""

DEFAULT_VIEW = next(iter(STREAMS))


def view_of(given: object) -> str:
    """Return the name of a stanza's view."""
    view = given.get("view", DEFAULT_VIEW) if isinstance(given, Mapping) else getattr(given, "view", DEFAULT_VIEW)
    return str(view)


if TYPE_CHECKING:
    Stream = StreamSettings
else:
    Stream = Annotated[reduce(or_, (Annotated[stanza, Tag(view)] for view, stanza in STREAMS.items())), Discriminator(view_of)]
"""The stanza of one stream."""
