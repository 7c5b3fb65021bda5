"""The parameter `format`, the descriptions of an answer in each format for OpenAPI, and the link to a copy of an answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.formats import FORMATS, chosen
from gateway.api.params import Header, Parameter

JSON = FORMATS["json"].content_type
NDJSON = FORMATS["ndjson"].content_type

_COLUMNS = {
    "csv": "The same rows as a table: a line of names, then a row a line.",
    "arrow": "The same rows as a table: an Arrow IPC stream, with the coverage in the metadata of its schema.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Form(Parameter[str]):
    """The format that the client wants: by name, else by its header Accept."""

    def parse(self, request: Request) -> str:
        """Return the name of the format. Raises Problem 400 for an unknown name, 406 if Accept allows no format."""
        return chosen(request.query_params.get(self.name), request.headers.get("accept", "")).name

    def schema(self) -> dict[str, Any]:
        """Return the schema of the names."""
        return {"type": "string", "enum": list(FORMATS)}


FORM = Form(name="format", description="The format of the answer. It overrides the header Accept. Without both, json.")

CACHING = {
    "ETag": "Changes if the answer changes. Absent unless the answer comes from frozen slices alone.",
    "Cache-Control": "With an `ETag`, `private, no-cache`: keep it, and validate it by `If-None-Match`. Else `no-store`.",
}
"""The headers for caches, with their descriptions."""

IF_NONE_MATCH = Header(name="If-None-Match", description="The `ETag` of the answer that the client has.")

STATUSES = {
    304: "The client has this answer: its `If-None-Match` has the `ETag`.",
    406: "Accept allows no format of this answer.",
    429: "Other answers use the memory that this one needs. `Retry-After` has the seconds to wait.",
    501: "Arrow needs a package that is not installed.",
}
"""Further status codes of a request for an answer, with their conditions."""

OF_FUNNELS = {**STATUSES, 409: "In a cluster: the records are not partitioned by the key. It stays so: do not try again."}
"""The same of a request for an answer about a funnel."""


COPIES = "/answers"
"""The path at which a request makes a copy of an answer, which has a length and ranges."""

COPY = {"Link": "With `rel=alternate`: the request for a copy of this answer, for programs that read an address as a file."}
"""The header of an answer that `COPIES` can copy, with its description."""

_LONGEST_LINK = 2_000


def copy_link(request: Request, response: Response) -> dict[str, str]:
    """Return the header `COPY` of an answer as CSV, NDJSON or Arrow; nothing for any other one, or if it would be very long."""
    form = FORM.of(request)
    if response.status_code != 200 or form == "json":
        return {}
    query = request.scope["query_string"].decode("latin-1")
    if FORM.name not in request.query_params:  # chosen by Accept, which the request for a copy does not have
        query = f"{query}&{FORM.name}={form}".lstrip("&")
    target = quote(f"{quote(request.scope['path'])}?{query}", safe="")
    if len(target) > _LONGEST_LINK:
        return {}
    return {"Link": f'<{COPIES}?of={target}>; rel="alternate"; type="application/json"; title="a copy with ranges"'}


def forms(line: str, item: Any) -> dict[str, Any]:
    """Describe the formats other than JSON. `line` is the description of an NDJSON line, `item` its type."""
    ndjson = {"type": "string", "description": f"{line[0].upper()}{line[1:]}.", "x-line": item}
    tables = {FORMATS[name].content_type: {"type": "string", "description": about} for name, about in _COLUMNS.items()}
    return {NDJSON: ndjson, **tables}


def json_response(body: object, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Response:
    """Respond with `body`, a value that msgspec can write as JSON."""
    return Response(msgspec.json.encode(body), status, headers=headers, media_type=JSON)
