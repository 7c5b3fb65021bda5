"""The parameter `format`, and what an answer looks like in each form: as its operation describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.formats import FORMATS, chosen
from gateway.api.params import Header, Parameter

JSON = FORMATS["json"].content_type
NDJSON = FORMATS["ndjson"].content_type

_COLUMNS = {
    "csv": "The same as a table: a line of names, then a row a line.",
    "arrow": "The same as a table: an Arrow IPC stream, with the coverage in the metadata of its schema.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Form(Parameter[str]):
    """The form that the client wants: by name, else by its header Accept."""

    def parse(self, request: Request) -> str:
        """Return its name. Raises Problem 400 for one that there is not, 406 for an Accept that no form meets."""
        return chosen(request.query_params.get(self.name), request.headers.get("accept", "")).name

    def schema(self) -> dict[str, Any]:
        """Return the names."""
        return {"type": "string", "enum": list(FORMATS)}


FORM = Form(name="format", description="The form of the answer; it goes over the header Accept. Without both, json.")

CACHING = {
    "ETag": "Changes when the answer does; only where nothing but frozen slices has a part in it.",
    "Cache-Control": "`private, no-cache` with an `ETag`: to be kept, and asked for again by `If-None-Match`; else `no-store`.",
}
"""Headers of an answer that may be kept, as they are described."""

IF_NONE_MATCH = Header(name="If-None-Match", description="The `ETag` of the answer that the client has.")

STATUSES = {
    304: "The client has it: its `If-None-Match` names the `ETag`.",
    406: "Accept names no form that there is.",
    429: "Other answers have the memory that this one needs; `Retry-After` says when to come again.",
    501: "Arrow needs a package that is not installed here.",
}
"""What a request for an answer may be told beside what any request may."""


def forms(line: str, item: Any) -> dict[str, Any]:
    """Describe the forms beside JSON of an answer whose NDJSON has `line`, and each line is an `item`."""
    ndjson = {"type": "string", "description": f"{line[0].upper()}{line[1:]}.", "x-line": item}
    tables = {FORMATS[name].content_type: {"type": "string", "description": about} for name, about in _COLUMNS.items()}
    return {NDJSON: ndjson, **tables}


def json_response(body: object, headers: Mapping[str, str] | None = None) -> Response:
    """Respond with `body`, a value that msgspec can write as JSON."""
    return Response(msgspec.json.encode(body), headers=headers, media_type=JSON)
