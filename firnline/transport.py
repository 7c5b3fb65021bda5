"""One HTTP request after the other, on the standard library alone: where to, who asks, when to try again, what went wrong."""

import contextlib
import http.client
import json
import os
import time
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

HERE = "http://127.0.0.1:8080"
"""Where a service is looked for that nobody names."""

Time = int | datetime | str
"""A time: a number in the stream's unit (of uniques and words: Unix seconds), a datetime with a zone, or RFC 3339 text."""

_LATER = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE}
_LONGEST_WAIT_S = 30.0
_TOLD_BYTES = 65_536


class FirnlineError(Exception):
    """Anything that goes wrong with a request."""


class UnreachableError(FirnlineError):
    """No service answers there, or it stopped in the middle of an answer."""


class RefusedError(FirnlineError):
    """A request that the service does not answer: its `status`, and that `where` it `expected` one thing and `got` another.

    `request` is the id by which the service knows it, None where it gave none.
    """

    def __init__(self, status: int, *, where: str, expected: str, got: str, request: str | None) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.status = status
        self.where = where
        self.expected = expected
        self.got = got
        self.request = request


class Transport:
    """Requests to the service at `url`, with `token` where not None; where not given, FIRNLINE_URL and FIRNLINE_TOKEN say them.

    Each waits at most `timeout_s` for the next bytes. One that is told to come later is sent again, `tries` times in all, but
    for a POST. Safe to share between threads: each request has a connection of its own.
    """

    def __init__(self, url: str | None, token: str | None, timeout_s: float, tries: int) -> None:
        self._url = url
        self._token = token
        self._timeout_s = timeout_s
        self.tries = tries

    @property
    def url(self) -> str:
        """The service's address."""
        url = self._url or os.environ.get("FIRNLINE_URL") or HERE
        return url if "//" in url else f"http://{url}"

    def address(self) -> urllib.parse.SplitResult:
        """Return the address in its parts. Raises ValueError where it is none."""
        with contextlib.suppress(ValueError):  # of the library's, which does not say what came
            parts = urllib.parse.urlsplit(self.url)
            if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
                return parts
        raise ValueError(f"an address such as {HERE} was expected, got {self.url!r}")

    @contextlib.contextmanager
    def ask(
        self,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        accept: str = "application/json",
        well: Collection[int] = (http.client.OK,),
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the response to a request, its body not read; parameters that are None are left out.

        Raises RefusedError for a status that is not `well`, UnreachableError where there is no answer or it breaks off, and
        ValueError for an address that is none.
        """
        given = {name: text(value) for name, value in (parameters or {}).items() if value is not None}
        target = f"{path}?{urllib.parse.urlencode(given)}" if given else path
        headers = {"Accept": accept, **({"Content-Type": "application/json"} if body is not None else {})}
        token = self._token or os.environ.get("FIRNLINE_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        parts = self.address()
        host = str(parts.hostname)
        for left in reversed(range(self.tries if method != "POST" else 1)):  # one that was taken must not come twice
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            with contextlib.closing(kind(host, parts.port, timeout=self._timeout_s)) as connection:
                try:
                    connection.request(method, parts.path.rstrip("/") + target, body, headers)
                    response = connection.getresponse()
                    if response.status in well:
                        yield response
                        return
                    wait = response.getheader("Retry-After")
                    problem = _problem(response)
                except (OSError, http.client.HTTPException) as error:
                    raise UnreachableError(
                        f"{self.url}: {str(error) or type(error).__name__}; is the service running?"
                    ) from error
            if not left or problem.status not in _LATER or wait is None or not wait.isdigit():
                raise problem
            time.sleep(min(float(wait), _LONGEST_WAIT_S))

    def json(self, path: str, parameters: Mapping[str, object] | None = None, **request: Any) -> Any:
        """Return the JSON of an answer. Raises as `ask` does."""
        with self.ask(path, parameters, **request) as response:
            return json.loads(response.read())


def text(value: object) -> str:
    """Write a parameter. Raises ValueError for a time without a zone, as nobody knows when that is."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"a time with a zone was expected, got {value}")
        return value.isoformat()
    return str(value)


def _problem(response: http.client.HTTPResponse) -> RefusedError:
    try:
        told = json.loads(response.read(_TOLD_BYTES))["error"]
        where, expected, got = str(told["where"]), str(told["expected"]), str(told["got"])
    except (ValueError, TypeError, KeyError):
        told, where, expected, got = {}, "service", "an answer of Firnline", f"status {response.status}"
    request = told.get("request") or response.getheader("X-Request-Id")
    return RefusedError(response.status, where=where, expected=expected, got=got, request=request)
