"""Every setting with its description, type, range, default, value, where it was set, and when a change takes effect.

Read from the models themselves, so it cannot differ from them. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from config.changes import Applies, applies, shown
from config.fields import Budget
from config.load import Reading
from config.streams import STREAMS, view_of
from scripts.cli.configuration.schema import json_schema

_FREE = "any setting of librdkafka"
_KINDS = {"integer": "an integer", "string": "text", "boolean": "true or false", "number": "a number", "null": "null"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting. `default` and `value` are as a user writes them; `place` is where it was set, or None.

    If `section` is true it is a section, which has no default and no value of its own.
    """

    key: str
    description: str
    type: str
    default: Any
    value: Any
    place: str | None
    applies: Applies | None
    section: bool = False
    required: bool = False


def entries(reading: Reading) -> list[Entry]:
    """Return every setting of these streams, in the order of the models, each section before its settings."""
    schema = json_schema()
    return list(_walk((), reading.settings, schema["properties"], schema["$defs"], reading))


def _walk(
    path: tuple[str, ...], model: BaseModel, properties: Mapping[str, Any], models: Mapping[str, Any], reading: Reading
) -> Iterator[Entry]:
    for name, field in type(model).model_fields.items():
        own, value, schema = (*path, name), getattr(model, name), properties[name]
        text = str(field.description or schema.get("description") or "")
        if isinstance(value, BaseModel) and not isinstance(value, Budget):
            yield _section(own, text, reading)
            yield from _walk(own, value, models[type(value).__name__]["properties"], models, reading)
        elif own == ("streams",):
            yield _section(own, text, reading)
            for each, stanza in value.items():
                yield _section((*own, each), str(type(stanza).__doc__), reading)
                yield from _walk((*own, each), stanza, models[type(stanza).__name__]["properties"], models, reading)
        elif own == ("kafka",):
            yield _section(own, text, reading)
            for key, each in value.items():
                yield _entry(
                    (*own, key), reading, "A setting of librdkafka.", _FREE, default=field.default.get(key), value=each
                )
        else:
            default = field.get_default(call_default_factory=True)
            yield _entry(own, reading, text, kind(schema), default=default, value=value)


def _section(path: tuple[str, ...], text: str, reading: Reading) -> Entry:
    return Entry(".".join(path), text, "settings", None, None, reading.place(path), None, section=True)


def _entry(path: tuple[str, ...], reading: Reading, text: str, type_: str, *, default: Any, value: Any) -> Entry:
    view = view_of(reading.settings.streams[path[1]]) if path[0] == "streams" else next(iter(STREAMS))
    required = default is PydanticUndefined
    return Entry(
        ".".join(path),
        text,
        type_,
        None if required else shown(path, default),
        shown(path, value),
        reading.place(path),
        applies(path, view),
        required=required,
    )


def kind(schema: Mapping[str, Any]) -> str:
    """Describe the type and range of a value.

    >>> kind({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]})
    'an integer from 1 to 9, or null'
    >>> kind({"type": "array", "items": {"enum": ["hour", "day"], "type": "string"}})
    'a list, each item one of hour, day'
    """
    if "$ref" in schema:
        return "settings"
    if "anyOf" in schema or "oneOf" in schema:
        *most, last = [kind(each) for each in schema.get("anyOf", schema.get("oneOf"))]
        return f"{', '.join(most)}, or {last}" if most else last
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "one of " + ", ".join(map(_word, values)) if len(values) > 1 else _word(values[0])
    low, high = schema.get("minimum"), schema.get("maximum")
    match schema.get("type"):
        case "integer" if low is not None and high is not None:
            return f"an integer from {low} to {high}"
        case "integer" if low is not None:
            return f"an integer, {low} or more"
        case "string" if schema.get("format") == "path":
            return "a path"
        case "string" if "description" in schema:
            return str(schema["description"])
        case "string" if "pattern" in schema:
            return f"text like {schema['pattern']}"
        case "array":
            few, many = schema.get("minItems"), schema.get("maxItems")
            count = f"{few} to {many} " if few is not None and many is not None else ""
            if "enum" in schema["items"]:
                return f"a list, each item {kind(schema['items'])}"
            return f"a list of {count}{'texts' if schema['items'].get('type') == 'string' else kind(schema['items'])}"
        case other:
            return _KINDS.get(str(other), str(other))


def _word(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
