"""The errors of a request: what a service refuses, and a service that does not answer."""

import http.client
import json
from collections.abc import Callable

Header = Callable[[str], str | None]
"""Returns a header of a response, or None."""

PROBLEM_BYTES = 65_536
"""Bytes of an error that are read."""

_LATER = {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE}
_LONGEST_WAIT_S = 30.0


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


def away(url: str, error: Exception) -> UnreachableError:
    """Return the error of a service that does not answer."""
    return UnreachableError(f"{url}: {str(error) or type(error).__name__}; is the service running?")


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
