"""The description of the HTTP interface, OpenAPI 3.1, made from the operations and the types of their answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.forms import JSON
from gateway.api.operation import Operation, operation_name
from gateway.schemas import CoverageReport, Problem
from gateway.wire.request_id import HEADER

_REF = "#/components/schemas/{name}"
_PROBLEM = {"$ref": _REF.format(name="Problem")}

ALWAYS = {
    400: "A parameter or a header is unknown, given twice or wrong.",
    401: "A token is required, and the request has no token or a wrong one.",
    403: "The token does not allow this, or a page of another site sent the request.",
    405: "The path has other methods, which `Allow` names.",
    408: "The request did not come in time.",
    413: "The body is longer than http.max_body_bytes.",
    421: "The Host is not a name of this service.",
    431: "The request's line and headers are longer than http.max_header_bytes.",
    500: "A defect of the service.",
    503: "Too many requests are in progress, or no reply came in time. `Retry-After` has the seconds to wait.",
}
"""The errors that any request may get: by status, with the condition."""

NOT_MODIFIED = 304
_GUARDED = (401, 403)
_ABOUT = """\
Answers about Kafka streams, kept in the memory of one process. Ask for any time range, and get an exact answer, and the time
since which it is complete.

Parameters are strict: an unknown or a repeated one is refused. Only operations with the header `Firnline-Warning` report an
unknown one there, and answer. Every error has one shape, `Problem`. Every answer has the
header `X-Request-Id`: that of the request, if it has one (1 to 64 characters of A-Z a-z 0-9 . _ -)."""

_HEADERS: dict[str, dict[str, Any]] = {
    HEADER: {"description": "The request's id.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer", "minimum": 0}},
    "Allow": {"description": "The methods of the path.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to show a token: `Bearer`.", "schema": {"type": "string"}},
}
_WITH = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}


def describe(operations: Sequence[Operation], *, version: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the description. `tags` has the text of each tag."""
    types: list[Any] = [Problem, CoverageReport]
    for operation in operations:
        types += [each for each in _types(operation) if each not in types]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Firnline",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in tags.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": _HEADERS,
            "responses": {str(status): _problem(status, when) for status, when in ALWAYS.items()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the scope in `x-scope`, read or write. Not needed if no tokens are configured.",
                }
            },
        },
    }


def _types(operation: Operation) -> list[Any]:
    """Return the types of an operation's JSON bodies, without those that are plain schemas."""
    found = [operation.answer, *(operation.bodies or {}).values()]
    found += [each["x-line"] for each in (operation.forms or {}).values() if isinstance(each, Mapping) and "x-line" in each]
    found += [operation.body.type] if operation.body is not None else []
    return [each for each in found if each is not None and not isinstance(each, Mapping)]


def _operation(operation: Operation, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "x-scope": operation.needs,
    }
    if operation.parameters:
        described["parameters"] = [each.described() for each in operation.parameters]
    if operation.body is not None:
        body = {"schema": _schema(operation.body.type, schema_of), "example": operation.body.example}
        described["requestBody"] = {"required": True, "content": {JSON: body}}
    described["responses"] = _responses(operation, schema_of)
    # A token is required only if one is configured, so an empty alternative is listed.
    described["security"] = [{"token": []}, {}] if operation.needs != "open" else []
    return described


def _responses(operation: Operation, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer is not None:
        content[JSON] = {"schema": _schema(operation.answer, schema_of)}
    for media_type, text in (operation.forms or {}).items():
        content[media_type] = {"schema": _text(text, schema_of)}
    headers: dict[str, Any] = {HEADER: {"$ref": f"#/components/headers/{HEADER}"}}
    for name, about in operation.described_headers.items():
        headers[name] = {"description": about, "schema": {"type": "string"}}
    found: dict[str, Any] = {"200": {"description": "The answer.", "headers": headers, "content": content}}
    if operation.links:
        found["200"]["links"] = {
            name: {
                "operationId": operation_name("GET", link.path),
                "parameters": dict(link.parameters),
                "description": link.description,
            }
            for name, link in operation.links.items()
        }
    statuses = {status: when for status, when in ALWAYS.items() if operation.needs != "open" or status not in _GUARDED}
    own = operation.statuses or {}
    for status in sorted({*statuses, *own}):
        if status not in own:
            found[str(status)] = {"$ref": f"#/components/responses/{status}"}
            continue
        found[str(status)] = _problem(status, own[status])
        bodies = [_schema((operation.bodies or {})[status], schema_of)] if status in (operation.bodies or {}) else []
        if bodies and status in statuses:
            bodies.append(_PROBLEM)
        if bodies:
            found[str(status)]["content"] = {JSON: {"schema": {"anyOf": bodies} if len(bodies) > 1 else bodies[0]}}
        if status == NOT_MODIFIED:
            found[str(status)] = {"description": own[status], "headers": headers}
    return found


def _problem(status: int, when: str) -> dict[str, Any]:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in (HEADER, *_WITH.get(status, ()))}
    return {"description": when, "headers": headers, "content": {JSON: {"schema": _PROBLEM}}}


def _schema(given: Any, schema_of: Mapping[Any, Any]) -> Any:
    return given if isinstance(given, Mapping) else schema_of[given]


def _text(given: Any, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the schema of a text. Its line format is an extension, because OpenAPI 3.1 has no word for it."""
    if not isinstance(given, Mapping):
        return {"type": "string", "description": given}
    return {**given, "x-line": _schema(given["x-line"], schema_of)} if "x-line" in given else dict(given)


class DescriptionRoutes:
    """The endpoint of the description, which is made when it is first asked for, once all operations are registered.

    It is made again if the unit of a stream's times has changed, because the schemas of times depend on it.
    """

    def __init__(self) -> None:
        self._make: Callable[[], Mapping[str, Any]] = dict
        self._units: Callable[[], tuple[str, ...]] = tuple
        self._made_for: tuple[str, ...] = ()
        self._described: Mapping[str, Any] = {}
        self._text = b""

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        answer = {"type": "object", "required": ["openapi", "info", "paths"], "description": "An OpenAPI 3.1 document."}
        return [Operation(method="GET", path="/openapi.json", endpoint=self.openapi, tag="service", answer=answer)]

    def know(
        self,
        operations: Sequence[Operation],
        *,
        version: str,
        tags: Callable[[], Mapping[str, str]],
        units: Callable[[], tuple[str, ...]],
    ) -> None:
        """Describe these operations from now on. `units` returns the units of all streams, on which `tags` depend too."""
        self._make = lambda: describe(operations, version=version, tags=tags())
        self._units = units
        self._described = {}

    @property
    def described(self) -> Mapping[str, Any]:
        """The description in the present units. It is the same object as long as they do not change."""
        self._refresh()
        return self._described

    def _refresh(self) -> None:
        """Make the description again if a unit has changed."""
        units = self._units()
        if not self._described or units != self._made_for:
            self._made_for = units
            self._described = self._make()
            self._text = msgspec.json.encode(self._described)

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Describe the whole HTTP interface, as OpenAPI 3.1."""
        self._refresh()
        return Response(self._text, media_type=JSON)
