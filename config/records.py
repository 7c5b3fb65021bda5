"""The stanza `record` of a stream: the form of its records. One class a view, with the roles that the view takes."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from config.fields import Model

_MESSAGE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_POINTER = re.compile("(/([^~/]|~[01])*)+")


def _pointer(text: str) -> str:
    if not _POINTER.fullmatch(text):
        raise ValueError("a JSON Pointer such as /meta/ts, in which ~1 is a slash and ~0 is ~ in a name")
    return text


def _kafka(given: object) -> object:
    if given != KAFKA:
        raise ValueError("kafka, or a member with its unit such as {field: /ts, unit: ms}")
    return given


Pointer = Annotated[
    str,
    Field(max_length=1_000),
    AfterValidator(_pointer),
    WithJsonSchema({"type": "string", "pattern": f"^{_POINTER.pattern}$", "description": "a JSON Pointer such as /meta/ts"}),
]
"""A JSON Pointer (RFC 6901) to a value within a record."""

KAFKA = "kafka"


def _key(given: object) -> object:
    return given if given == KAFKA else _pointer(given) if isinstance(given, str) else given


KeyAt = Annotated[
    str,
    Field(max_length=1_000),
    AfterValidator(_key),
    WithJsonSchema(
        {"type": "string", "pattern": f"^({_POINTER.pattern}|{KAFKA})$", "description": "a JSON Pointer such as /id, or kafka"}
    ),
]
"""A JSON Pointer to the key of an event, or `kafka`: the record's own key."""


def _text(given: str) -> str:
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError("text in UTF-8") from None
    return given


def _registry(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise ValueError("the URL of a schema registry such as http://127.0.0.1:8081, without a user")
    return text.rstrip("/")


_Names = Annotated[list[Annotated[str, Field(max_length=1_000), AfterValidator(_text)]], Field(min_length=1, max_length=1_000)]


class TimeField(Model):
    """A member that has the time of an event."""

    field: Pointer = Field(description="The member, as a JSON Pointer.")
    unit: Literal["s", "ms", "us", "ns", "rfc3339"] = Field(
        description="Of a number: s, ms, us or ns since 1970; of text: rfc3339."
    )


class StepField(Model):
    """A member that has the step of an event."""

    field: Pointer = Field(description="The member, as a JSON Pointer.")
    names: dict[str, _Names] = Field({}, description="The texts that stand for a step; a step that is left out is itself.")


def _kind_of_time(given: object) -> str:
    return "[field]" if isinstance(given, Mapping | TimeField) else "[kafka]"


Time = Annotated[
    Annotated[TimeField, Tag("[field]")] | Annotated[Literal["kafka"], BeforeValidator(_kafka), Tag("[kafka]")],
    Discriminator(_kind_of_time),
]
"""The time of an event: a member, or the record's own time in Kafka."""


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Field name .schema.", UserWarning)  # of a method of pydantic 1 that nothing calls

    class Encoded(Model):
        """How the bytes of a record are read."""

        format: Literal["text", "json", "avro", "protobuf"] = Field(
            "text",
            description="text: the view's own format; json: members of JSON records; avro, protobuf: fields of such records.",
        )
        schema: Path | None = Field(  # type: ignore[assignment]
            None, description="Of avro and protobuf: a file with the schema of all records."
        )
        registry: Annotated[str, AfterValidator(_registry)] | None = Field(
            None, description="Of avro and protobuf: the URL of a schema registry with the API of Confluent."
        )
        message: Annotated[str, Field(pattern=_MESSAGE)] | None = Field(
            None, description="Of protobuf: the full name of the records' message, such as shop.Order."
        )
        framing: Literal["confluent", "header", "none"] | None = Field(
            None,
            description="Where the schema of a record is named: before the record (confluent), in a header of the record, "
            "or before it if it has no such header (header), or nowhere (none). null: confluent with a registry, none with a "
            "schema file.",
        )

        @model_validator(mode="after")
        def _has_its_schema(self) -> Self:
            given = [name for name in ENCODING if name != "format" and getattr(self, name) is not None]
            if self.format in {"text", "json"}:
                if given:
                    raise ValueError(
                        f"format: avro or protobuf, which {' and '.join(given)} belong{'s' * (len(given) == 1)} to"
                    )
                return self
            if (self.message is None) == (self.format == "protobuf"):
                raise ValueError("message with protobuf, and not without")
            if (self.schema is None) == (self.registry is None):
                raise ValueError(f"schema, a file, or registry, a URL, for {self.format}")
            if self.registry is not None and self.framing == "none":
                raise ValueError("framing: confluent or header with a registry, because the frame names the schema")
            if self.registry is None and self.framing == "header":
                raise ValueError("framing: none with a schema file, because no name in a header is needed then")
            return self

        @property
        def words(self) -> str:
            """The format as people write it."""
            return {"text": "text", "json": "JSON", "avro": "Avro", "protobuf": "Protobuf"}[self.format]

        @property
        def framed(self) -> bool:
            """Whether records begin with the name of their schema."""
            return self.framing == "confluent" or self.registry is not None


ENCODING = tuple(Encoded.model_fields)
"""The settings that say how bytes are read. All others are roles."""

SCHEMA_SETTINGS = frozenset({"schema", "registry", "framing"})
"""Settings on which no answer depends, because the producer's schema is one, however it is found."""


class Record(Encoded):
    """The form of records. Each role of a view is a field of its class."""

    optional: ClassVar[tuple[str, ...]] = ()
    """The roles that may be left out."""

    @model_validator(mode="after")
    def _has_its_roles(self) -> Self:
        roles = self.roles()
        given = [name for name in roles if getattr(self, name) is not None]
        if self.format == "text" and given:
            raise ValueError(f"format: json, which {', '.join(given)} {'belongs' if len(given) == 1 else 'belong'} to")
        if self.format != "text" and (missing := [name for name in roles if name not in (*given, *self.optional)]):
            raise ValueError(f"the roles {', '.join(roles)} for {self.words}, of which {', '.join(missing)} is missing")
        return self

    @classmethod
    def roles(cls) -> list[str]:
        """Return the names of the roles."""
        return [name for name in cls.model_fields if name not in ENCODING]

    @property
    def time_field(self) -> TimeField | Literal["kafka"] | None:
        """The member with the time, `kafka`, or None without a time."""
        return getattr(self, "time", None)

    @property
    def unit(self) -> str | None:
        """The unit of the events' times unless the stream names one; None for text."""
        if self.format == "text":
            return None
        time = self.time_field
        return time.unit if isinstance(time, TimeField) and time.unit in {"us", "ns"} else "ms"

    def members(self) -> dict[str, str]:
        """Return the JSON Pointer of each role other than the time. A key that is the record's own has none."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.roles() if name != "time"}
        pointers = {name: each.field if isinstance(each, StepField) else each for name, each in found.items()}
        return {name: pointer for name, pointer in pointers.items() if pointer not in {None, KAFKA}}

    def fields(self) -> dict[str, str]:
        """Return the JSON Pointer of each role, with that of the time if a member has it."""
        time = self.time_field
        return {**self.members(), **({"time": time.field} if isinstance(time, TimeField) else {})}

    def names(self) -> dict[str, list[str]]:
        """Return the texts that stand for a name; empty if no role has names."""
        return {}


class SetsRecord(Record):
    """The form of the records of sets: the roles step and time."""

    step: StepField | None = Field(None, description="The member that has the step, and the texts that stand for the steps.")
    time: Time | None = Field(None, description="The member that has the time, with its unit; kafka: the record's own time.")

    def names(self) -> dict[str, list[str]]:
        """See the base."""
        return self.step.names if self.step is not None else {}


class UniquesRecord(Record):
    """The form of the records of uniques: the roles user and time."""

    user: Pointer | None = Field(None, description="The member that has the user: text or a whole number.")
    time: Time | None = Field(None, description="The member that has the time, with its unit; kafka: the record's own time.")


class WordsRecord(Record):
    """The form of the records of words: the roles type, text and time."""

    type: Pointer | None = Field(None, description="The member that has the type: text.")
    text: Pointer | None = Field(None, description="The member that has the text whose words are counted.")
    time: Time | None = Field(None, description="The member that has the time, with its unit; kafka: the record's own time.")


class TopRecord(Record):
    """The form of the records of top: the roles id and value."""

    id: Pointer | None = Field(None, description="The member that has the id: text or a whole number.")
    value: Pointer | None = Field(None, description="The member that has the value: a whole number.")


class SegmentsRecord(Record):
    """The form of the records of segments: the roles batch, segment and data."""

    batch: Pointer | None = Field(None, description="The member that has the number of the batch.")
    segment: Pointer | None = Field(None, description="The member that has the number of the segment in its batch, from 0 on.")
    data: Pointer | None = Field(None, description="The member that has the numbers: an ascending list.")


class FunnelRecord(Record):
    """The form of the records of a funnel: the roles key, step and time. The view has no format of its own."""

    format: Literal["json", "avro", "protobuf"] = Field(
        "json", description="json: members of JSON records; avro and protobuf: fields of such records."
    )
    key: KeyAt | None = Field(None, description="The member that has the key: text or a whole number; kafka: the record's key.")
    step: StepField | None = Field(None, description="The member that has the step, and the texts that stand for the steps.")
    time: Time | None = Field(None, description="The member that has the time, with its unit; kafka: the record's own time.")

    def names(self) -> dict[str, list[str]]:
        """See the base."""
        return self.step.names if self.step is not None else {}
