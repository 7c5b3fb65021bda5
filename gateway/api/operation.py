"""One operation of the HTTP interface: its route, parameters, body, answers and scope in one place.

Starlette's routes, which check every parameter, and the description at `/openapi.json` are made from a table of operations. A
family of routes is a class with `operations() -> Sequence[Operation]`; `app.py` collects them. `params.py` has the parameters.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.errors import Problem
from gateway.api.forms import COPY, FORM, copy_link
from gateway.api.params import GIVEN, InPath, Parameter
from gateway.api.unknown import WARNINGS, refuse_repeated, refuse_unknown, warning_of

Endpoint = Callable[[Request], Awaitable[Response]]

Schema = Mapping[str, Any]
"""A JSON Schema, for a type that a msgspec Struct cannot express."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """The JSON that a request must have as its body. It is read by its content, whatever media type the request names."""

    type: Any
    example: Any


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link from an answer to the GET of a `path`; OpenAPI's runtime expressions find its parameters in the answer."""

    path: str
    parameters: Mapping[str, str]
    description: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One method of one path. The docstring of its endpoint is its summary, and the rest of that docstring its description.

    `path` is Starlette's template. `answer` is the type of the JSON of a 200, a Struct or a Schema; None if the body is not
    JSON. `forms` are the other media types, each with a description of such a text. `statuses` are further status codes, each
    with its condition, beside 200 and those that any request may get; their body is a Problem, unless `bodies` names another
    type. `headers` are the answer's headers with their meaning. `links` are the requests that may follow. `scope` is "open",
    "read" or "write". `tag` groups operations: the stream's name, or "service". `constant` are headers of every answer with
    their values. If it is `lenient`, an unknown parameter is reported in a header: older clients may send some, and the systems
    that they were made for ignored them. Any other operation refuses it.
    """

    method: str
    path: str
    endpoint: Endpoint
    tag: str
    answer: Any = None
    parameters: Sequence[Parameter[Any]] = ()
    body: Body | None = None
    forms: Mapping[str, str | Schema] | None = None
    statuses: Mapping[int, str] | None = None
    bodies: Mapping[int, Any] | None = None
    headers: Mapping[str, str] | None = None
    links: Mapping[str, Link] | None = None
    scope: str = ""
    constant: Mapping[str, str] | None = None
    lenient: bool = False

    @property
    def name(self) -> str:
        """The operation's name: its method and its path, as one word."""
        return operation_name(self.method, self.path)

    @property
    def described_headers(self) -> Mapping[str, str]:
        """The headers of the answer, with their descriptions."""
        return {**(self.headers or {}), **(COPY if self._has_forms else {}), **(WARNINGS if self.lenient else {})}

    @property
    def _has_forms(self) -> bool:
        return any(each is FORM for each in self.parameters)

    @property
    def needs(self) -> str:
        """The scope: the given one, else `read` for a GET and `write` for any other method."""
        return self.scope or ("read" if self.method == "GET" else "write")

    @property
    def summary(self) -> str:
        """The first line of the endpoint's docstring."""
        return _documented(self.endpoint).partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """The whole docstring of the endpoint."""
        return _documented(self.endpoint)

    async def respond(self, request: Request) -> Response:
        """Parse every parameter, then call the endpoint. Raises Problem 400 if a parameter is unknown, repeated or wrong.

        If the operation is `lenient`, every response to a request with an unknown parameter has a header that reports it.
        """
        names = [each.name for each in self.parameters if each.place == "query"]
        if not self.lenient:
            refuse_unknown(request, names)
            return await self._answer(request)
        warning = warning_of(request, names)
        try:
            refuse_repeated(request, names)
            response = await self._answer(request)
        except Problem as problem:
            problem.headers = {**(problem.headers or {}), **warning}
            raise
        response.headers.update(warning)
        return response

    async def _answer(self, request: Request) -> Response:
        request.scope[GIVEN] = {each.name: each.parse(request) for each in self.parameters}
        response = await self.endpoint(request)
        response.headers.update(self.constant or {})
        if self._has_forms:
            response.headers.update(copy_link(request, response))
        return response


class Family(Protocol):
    """Operations that belong together, such as those of one stream."""

    def operations(self) -> Sequence[Operation]:
        """Return the table of operations."""


def routes(operations: Sequence[Operation]) -> list[Route]:
    """Return Starlette's routes, one for each path, in order."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        methods = by_path.setdefault(operation.path, {})
        assert operation.method not in methods, f"{operation.method} {operation.path} is there twice"
        methods[operation.method] = operation
    return [Route(_template(path, methods), _by_method(methods), methods=list(methods)) for path, methods in by_path.items()]


def _template(path: str, methods: Mapping[str, Operation]) -> str:
    """Return Starlette's template of a path whose last part may have slashes if a parameter says so."""
    for parameter in (each for operation in methods.values() for each in operation.parameters):
        if isinstance(parameter, InPath) and parameter.rest:
            path = path.replace(f"{{{parameter.name}}}", f"{{{parameter.name}:path}}")
    return path


def operation_name(method: str, path: str) -> str:
    """Return the name of the operation of a method and a path.

    >>> operation_name("GET", "/streams/{name}")
    'get-streams-name'
    """
    parts = path.replace("{", "").replace("}", "").split("/")
    return "-".join([method.lower(), *(list(filter(None, parts)) or ["root"])])


def _by_method(methods: Mapping[str, Operation]) -> Endpoint:
    """Return the endpoint of a path. For HEAD, the server leaves the body of the GET out."""

    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method].respond(request)

    return endpoint


def _documented(endpoint: Endpoint) -> str:
    text = inspect.getdoc(endpoint)
    assert text, f"{endpoint} says what it does"
    return text
