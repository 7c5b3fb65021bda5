"""What can be configured, typed: the settings, their units and defaults. `config.streams` has the stanzas of streams.

Filled by `config.load`, read by the composition root, which passes values on as arguments.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_serializer, field_validator, model_validator

from config.cluster import Cluster
from config.fields import HIDDEN, Budget, Model, Whole, secret
from config.streams import STREAMS, Output, Stream

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


class Http(Model):
    """The address of the gateway, and its limits."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen at.")
    port: Whole = Field(8080, ge=0, le=65535, description="Port to listen at; 0 takes a free one.")
    deadline_ms: Whole = Field(
        10_000, ge=1, le=600_000, description="Milliseconds within which a query is answered, whole or not."
    )
    max_queries: Whole = Field(256, ge=1, le=100_000, description="Queries in progress at once; more get a status 503.")
    max_rows: Whole = Field(10_000_000, ge=1, description="Rows of an answer at most; its cursor gets the next rows.")
    max_body_bytes: Whole = Field(8 << 20, ge=1, description="Bytes of the longest request body.")
    max_header_bytes: Whole = Field(16_384, ge=1_024, description="Bytes of a request's line and headers together.")
    max_connections: Whole = Field(12_000, ge=1, le=1_000_000, description="Connections at once; more are closed at once.")
    max_watchers: Whole = Field(2_000, ge=0, le=100_000, description="Clients at once that watch the live events.")
    header_ms: Whole = Field(5_000, ge=1, description="Milliseconds within which a request's headers must arrive.")
    body_ms: Whole = Field(9_000, ge=1, description="Milliseconds within which a request's body must arrive.")
    stall_ms: Whole = Field(9_000, ge=1, description="Milliseconds that a client may read nothing of its answer.")
    keep_alive_ms: Whole = Field(65_000, ge=1, description="Milliseconds that a connection may wait between two requests.")
    hosts: list[str] = Field([], description="Host names that requests may use, in addition to the address and loopback names.")
    tokens: Path | None = Field(
        None,
        description="A file of lines `read TOKEN` or `write TOKEN`; needed off loopback, unless the environment has a token or"
        " `trusted_proxy` is set.",
    )
    trusted_proxy: bool = Field(
        False, description="A proxy or a container alone decides who reaches the address, so no token is needed off loopback."
    )


class Log(Model):
    """The log on standard error."""

    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else JSON lines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Less severe lines are not written.")
    traces: str | None = Field(None, description="An OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318.")


class Memory(Model):
    """How much memory the process may use."""

    budget: Annotated[Budget, BeforeValidator(Budget.parse), WithJsonSchema({"anyOf": [*_BYTES, _SHARE]})] = Field(
        Budget(amount=0.6, share=True), description="Bytes (256MiB), or a share (60%) of what the process may use."
    )
    spill_budget: Annotated[Budget | None, BeforeValidator(_size), WithJsonSchema({"anyOf": [*_BYTES, {"type": "null"}]})] = (
        Field(None, description="Bytes (10GiB) of generations that may be in data_dir alone, when memory is short; null: none.")
    )


class Checkpoints(Model):
    """When the state of a stream is written to `data_dir`, whichever comes first."""

    every_ms: Whole = Field(5_000, ge=50, description="Milliseconds between two checkpoints.")
    events: Whole = Field(1_000_000, ge=1, description="Records between two checkpoints.")


TAKEN = frozenset(
    {
        "answers",
        "config",
        "dead-letters",
        "docs",
        "live",
        "livez",
        "metrics",
        "openapi",
        "readyz",
        "startupz",
        "static",
        "streams",
    }
)
"""Names that no stream can have, because they are paths of the service itself; some need no token."""


_READERS = ("auto", "columns", "messages")
OUR_KAFKA = frozenset({"reader"})
"""The settings below `kafka` that are no settings of librdkafka."""


class Settings(Model):
    """All settings. Texts and dumps hide secrets; the attribute `kafka` holds them."""

    http: Http = Field(Http(), description="The gateway.")
    log: Log = Field(Log(), description="The log.")
    kafka: dict[str, str | int | float | bool] = Field(
        {"bootstrap.servers": "embedded"},
        description="Any librdkafka settings; `embedded` is a broker of our own, for trying out. `reader` is ours: `columns` "
        "and `messages` are two ways to read records; `auto` takes columns if they are proven to be safe here.",
    )
    memory: Memory = Field(Memory(), description="The memory.")
    data_dir: Path | None = Field(
        Path(".firnline/data"), description="The folder for checkpoints, one process at a time; null: a restart begins anew."
    )
    checkpoint: Checkpoints = Field(Checkpoints(), description="When checkpoints are written.")
    cluster: Cluster | None = Field(
        None, description="Several processes that read and answer the same streams together; null: this process alone."
    )
    streams: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], Stream] = Field(
        min_length=1, description="The streams, by the name under which they are asked."
    )

    @model_validator(mode="after")
    def _spilling_needs_a_folder(self) -> "Settings":
        if self.memory.spill_budget is not None and self.data_dir is None:
            raise ValueError("data_dir together with memory.spill_budget")
        return self

    @model_validator(mode="after")
    def _fits_a_cluster(self) -> "Settings":
        """Refuse streams whose answers or results cannot be joined over processes yet."""
        if self.cluster is None:
            return self
        for name, stream in self.streams.items():
            if (reason := stream.stays_apart) is not None:
                able = " or ".join(each for each, stanza in STREAMS.items() if stanza.joins)
                raise ValueError(
                    f"with a cluster only streams of the views {able}, and {name} is of the view {stream.view}: {reason}"
                )
            if stream.source.topic is None:
                raise ValueError(f"with a cluster a source.topic for each stream, and {name} has another source")
            if stream.source.start != "earliest":
                raise ValueError(
                    f"with a cluster source.start: earliest, because a shard that moves reads again, and not the one of {name}"
                )
            if stream.output != Output() and not stream.publishes_together:
                able = " or ".join(each for each, stanza in STREAMS.items() if stanza.publishes_together)
                raise ValueError(
                    f"with a cluster an output only for streams of the view {able}, because no process publishes the results "
                    f"of other views for all shards, and {name} has one"
                )
            if stream.output.console or stream.output.file is not None:
                raise ValueError(
                    "with a cluster an output.topic and no output.file or output.console, because only Kafka refuses what a "
                    f"process writes that is no longer the one that publishes, and {name} has another output"
                )
        if self.http.host in {"0.0.0.0", "::"} and self.cluster.address is None:  # noqa: S104  # compared, not listened at
            raise ValueError("with a cluster the cluster.address at which the other processes reach this one")
        if self.cluster.checkpoints == "topic" and self.data_dir is None:
            raise ValueError("with cluster.checkpoints: topic a data_dir, into which a shard's files are taken from the topic")
        if self.kafka["bootstrap.servers"] == "embedded":
            raise ValueError(
                "with a cluster a broker in kafka.bootstrap.servers, because the embedded one ends with its process"
            )
        return self

    @model_validator(mode="after")
    def _one_stream_a_file(self) -> "Settings":
        """Refuse two streams that write to one file: each would cut off the lines of the other one at a restart."""
        owners: dict[Path, str] = {}
        for name, stream in self.streams.items():
            file = stream.output.file
            if file is None or (file.exists() and not file.is_file()):
                continue
            other = owners.setdefault(file.resolve(), name)
            if other != name:
                raise ValueError(f"an output.file of its own for each stream, because {other} and {name} both write to {file}")
        return self

    @field_validator("streams")
    @classmethod
    def _beside_the_service(cls, streams: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(TAKEN & streams.keys()):
            raise ValueError(f"streams that are not named {' or '.join(taken)}, because the service itself has that path")
        return streams

    @field_validator("kafka")
    @classmethod
    def _with_a_broker(cls, kafka: dict[str, Any]) -> dict[str, Any]:
        if kafka.get("reader", "auto") not in _READERS:
            raise ValueError(f"{', '.join(_READERS)} as kafka.reader")
        return {"bootstrap.servers": "embedded", **kafka}

    @property
    def client(self) -> dict[str, str | int | float | bool]:
        """The settings of librdkafka: `kafka` without our own."""
        return {name: value for name, value in self.kafka.items() if name not in OUR_KAFKA}

    @property
    def reader(self) -> Any:
        """How records are read: auto, columns or messages."""
        return self.kafka.get("reader", "auto")

    @field_serializer("kafka")
    def _without_secrets(self, kafka: dict[str, Any]) -> dict[str, Any]:
        return {key: HIDDEN if secret(key) else value for key, value in kafka.items()}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, self._without_secrets(value) if name == "kafka" else value
