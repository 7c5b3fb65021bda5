"""All connections of the server: the open ones, their limit, and the counts of those that were cut, by reason."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.api.errors import Problem
from gateway.wire.limits import Allowance

SWEEP_S = 0.2
"""Seconds between two sweeps at least, and so the precision of all limits of time."""

REST_S = 1.0
"""Seconds between two sweeps at most."""


class Checked(Protocol):
    """A connection, as the sweep sees it."""

    due: float
    """When it must be checked next: a time of `time.monotonic`."""

    def check(self, now: float) -> None:
        """Close the connection if it has broken a limit of time, and set the next `due`."""


class Connections:
    """The open connections, and how many were cut for each reason. For one event loop.

    `headers` are added to the errors that the server sends without the application.
    """

    def __init__(self, allowance: Allowance, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.allowance = allowance
        self.open: set[Checked] = set()
        self.cut: Counter[str] = Counter()
        self._headers = headers
        self._sweeps_at = math.inf
        self.on_sooner: Callable[[], None] = lambda: None
        """Called if the next sweep would come too late."""

    def expect(self, due: float) -> None:
        """Sweep soon after `due`: a connection is to be checked then."""
        if due < self._sweeps_at - SWEEP_S:
            self.on_sooner()

    def sweep(self) -> float:
        """Check each connection that is due, and return the seconds until the next sweep.

        Cost: two comparisons for each other connection, 1 ms for 10,000.
        """
        now = time.monotonic()
        for connection in [each for each in self.open if each.due <= now]:
            connection.check(now)
        self._sweeps_at = max(now + SWEEP_S, min((each.due for each in self.open), default=math.inf))
        self._sweeps_at = min(self._sweeps_at, now + REST_S)
        return self._sweeps_at - now

    def farewell(self, problem: Problem) -> bytes:
        """Write a problem as the last response of a connection."""
        response = problem.response({"headers": []})
        lines = [STATUS_LINE[problem.status]]
        for name, value in (*self._headers, *response.raw_headers, (b"connection", b"close")):
            lines += [name, b": ", value, b"\r\n"]
        return b"".join((*lines, b"\r\n", bytes(response.body)))
