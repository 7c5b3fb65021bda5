"""Schemas of Avro, read by fastavro.

Logical types are not used: a time stays the whole number that it is in the record, of any size and without rounding.
"""

import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import msgspec

from actors.records.encoding import UnreadableError
from actors.records.members import Tokens
from actors.records.schemas.framing import MISSING

_INDEX = re.compile("0|[1-9][0-9]{0,8}")
_MOST_NODES = 10_000
"""The types of a schema at most, if each name stands for its definition. So a record takes bounded time for each byte."""

_NAMED = "__named_schemas"
_WITH_SCHEMAS = frozenset({"type", "items", "values"})
_NO_BRANCHES = [{"type": "fixed", "name": "firnline.NoBranch", "size": 1 << 40}] * 8  # each one takes 13 ns of each value
_LEAST_BYTES = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}


class AvroSchema:
    """The schema in `text`, after the schemas of the types that it refers to. Any thread may use it.

    Raises ValueError, with a text for people, if a schema cannot be used.
    """

    def __init__(self, text: str, references: Sequence[str] = ()) -> None:
        named: dict[str, Any] = {}
        parsed: Any = None
        for each in (*references, text):
            parsed = _parsed(each, named)
        _Measure(named).of(parsed)
        self._schema = _strict(parsed)

    def values(self, record: bytes, start: int, ways: Sequence[Tokens]) -> Sequence[object]:
        """See the contract. Cost: 3 us for five fields, and 0.3 us a value."""
        content = BytesIO(record)
        content.seek(start)
        try:
            value = fastavro.schemaless_reader(content, self._schema, None)
        except Exception:  # noqa: BLE001  # fastavro has no list of its errors, and each of them means the record
            raise UnreadableError("not_avro") from None
        if content.tell() != len(record):
            raise UnreadableError("not_avro")
        return [_found(value, way) for way in ways]


def _found(value: object, way: Tokens) -> object:
    for token in way:
        if isinstance(value, dict):
            value = value.get(token, MISSING)
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value


def _parsed(text: str, named: dict[str, Any]) -> Any:
    """Return a schema as fastavro's form of it, with full names. Adds the types that it defines to `named`."""
    try:
        return fastavro.parse_schema(_plain(msgspec.json.decode(text)), named)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("a schema of Avro in JSON") from None
    except Exception as error:  # noqa: BLE001  # of a wrong schema it raises KeyError, TypeError and its own errors
        detail = str(error).splitlines()
        raise ValueError(f"a schema of Avro ({type(error).__name__}{f': {detail[0]}' if detail else ''})") from None


def _strict(schema: Any) -> Any:
    """Return fastavro's form of a schema, so changed that a negative index raises an error. It counts from the end otherwise.

    The symbols of an enum become a dict by index. A union gets branches that cannot be read, so a negative index finds one of
    its own only just below -8; beyond that it is an error too.
    """
    if isinstance(schema, list):
        return [*map(_strict, schema), *_NO_BRANCHES]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _strict(value) if name in _WITH_SCHEMAS else value for name, value in schema.items()}
    if "symbols" in schema:
        changed["symbols"] = dict(enumerate(schema["symbols"]))
    if isinstance(schema.get("fields"), list):
        changed["fields"] = [{**each, "type": _strict(each["type"])} for each in schema["fields"]]
    if _NAMED in schema:
        changed[_NAMED] = {name: _strict(value) for name, value in schema[_NAMED].items()}
    return changed


def _plain(schema: Any) -> Any:
    """Return a schema without logical types."""
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "logicalType"}
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


class _Size(NamedTuple):
    """The fewest bytes of a value, and the number of types in its schema."""

    least: int
    nodes: int


class _Measure:
    """Finds schemas of which a short record could take any time or memory, or any depth of calls."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._known: dict[str, _Size] = {}
        self._open: set[str] = set()

    def of(self, schema: Any) -> _Size:
        """Return the size of a schema. Raises ValueError if it is not supported."""
        if isinstance(schema, list):
            sizes = [self.of(each) for each in schema]
            return self._checked(1 + min((each.least for each in sizes), default=0), sizes)
        if isinstance(schema, str):
            return _Size(_LEAST_BYTES[schema], 1) if schema in _LEAST_BYTES else self._of_name(schema)
        match kind := schema["type"]:
            case "record" | "error":
                return self._of_name(schema["name"])
            case "enum":
                return _Size(1, 1)
            case "fixed":
                if not isinstance(size := schema["size"], int) or size < 0:
                    raise ValueError("a schema of Avro whose fixed types have a size")
                return _Size(size, 1)
            case "map":
                return self._checked(1, [self.of(schema["values"])])
            case "array":
                items = self.of(schema["items"])
                if not items.least:
                    raise ValueError("a schema of Avro without lists of items that take no bytes")
                return self._checked(1, [items])
            case _:
                return self.of(kind)

    def _of_name(self, name: str) -> _Size:
        if name in self._known:
            return self._known[name]
        schema = self._named[name]
        if schema["type"] in {"enum", "fixed"}:
            return self.of(schema)
        if name in self._open:
            raise ValueError(f"a schema of Avro whose types do not contain themselves, as {name} does")
        self._open.add(name)
        sizes = [self.of(field["type"]) for field in schema["fields"]]
        self._open.remove(name)
        self._known[name] = self._checked(sum(each.least for each in sizes), sizes)
        return self._known[name]

    def _checked(self, least: int, parts: Sequence[_Size]) -> _Size:
        nodes = 1 + sum(each.nodes for each in parts)
        if nodes > _MOST_NODES:
            raise ValueError(f"a schema of Avro of at most {_MOST_NODES:,} types, each name counted as its definition")
        return _Size(least, nodes)
