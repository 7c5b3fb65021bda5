"""The JSON Schema of a file of settings, so that editors complete and check it."""

from typing import Any

from config.settings import Settings

_KEYWORDS = {"ge": "minimum", "le": "maximum"}
"""What pydantic writes for the range of an optional integer that is looked at before, and how JSON Schema says it."""


def json_schema() -> dict[str, Any]:
    """Return the schema, by the draft 2020-12."""
    schema: dict[str, Any] = _worded(Settings.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Firnline's settings"}


def _worded(node: Any) -> Any:
    if isinstance(node, dict):
        of_numbers = node.get("type") == "integer"
        return {(_KEYWORDS.get(key, key) if of_numbers else key): _worded(value) for key, value in node.items()}
    return [_worded(each) for each in node] if isinstance(node, list) else node
