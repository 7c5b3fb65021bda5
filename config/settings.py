"""What can be configured, typed: the one list of settings, their units and defaults.

Filled by `config.load`, read by the composition root. Values go down as arguments; nothing else imports this.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|KB|KiB|MB|MiB|GB|GiB)?", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECRET = re.compile(r"password|secret|key|token|jaas|\.pem\b", re.IGNORECASE)
HIDDEN = "***"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _no_flag(given: object) -> object:
    # YAML's true would else count as 1.
    if isinstance(given, bool):
        raise ValueError("an integer")  # noqa: TRY004 - pydantic tells a ValueError alone
    return given


Whole = Annotated[int, BeforeValidator(_no_flag)]


class Budget(BaseModel):
    """An amount of memory: bytes, or a share of what the process may use.

    >>> Budget.parse("256MiB").resolve(10**9), Budget.parse("60%").resolve(1000)
    (268435456, 600)
    """

    model_config = ConfigDict(frozen=True)

    amount: float
    share: bool

    @classmethod
    def parse(cls, given: object) -> "Budget":
        """Read `60%`, `256MiB` or a number of bytes.

        Raises ValueError for anything else.
        """
        if isinstance(given, Budget):
            return given
        text = str(given).strip()
        if found := _PERCENT.fullmatch(text):
            if not 0 < float(found[1]) <= 100:  # per cent
                raise ValueError("a share above 0% and up to 100%")
            return cls(amount=float(found[1]) / 100, share=True)
        found = None if isinstance(given, bool) else _SIZE.fullmatch(text)
        amount = float(found[1]) * _UNITS[(found[2] or "B").lower()] if found else 0.0
        if not 1 <= amount < math.inf:
            raise ValueError("bytes such as 256MiB, or a share such as 60%")
        return cls(amount=amount, share=False)

    @model_serializer
    def _written(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """Write it as people do.

        >>> str(Budget.parse("60 %")), str(Budget.parse(256 << 20)), str(Budget.parse(1000))
        ('60%', '256MiB', '1000')
        """
        if self.share:
            return f"{self.amount * 100:g}%"
        unit = next((unit for unit in ("GiB", "MiB", "KiB") if self.amount % _UNITS[unit.lower()] == 0), "")
        return f"{self.amount / _UNITS[unit.lower() or 'b']:.0f}{unit}"

    def resolve(self, limit_bytes: int) -> int:
        """Return the budget in bytes, where the process may use `limit_bytes`."""
        return int(self.amount * limit_bytes) if self.share else int(self.amount)


_BYTES: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 1},
    {"type": "string", "pattern": r"^\d+(\.\d+)? ?([KkMmGg][Ii]?[Bb]|[Bb])?$", "description": "bytes such as 256MiB"},
]
_SHARE = {"type": "string", "pattern": r"^\d+(\.\d+)? ?%$", "description": "a share such as 60%"}


def _size(given: object) -> Budget | None:
    size = None if given is None else Budget.parse(given)
    if size is not None and size.share:
        raise ValueError("bytes such as 10GiB")
    return size


class Http(_Model):
    """Where the gateway listens, and what it allows."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen at.")
    port: Whole = Field(8080, ge=0, le=65535, description="Port to listen at; 0 takes a free one.")
    deadline_ms: Whole = Field(
        10_000, ge=1, le=600_000, description="Milliseconds within which a query is answered, whole or not."
    )
    max_queries: Whole = Field(256, ge=1, le=100_000, description="Queries under way at once; more are told to come again.")
    max_rows: Whole = Field(10_000_000, ge=1, description="Rows of an answer at most; what follows is asked for by its cursor.")
    max_body_bytes: Whole = Field(8 << 20, ge=1, description="Bytes of the longest request body.")
    max_header_bytes: Whole = Field(16_384, ge=1_024, description="Bytes of a request's line and headers together.")
    max_connections: Whole = Field(12_000, ge=1, le=1_000_000, description="Connections at once; more are closed at once.")
    max_watchers: Whole = Field(2_000, ge=0, le=100_000, description="Clients at once that watch the live events.")
    header_ms: Whole = Field(5_000, ge=1, description="Milliseconds within which a request's headers must be there.")
    body_ms: Whole = Field(9_000, ge=1, description="Milliseconds within which a request's body must be there.")
    stall_ms: Whole = Field(9_000, ge=1, description="Milliseconds that a client may take nothing of its answer.")
    keep_alive_ms: Whole = Field(65_000, ge=1, description="Milliseconds that a connection may wait between two requests.")
    hosts: list[str] = Field([], description="Names under which it may be asked, beside its address and loopback's.")
    tokens: Path | None = Field(
        None, description="A file of lines `read TOKEN` or `write TOKEN`; needed off loopback, where the environment has none."
    )


class Log(_Model):
    """What is told on standard error while it runs."""

    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else JSON lines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is less is not told.")
    traces: str | None = Field(None, description="An OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318.")


class Memory(_Model):
    """How much memory the process may use."""

    budget: Annotated[Budget, BeforeValidator(Budget.parse), WithJsonSchema({"anyOf": [*_BYTES, _SHARE]})] = Field(
        Budget(amount=0.6, share=True), description="Bytes (256MiB), or a share (60%) of what the process may use."
    )
    spill_budget: Annotated[Budget | None, BeforeValidator(_size), WithJsonSchema({"anyOf": [*_BYTES, {"type": "null"}]})] = (
        Field(None, description="Bytes (10GiB) of generations that may be in data_dir alone, when memory is short; null: none.")
    )


class Checkpoints(_Model):
    """When the state of a stream is written to `data_dir`, whichever comes first."""

    every_ms: Whole = Field(5_000, ge=50, description="Milliseconds between two checkpoints.")
    events: Whole = Field(1_000_000, ge=1, description="Records between two checkpoints.")


class Source(_Model):
    """Where a stream's records come from: one of topic, file, stdin and command."""

    topic: str | None = Field(None, pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="A Kafka topic.")
    start: Literal["earliest", "latest"] = Field("earliest", description="Which records of the topic to begin with.")
    partitions: Whole | None = Field(
        None, ge=1, le=10_000, description="Create the topic with so many partitions where it is absent; null: wait for it."
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
            raise ValueError("partitions beside a topic alone")
        return self


class Output(_Model):
    """Where a stream's results go, as they become due; each is optional."""

    topic: str | None = Field(None, pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="A Kafka topic, created if absent.")
    file: Path | None = Field(None, description="A file to append to; its folder is made.")
    max_file_bytes: Whole | None = Field(
        1 << 30, ge=1, description="Bytes at which the file is set aside under a number; null: never."
    )
    console: StrictBool = Field(False, description="Whether to write to standard output.")


def _steps(steps: list[str]) -> list[str]:
    for step in steps:
        if not re.fullmatch(r"[!-^`-~]{1,32}", step):
            raise ValueError("names of 1 to 32 printable ASCII characters, no space and no underscore")
    if len({step.lower() for step in steps}) < len(steps):
        raise ValueError("names that differ in more than case")
    return steps


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone such as Europe/Berlin") from None
    return name


class _Stream(_Model):
    """What every stream has."""

    meant: ClassVar[tuple[str, ...]] = ()
    """The settings that change what an answer means, so that what was kept under others is no use."""

    source: Source = Field(description="Where the records come from.")
    output: Output = Field(Output(), description="Where results go.")
    dead_letters: str | None = Field(
        None, pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="A Kafka topic for records that are no events; null: none."
    )
    lateness_ms: Whole = Field(500, ge=0, description="Milliseconds that an event may come behind the newest one in order.")
    idle_ms: Whole = Field(200, ge=1, description="Milliseconds of silence after which held events are released.")
    max_aged: Whole | None = Field(None, ge=0, description="Aged collectors to keep at most; null: as memory allows.")
    max_age_ms: Whole | None = Field(
        None, ge=1, description="Milliseconds of event time to keep at most; null: as memory allows."
    )

    def meaning(self) -> dict[str, Any]:
        """Return what an answer depends on: the view, what is read, and the settings that are `meant`."""
        source = self.source.model_dump(mode="json", include={"topic", "file", "stdin", "command"}, exclude_none=True)
        return {**self.model_dump(mode="json", include={"view", *self.meant}), "source": source}


class SetsStream(_Stream):
    """Sets of one event of each step."""

    meant = ("steps", "time_unit")

    source: Source = Field(Source(topic="events"), description="Where the records come from.")
    view: Literal["sets"] = Field("sets", description="What is answered.")
    steps: Annotated[list[str], AfterValidator(_steps)] = Field(
        ["R", "G", "B"], min_length=2, max_length=8, description="The categories that make a set, in order of time."
    )
    time_unit: Literal["s", "ms", "us", "ns"] = Field("ms", description="The unit of the events' times.")
    max_sets: Whole = Field(1_000_000, ge=1, description="Sets at which a collector retires.")


class TopStream(_Stream):
    """The ids with the largest values."""

    view: Literal["top"] = Field(description="What is answered.")


class SegmentsStream(_Stream):
    """Segments of batches, merged."""

    meant = ("segments",)

    view: Literal["segments"] = Field(description="What is answered.")
    segments: Whole = Field(10, ge=1, le=10_000, description="Segments that make a batch.")
    max_batches: Whole = Field(100_000, ge=1, description="Finished batches at which a collector retires.")
    spill_bytes: Whole = Field(32 << 20, ge=1, description="Bytes of pending segments in memory; more go to a file.")
    spill_dir: Path | None = Field(None, description="The folder for that file; null: the system's temporary one.")


class UniquesStream(_Stream):
    """Unique users by minute, hour, day, week, month and year."""

    meant = ("zone",)

    view: Literal["uniques"] = Field(description="What is answered.")
    zone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description="The time zone of hours, days and longer periods.")
    exact_users: Whole = Field(1_000_000, ge=1_000, description="Users of a period beyond which it is estimated.")
    max_cells: Whole = Field(50_000, ge=10, description="Periods at which a collector retires.")
    max_hashes: Whole = Field(2_000_000, ge=1_000, description="Users held at which a collector retires.")


class WordsStream(_Stream):
    """Counts of events by type, and of words."""

    view: Literal["words"] = Field(description="What is answered.")
    max_names: Whole = Field(100_000, ge=1_000, description="Distinct names of an answer beyond which counts are bounds.")
    max_pairs: Whole = Field(200_000, ge=1_000, description="Counts by second and name at which a collector retires.")


def view_of(given: object) -> str:
    """Return which view a stanza is for; one that does not say is of sets."""
    view = given.get("view", "sets") if isinstance(given, Mapping) else getattr(given, "view", "sets")
    return str(view)


STREAMS: dict[str, type[_Stream]] = {
    "sets": SetsStream,
    "top": TopStream,
    "segments": SegmentsStream,
    "uniques": UniquesStream,
    "words": WordsStream,
}
"""The settings of a stream by its view."""

Stream = Annotated[
    Annotated[SetsStream, Tag("sets")]
    | Annotated[TopStream, Tag("top")]
    | Annotated[SegmentsStream, Tag("segments")]
    | Annotated[UniquesStream, Tag("uniques")]
    | Annotated[WordsStream, Tag("words")],
    Discriminator(view_of),
]
"""One stream and the view over it."""


_TAKEN = frozenset(
    {"config", "dead-letters", "docs", "live", "livez", "metrics", "openapi", "readyz", "startupz", "static", "streams"}
)
"""Names that a stream cannot have, as the service itself is asked under them; some need no token."""


class Settings(_Model):
    """Everything. Its text and its dumps hide what is secret; `kafka` itself holds it."""

    http: Http = Field(Http(), description="The gateway.")
    log: Log = Field(Log(), description="What is told.")
    kafka: dict[str, str | int | float | bool] = Field(
        {"bootstrap.servers": "embedded"},
        description="Any librdkafka settings; `embedded` is a broker of our own, for trying out.",
    )
    memory: Memory = Field(Memory(), description="The memory.")
    data_dir: Path | None = Field(
        Path(".firnline/data"), description="The folder for checkpoints, one process at a time; null: memory alone."
    )
    checkpoint: Checkpoints = Field(Checkpoints(), description="When checkpoints are written.")
    streams: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], Stream] = Field(
        min_length=1, description="The streams, by the name under which they are asked."
    )

    @model_validator(mode="after")
    def _spilling_needs_a_folder(self) -> "Settings":
        if self.memory.spill_budget is not None and self.data_dir is None:
            raise ValueError("data_dir beside memory.spill_budget")
        return self

    @field_validator("streams")
    @classmethod
    def _beside_the_service(cls, streams: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_TAKEN & streams.keys()):
            raise ValueError(f"streams that are not named {' or '.join(taken)}, as the service itself has that path")
        return streams

    @field_validator("kafka")
    @classmethod
    def _with_a_broker(cls, kafka: dict[str, Any]) -> dict[str, Any]:
        return {"bootstrap.servers": "embedded", **kafka}

    @field_serializer("kafka")
    def _without_secrets(self, kafka: dict[str, Any]) -> dict[str, Any]:
        return {key: HIDDEN if secret(key) else value for key, value in kafka.items()}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, self._without_secrets(value) if name == "kafka" else value


def secret(key: str) -> bool:
    """Whether the value of a Kafka setting must not be shown."""
    return _SECRET.search(key) is not None
