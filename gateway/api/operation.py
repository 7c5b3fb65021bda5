"""One operation of the HTTP interface: route, parameters, body, answers and scope in one place.

From a table of these come Starlette's routes, with every parameter checked, and the description at `/openapi.json`. A family
of routes is a class with `operations() -> Sequence[Operation]`; `app.py` collects them. Parameters are in `params.py`.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.params import GIVEN, Parameter, known

Endpoint = Callable[[Request], Awaitable[Response]]

Schema = Mapping[str, Any]
"""A JSON Schema, where a msgspec Struct cannot say it."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """The JSON that a request must have as its body; read by its content, whatever media type it says that it is."""

    type: Any
    example: Any


@dataclass(frozen=True, kw_only=True)
class Link:
    """How an answer leads on: to the GET of a `path`, whose parameters are found in it by OpenAPI's runtime expressions."""

    path: str
    parameters: Mapping[str, str]
    description: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """What one method of one path does. Its endpoint's docstring is its summary, and what follows the description.

    `path` is Starlette's template. `answer` is the type of the JSON that comes with 200, a Struct or a Schema; None where it
    is no JSON. `forms` are the further media types of it, each with what such a text is. `statuses` are those that come beside
    200 and those that any request may get, each with when it comes; their bodies are problems, but for what `said` has: the
    type of the body of a status that is no problem. `headers` are those of the answer, by name, with what they say; `links` say
    what may be asked next. `scope` is "open", "read" or "write". `tag` groups operations: the stream's name, or "service".
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
    said: Mapping[int, Any] | None = None
    headers: Mapping[str, str] | None = None
    links: Mapping[str, Link] | None = None
    scope: str = ""

    @property
    def name(self) -> str:
        """A name of its own: the method and the path, as one word."""
        return operation_name(self.method, self.path)

    @property
    def needs(self) -> str:
        """The scope: as said, else `read` for a GET and `write` for any other method."""
        return self.scope or ("read" if self.method == "GET" else "write")

    @property
    def summary(self) -> str:
        """The first line of the endpoint's docstring."""
        return _documented(self.endpoint).partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """The whole of the endpoint's docstring."""
        return _documented(self.endpoint)

    async def respond(self, request: Request) -> Response:
        """Parse every parameter, then call the endpoint. Raises Problem 400 where one is unknown, given twice, or wrong."""
        known(request, [each.name for each in self.parameters if each.place == "query"])
        request.scope[GIVEN] = {each.name: each.parse(request) for each in self.parameters}
        return await self.endpoint(request)


class Family(Protocol):
    """The operations that belong together, such as those of one stream."""

    def operations(self) -> Sequence[Operation]:
        """Return the table."""


def routes(operations: Sequence[Operation]) -> list[Route]:
    """Return Starlette's routes, one a path, in the order in which the paths come first."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        methods = by_path.setdefault(operation.path, {})
        assert operation.method not in methods, f"{operation.method} {operation.path} is there twice"
        methods[operation.method] = operation
    return [Route(path, _by_method(methods), methods=list(methods)) for path, methods in by_path.items()]


def operation_name(method: str, path: str) -> str:
    """Return the name of the operation of a method and a path.

    >>> operation_name("GET", "/streams/{name}")
    'get-streams-name'
    """
    parts = path.replace("{", "").replace("}", "").split("/")
    return "-".join([method.lower(), *(list(filter(None, parts)) or ["root"])])


def _by_method(methods: Mapping[str, Operation]) -> Endpoint:
    """Return the endpoint of a path. HEAD is a GET whose body the server does not send."""

    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method].respond(request)

    return endpoint


def _documented(endpoint: Endpoint) -> str:
    text = inspect.getdoc(endpoint)
    assert text, f"{endpoint} says what it does"
    return text
