"""Every error that a request may get, in one JSON shape.

`{"error": {"status": 400, "where": "query limit", "expected": "an integer", "got": "'ten'", "request": "5f1c…"}}`
"""

import difflib
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from actors.replies import Busy, Lasting, Unacceptable, Unanswerable
from gateway.wire.request_id import HEADER, request_id

_SHOWN = 200

_REFUSED: dict[Lasting, tuple[int, str]] = {
    "forbidden": (403, "the right to WRITE, which the service lacks"),
    "too large": (413, "records that the topic takes"),
    "invalid": (422, "records that the topic takes"),
}


class Problem(Exception):  # noqa: N818  # a response to a client, not always an error of the service
    """A request that cannot be answered: what was expected, what came instead, and in which part of the request."""

    def __init__(self, status: int, *, where: str, expected: str, got: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.status = status
        self.where = where
        self.expected = expected
        self.got = got
        self.headers = headers

    def response(self, scope: MutableMapping[str, Any]) -> Response:
        """Return the body of the error for the request of this ASGI scope."""
        own = request_id(scope)
        error = {"status": self.status, "where": self.where, "expected": self.expected, "got": self.got, "request": own}
        body = msgspec.json.encode({"error": error})
        return Response(body, self.status, {**(self.headers or {}), HEADER: own}, media_type="application/json")


class NoReply(Problem):
    """The actor has the request, and has not replied in time. It may still do what the request asks for."""


def shown(text: str) -> str:
    """Return a text of the client for display; a long text is cut off."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def bad(name: str, expected: str, got: str, status: int = 400) -> Problem:
    """Return the problem of a query parameter. A long value or name is cut off."""
    return Problem(status, where=f"query {shown(name)}", expected=expected, got=shown(got))


def busy(reason: str, kind: type[Problem] = Problem) -> Problem:
    """Return the problem of a request that an actor did not take in, or not answer in time."""
    return kind(503, where="service", expected="room for the request", got=reason, headers={"Retry-After": "1"})


def too_much(nbytes: int, free: int, retry_after_s: int) -> Problem:
    """Return the problem of a request whose answer, or body, needs more memory than is free for answers now."""
    expected = f"at most {max(0, free):,} bytes, which are free for it: a shorter range or body, a limit, or later"
    headers = {"Retry-After": str(retry_after_s)}
    return Problem(429, where="memory", expected=expected, got=f"up to {nbytes:,} bytes", headers=headers)


def not_taken(reply: Busy) -> Problem:
    """Return the problem of a request that was refused as a whole.

    A status of 403, 413 or 422 if Kafka would refuse it again, 409 if it has no answer, also later, else 503.
    """
    if isinstance(reply, Unanswerable):
        return Problem(409, where="stream", expected="records whose answer the shards of a cluster can join", got=reply.reason)
    if not isinstance(reply, Unacceptable):
        return busy(reply.reason)
    status, expected = _REFUSED[reply.kind]
    return Problem(status, where="topic", expected=expected, got=reply.reason)


def near(name: str, names: Sequence[str], otherwise: str) -> str:
    """Return `otherwise`, or the one of `names` that was probably meant.

    >>> near("/events/get-set", ["/events/get-sets", "/livez"], "a path")
    '/events/get-sets, perhaps'
    """
    found = difflib.get_close_matches(name[:_SHOWN], names, n=2)
    return " or ".join(found) + ", perhaps" if found else otherwise


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem), "registered for it alone"
    return error.response(request.scope)


Missing = tuple[Callable[[str], bool], Callable[[Request], Response]]
"""Whether an Accept header prefers HTML, and what makes the page for a path that does not exist."""


def _unrouted(paths: Sequence[str], missing: Missing | None) -> ExceptionHandler:
    async def respond(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for it alone"
        if missing is not None and error.status_code == 404 and missing[0](request.headers.get("accept", "")):
            return missing[1](request)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            problem = Problem(405, where="method", expected=headers.get("Allow", ""), got=request.method, headers=headers)
        else:
            path = request.scope["path"]
            expected = near(path, paths, "one of the paths that / lists")
            problem = Problem(error.status_code, where="path", expected=expected, got=path[:_SHOWN], headers=headers)
        return problem.response(request.scope)

    return respond


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    """Respond to a client that left in the middle of a body, or was cut off there.

    Only the counters of requests see this response.
    """
    return Problem(408, where="body", expected="the whole of it", got="a part of it").response(request.scope)


async def _unforeseen(request: Request, error: Exception) -> Response:
    where = f"{request.method} {request.scope['path'][:_SHOWN]}"
    return Problem(500, where=where, expected="an answer", got=type(error).__name__).response(request.scope)


def handlers(paths: Sequence[str], missing: Missing | None = None) -> dict[type[Exception], ExceptionHandler]:
    """Return the table from exception to response. `paths` are the paths of the service, `missing` has the page for others."""
    return {Problem: _problem, HTTPException: _unrouted(paths, missing), ClientDisconnect: _gone, Exception: _unforeseen}
