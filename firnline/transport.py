"""HTTP requests on the standard library alone: address, token, retries and errors."""

import contextlib
import http.client
import json
import math
import os
import time
import urllib.parse
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

HERE = "http://127.0.0.1:8080"
"""The default address of a service."""

Time = int | float | date | timedelta | str
"""A time: a number in the stream's unit (of uniques and words: Unix seconds), a datetime with a zone, a date, a timedelta from
now, or text that the service reads, such as RFC 3339, 2026-11-28, now or -5m.
"""

WARNING = "Firnline-Warning"
STREAM, _VIEW = "Firnline-Stream", "Firnline-View"
_LATER = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE}
_LONGEST_WAIT_S = 30.0
PROBLEM_BYTES = 65_536
"""Bytes of an error that are read."""

Header = Callable[[str], str | None]
"""Returns a header of a response, or None."""


class FirnlineWarning(UserWarning):
    """The service does not know a parameter of the request, and has answered without it."""


class FirnlineError(Exception):
    """The base of all errors of a request."""


class UnreachableError(FirnlineError):
    """No service answers at the address, or the answer broke off."""


class RefusedError(FirnlineError):
    """The service refused the request with `status`: at `where` it `expected` one thing and `got` another.

    `request` is the id of the request in the service's log; None if the response has none. `wait_s` are the seconds after which
    the request may be sent again; None: it may not.
    """

    def __init__(
        self, status: int, *, where: str, expected: str, got: str, request: str | None, wait_s: float | None = None
    ) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.status = status
        self.where = where
        self.expected = expected
        self.got = got
        self.request = request
        self.wait_s = wait_s


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

    def headers(self, accept: str, body: bytes | None) -> dict[str, str]:
        """Return the headers of a request."""
        headers = {"Accept": accept, **({"Content-Type": "application/json"} if body is not None else {})}
        token = self._token or os.environ.get("FIRNLINE_TOKEN")
        return {**headers, "Authorization": f"Bearer {token}"} if token else headers

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
        target, headers = target_of(path, parameters), self.headers(accept, body)
        parts = self.address()
        host = str(parts.hostname)
        for left in reversed(range(self.tries if method != "POST" else 1)):  # the service may have taken it already
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            with contextlib.closing(kind(host, parts.port, timeout=self._timeout_s)) as connection:
                try:
                    connection.request(method, parts.path.rstrip("/") + target, body, headers)
                    response = connection.getresponse()
                    if warning := response.getheader(WARNING):
                        warnings.warn(warning, FirnlineWarning, stacklevel=2)
                    if response.status in well:
                        check_origin(response.getheader, of or {})
                        yield response
                        return
                    problem = problem_of(response.status, response.getheader, response.read(PROBLEM_BYTES))
                except (OSError, http.client.HTTPException) as error:
                    raise away(self.url, error) from error
            if not left or problem.wait_s is None:
                raise problem
            time.sleep(problem.wait_s)

    def json(self, path: str, parameters: Mapping[str, object] | None = None, **request: Any) -> Any:
        """Return the JSON of an answer. Raises as `ask` does."""
        with self.ask(path, parameters, **request) as response:
            return json.loads(response.read())


def target_of(path: str, parameters: Mapping[str, object] | None) -> str:
    """Return a path with its parameters; those that are None are left out."""
    given = {name: text(value) for name, value in (parameters or {}).items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(given)}" if given else path


def away(url: str, error: Exception) -> UnreachableError:
    """Return the error of a service that does not answer."""
    return UnreachableError(f"{url}: {str(error) or type(error).__name__}; is the service running?")


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
    return {STREAM: stream} if view is None else {STREAM: stream, _VIEW: view}


def check_origin(header: Header, of: Mapping[str, str]) -> None:
    """Raise RefusedError if the answer is from another stream or view. Older services do not name them."""
    found = {name: header(name) or wanted for name, wanted in of.items()}
    if found != of:
        raise RefusedError(
            http.client.NOT_FOUND,
            where=f"stream {of[STREAM]}",
            expected=f"a stream of the view {of[_VIEW]}" if _VIEW in of else "an answer of this stream",
            got=f"an answer of the stream {found[STREAM]}, of the view {header(_VIEW)}",
            request=header("X-Request-Id"),
        )


def problem_of(status: int, header: Header, content: bytes) -> RefusedError:
    """Return the error of a response with this status, which is not one of those that were expected."""
    try:
        body = json.loads(content)["error"]
        where, expected, got = str(body["where"]), str(body["expected"]), str(body["got"])
    except (ValueError, TypeError, KeyError):
        body, where, expected, got = {}, "service", "an answer of Firnline", f"status {status}"
    wait = header("Retry-After")
    wait_s = min(float(wait), _LONGEST_WAIT_S) if status in _LATER and wait is not None and wait.isdigit() else None
    request = body.get("request") or header("X-Request-Id")
    return RefusedError(status, where=where, expected=expected, got=got, request=request, wait_s=wait_s)
