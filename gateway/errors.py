"""Everything that a request can be told instead of an answer, in one JSON shape.

`{"error": {"status": 400, "where": "query startTime", "expected": "an integer", "got": "yesterday"}}`
"""

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler


class Problem(Exception):  # noqa: N818  # what a client is told; not every one is an error of ours
    """A request that cannot be answered: what was expected, what came instead, and where."""

    def __init__(self, status: int, *, where: str, expected: str, got: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.status = status
        self.where = where
        self.expected = expected
        self.got = got
        self.headers = headers

    def response(self) -> Response:
        """Write the one shape."""
        error = {"status": self.status, "where": self.where, "expected": self.expected, "got": self.got}
        body = msgspec.json.encode({"error": error})
        return Response(body, self.status, self.headers, media_type="application/json")


def busy(reason: str) -> Problem:
    """Return the problem of a request that was not taken in."""
    return Problem(503, where="service", expected="room for the request", got=reason, headers={"Retry-After": "1"})


def too_much(nbytes: int, free: int, retry_after_s: int) -> Problem:
    """Return the problem of a request whose answer takes more memory than there is for answers now."""
    expected = f"an answer within {max(0, free):,} bytes, which are free for it: a shorter range, a limit, or later"
    headers = {"Retry-After": str(retry_after_s)}
    return Problem(429, where="memory", expected=expected, got=f"up to {nbytes:,} bytes", headers=headers)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem), "registered for it alone"
    return error.response()


def _unrouted(paths: str) -> ExceptionHandler:
    async def respond(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for it alone"
        headers = dict(error.headers or {})
        if error.status_code == 405:
            problem = Problem(405, where="method", expected=headers.get("Allow", ""), got=request.method, headers=headers)
        else:
            problem = Problem(error.status_code, where="path", expected=paths, got=request.scope["path"], headers=headers)
        return problem.response()

    return respond


async def _unforeseen(request: Request, error: Exception) -> Response:
    kind = type(error).__name__
    return Problem(500, where=f"{request.method} {request.scope['path']}", expected="an answer", got=kind).response()


def handlers(paths: str) -> dict[type[Exception], ExceptionHandler]:
    """Return the table from exception to response; `paths` is what a wrong path is told to expect."""
    return {Problem: _problem, HTTPException: _unrouted(paths), Exception: _unforeseen}
