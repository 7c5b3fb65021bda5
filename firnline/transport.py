"""HTTP requests on the standard library alone: address, token, retries and errors."""

import contextlib
import http.client
import json
import math
import os
import time
import urllib.parse
import warnings
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

HERE = "http://127.0.0.1:8080"
"""The default address of a service."""

Time = int | float | date | timedelta | str
"""A time: a number in the stream's unit (of uniques and words: Unix seconds), a datetime with a zone, a date, a timedelta from
now, or text that the service reads, such as RFC 3339, 2026-11-28, now or -5m.
"""

_WARNING = "Firnline-Warning"
_STREAM, _VIEW = "Firnline-Stream", "Firnline-View"
_LATER = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE}
_LONGEST_WAIT_S = 30.0
_PROBLEM_BYTES = 65_536


class FirnlineWarning(UserWarning):
    """The service does not know a parameter of the request, and has answered without it."""


class FirnlineError(Exception):
    """The base of all errors of a request."""


class UnreachableError(FirnlineError):
    """No service answers at the address, or the answer broke off."""


class RefusedError(FirnlineError):
    """The service refused the request with `status`: at `where` it `expected` one thing and `got` another.

    `request` is the id of the request in the service's log; None if the response has none.
    """

    def __init__(self, status: int, *, where: str, expected: str, got: str, request: str | None) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.status = status
        self.where = where
        self.expected = expected
        self.got = got
        self.request = request


class Transport:
    """Requests to the service at `url` with `token`; their defaults are FIRNLINE_URL and FIRNLINE_TOKEN.

    A request waits at most `timeout_s` for the next bytes. If the service is busy it is sent again, up to `tries` times in all,
    unless it is a POST. Threads may share a transport, because each request has its own connection.
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
        """Return the parts of the address. Raises ValueError if it is not one."""
        with contextlib.suppress(ValueError):  # the library's message does not contain the address
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
        of: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the response to a request before its body is read. Parameters that are None are left out.

        Issues a FirnlineWarning if the service does not know a parameter.
        Raises RefusedError for a status that is not in `well` and for an answer that is not `of` this stream and view,
        UnreachableError if there is no answer or it breaks off, and ValueError for a wrong address.
        """
        given = {name: text(value) for name, value in (parameters or {}).items() if value is not None}
        target = f"{path}?{urllib.parse.urlencode(given)}" if given else path
        headers = {"Accept": accept, **({"Content-Type": "application/json"} if body is not None else {})}
        token = self._token or os.environ.get("FIRNLINE_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        parts = self.address()
        host = str(parts.hostname)
        for left in reversed(range(self.tries if method != "POST" else 1)):  # the service may have taken it already
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            with contextlib.closing(kind(host, parts.port, timeout=self._timeout_s)) as connection:
                try:
                    connection.request(method, parts.path.rstrip("/") + target, body, headers)
                    response = connection.getresponse()
                    if warning := response.getheader(_WARNING):
                        warnings.warn(warning, FirnlineWarning, stacklevel=2)
                    if response.status in well:
                        _check_origin(response, of or {})
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
    """Write a parameter. Raises ValueError for a datetime without a time zone."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"a time with a zone was expected, got {value}")
        return value.isoformat()
    if isinstance(value, timedelta):
        length = abs(value)
        return f"{'-' if value < timedelta() else '+'}{length.days}d{length.seconds}s{length.microseconds}us"
    if isinstance(value, float) and math.isfinite(value):
        return f"{Decimal(repr(value)):f}"  # without an exponent
    return str(value)


def origin(stream: str, view: str | None = None) -> dict[str, str]:
    """Return the headers by which an answer names its stream and its view; without `view`, of any view."""
    return {_STREAM: stream} if view is None else {_STREAM: stream, _VIEW: view}


def _check_origin(response: http.client.HTTPResponse, of: Mapping[str, str]) -> None:
    """Raise RefusedError if the answer is from another stream or view. Older services do not name them."""
    found = {name: response.getheader(name, wanted) for name, wanted in of.items()}
    if found != of:
        view = response.getheader(_VIEW)
        raise RefusedError(
            http.client.NOT_FOUND,
            where=f"stream {of[_STREAM]}",
            expected=f"a stream of the view {of[_VIEW]}" if _VIEW in of else "an answer of this stream",
            got=f"an answer of the stream {found[_STREAM]}, of the view {view}",
            request=response.getheader("X-Request-Id"),
        )


def _problem(response: http.client.HTTPResponse) -> RefusedError:
    try:
        body = json.loads(response.read(_PROBLEM_BYTES))["error"]
        where, expected, got = str(body["where"]), str(body["expected"]), str(body["got"])
    except (ValueError, TypeError, KeyError):
        body, where, expected, got = {}, "service", "an answer of Firnline", f"status {response.status}"
    request = body.get("request") or response.getheader("X-Request-Id")
    return RefusedError(response.status, where=where, expected=expected, got=got, request=request)
