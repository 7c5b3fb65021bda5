"""HTTP requests on the standard library alone: address, token, retries and errors."""

import contextlib
import http.client
import json
import math
import os
import time
import urllib.parse
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from firnline.origin import Origin, is_missing
from firnline.problems import PROBLEM_BYTES, FirnlineWarning, RefusedError, away, problem_of

HERE = "http://127.0.0.1:8080"
"""The default address of a service."""

Time = int | float | date | timedelta | str
"""A time: a number in the stream's unit (of uniques and words: Unix seconds), a datetime with a zone, a date, a timedelta from
now, or text that the service reads, such as RFC 3339, 2026-11-28, now or -5m.
"""

WARNING = "Firnline-Warning"
"""The header with what a service says about an answer that it gave all the same."""


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
        self._meant: dict[Origin, Origin] = {}

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
        of: Origin | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the response to a request before its body is read. Parameters that are None are left out.

        If the stream of `of` is not given and absent, the request goes to the stream that is meant, see `Origin`.
        Issues a FirnlineWarning if the service does not know a parameter.
        Raises RefusedError for a status that is not in `well` and for an answer that is not `of` this stream and view,
        UnreachableError if there is no answer or it breaks off, and ValueError for a wrong address.
        """
        meant = self.meant(of)
        target, headers = target_of(self.path(path, of), parameters), self.headers(accept, body)
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
                    problem: RefusedError | None
                    if response.status in well:
                        problem = meant.other(response.getheader) if meant is not None else None
                        if problem is None:
                            yield response
                            return
                    else:
                        problem = problem_of(response.status, response.getheader, response.read(PROBLEM_BYTES))
                except (OSError, http.client.HTTPException) as error:
                    raise away(self.url, error) from error
            if of is not None and meant is not None and is_missing(problem):
                if self.note_meant(of, self.json("/streams")["streams"])["name"] == meant.stream:
                    raise problem
                with self.ask(path, parameters, method=method, body=body, accept=accept, well=well, of=of) as response:
                    yield response
                return
            if not left or problem.wait_s is None:
                raise problem
            time.sleep(problem.wait_s)

    def meant(self, of: Origin | None) -> Origin | None:
        """Return the stream that is meant, as far as that is known."""
        return None if of is None else self._meant.get(of, of)

    def path(self, path: str, of: Origin | None) -> str:
        """Return the path of the stream that is meant."""
        meant = self.meant(of)
        return path if of is None or meant is None else of.renamed(path, meant)

    def stream(self, of: Origin) -> Any:
        """Return the state of the stream that is meant, as `/streams` has it. Raises RefusedError if it is absent.

        Asks for all streams only if no stream has this name and view, because a stream that does not reply delays that list.
        """
        try:
            found = self.json(self.state_path(of))
        except RefusedError as error:
            if not is_missing(error):
                raise
        else:
            if of.view in {None, found["view"]}:
                return self.note_meant(of, [found])
        return self.note_meant(of, self.json("/streams")["streams"])

    def state_path(self, of: Origin) -> str:
        """Return the path of the state of the stream that is meant, as far as that is known."""
        return f"/streams/{urllib.parse.quote(self._meant.get(of, of).stream, safe='')}"

    def note_meant(self, of: Origin, streams: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Remember which of these streams is meant, and return its state. Raises RefusedError if it is absent."""
        self._meant[of] = found = of.among(streams)
        return next(each for each in streams if each["name"] == found.stream)

    def json(self, path: str, parameters: Mapping[str, object] | None = None, **request: Any) -> Any:
        """Return the JSON of an answer. Raises as `ask` does."""
        with self.ask(path, parameters, **request) as response:
            return json.loads(response.read())


def target_of(path: str, parameters: Mapping[str, object] | None) -> str:
    """Return a path with its parameters; those that are None are left out."""
    given = {name: text(value) for name, value in (parameters or {}).items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(given)}" if given else path


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
