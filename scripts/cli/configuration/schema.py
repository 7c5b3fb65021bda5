"""The JSON Schema of a configuration file, so that editors complete and check it."""

from typing import Any

from config.settings import Settings

_KEYWORDS = {"ge": "minimum", "le": "maximum"}
"""Pydantic's words for the range of an optional integer with a validator, and JSON Schema's."""


def json_schema() -> dict[str, Any]:
    """Return the schema, by the draft 2020-12."""
    schema: dict[str, Any] = _translated(Settings.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Firnline's settings"}


def _translated(node: Any) -> Any:
    if isinstance(node, dict):
        is_integer = node.get("type") == "integer"
        return {(_KEYWORDS.get(key, key) if is_integer else key): _translated(value) for key, value in node.items()}
    return [_translated(each) for each in node] if isinstance(node, list) else node
