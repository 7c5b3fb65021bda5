"""The schemas of a stream's records, made from its settings: that of a file, or those of a registry."""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from actors.columns.values import Values
from actors.records.encoding import Encoding
from actors.records.schemas.decoded import BySchema
from actors.records.schemas.framing import OneSchema, Schema, Schemas, names_in
from actors.registry.client import Found, RegistryClient
from actors.registry.registry import Registry
from actors.registry.source import FramedSource, with_frames
from actors.sources.polled import Headers
from actors.sources.source import Source
from config.records import Record
from scripts.service.schemas.protoc import compiled, compiled_file

LOGIN = "FIRNLINE_REGISTRY_LOGIN"
"""The variable with the user and the password for registries, as USER:PASSWORD. It is no setting, so no listing shows it."""

_LONGEST = 4 << 20
_TIMEOUT_S = 10.0
_PACKAGES = {"avro": ("fastavro",), "protobuf": ("google", "grpc_tools")}


def schemas_of(record: Record | None, name: str, on_error: Callable[[str], None]) -> Schemas | None:
    """Return the schemas of the records of stream `name`; None if they have none.

    `on_error` gets a text for each schema of a registry that cannot be used. Raises ValueError if a package is missing, or the
    schema file cannot be used. Asks no registry.
    """
    if record is None or record.format == "json":
        return None
    if missing := [package for package in _PACKAGES[record.format] if find_spec(package) is None]:
        extra = record.format
        raise ValueError(
            f"record.format: {extra} needs {', '.join(missing)}: pip install 'firnline[{extra}]', in a checkout make extras"
        )
    made = _made_avro if record.format == "avro" else partial(_made_protobuf, str(record.message))
    if record.registry is not None:
        client = RegistryClient(record.registry, os.environ.get(LOGIN) or None)
        return Registry(client, made, name=f"{name}/registry", on_error=on_error)
    path = Path(record.schema or "")
    try:
        schema = _protobuf_of(path, record) if record.format == "protobuf" else made(Found("AVRO", _text_of(path), ()))
    except ValueError as error:
        raise ValueError(f"record.schema: {path}: expected {error}") from None
    return OneSchema(schema, framed=record.framed)


def encoding_of(schemas: Schemas | None) -> Encoding | None:
    """Return the encoding of records with such schemas; None without any."""
    return None if schemas is None else BySchema(schemas)


def with_schemas(source: Source, schemas: Schemas | None, record: Record | None) -> Source:
    """Return a source that gives records when their schemas are known; the same source if no registry has them."""
    if record is None or not isinstance(schemas, Registry):
        return source
    return FramedSource(source, schemas, in_headers=record.framing == "header")


def framed_values(record: Record | None, values: Values, headers_of: Callable[[int], Headers]) -> Values:
    """Return the values of records as their schemas are found: with the frames of their headers, if these have them."""
    return with_frames(values, headers_of) if record is not None and record.framing == "header" else values


def await_schemas(schemas: Schemas | None, values: Values) -> None:
    """Wait until the schemas of records are known. Raises ValueError if a registry does not answer in 10 s."""
    if not isinstance(schemas, Registry):
        return
    schemas.ask(names_in(values))
    if not schemas.await_all(_TIMEOUT_S):
        trouble = schemas.trouble()
        raise ValueError("; ".join(trouble.reasons) if trouble is not None else f"no schemas in {_TIMEOUT_S:.0f} s")


def _made_avro(found: Found) -> Schema:
    """Return a schema as a registry has it. Raises ValueError if it cannot be used."""
    from actors.records.schemas.avro import AvroSchema  # noqa: PLC0415  # an extra, for streams that need it

    if found.kind != "AVRO":
        raise ValueError(f"a schema of Avro, got one of {found.kind[:50]}")
    return AvroSchema(found.text, [text for _, text in found.references])


def _made_protobuf(message: str, found: Found) -> Schema:
    """Return a schema as a registry has it, for a message by its full name. Raises ValueError if it cannot be used."""
    from actors.records.schemas.protobuf import ProtobufSchema  # noqa: PLC0415  # an extra, for streams that need it

    if found.kind != "PROTOBUF":
        raise ValueError(f"a schema of Protobuf, got one of {found.kind[:50]}")
    return ProtobufSchema(compiled(found.text, dict(found.references)), message, framed=True)


def _protobuf_of(path: Path, record: Record) -> Schema:
    """Return the schema of a file: one that protoc has compiled, or one for protoc, by its name. Raises ValueError."""
    from actors.records.schemas.protobuf import ProtobufSchema  # noqa: PLC0415  # an extra, for streams that need it

    content = _bytes_of(path)
    files = compiled_file(path) if path.suffix == ".proto" else content
    return ProtobufSchema(files, str(record.message), framed=record.framed)


def _text_of(path: Path) -> str:
    try:
        return _bytes_of(path).decode()
    except UnicodeDecodeError:
        raise ValueError("text in UTF-8") from None


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise ValueError(f"a file to read, got: {error.strerror}") from None
    if len(content) > _LONGEST:
        raise ValueError(f"at most {_LONGEST >> 20} MiB")
    return content
