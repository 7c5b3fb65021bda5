"""All connections of the server: the open ones, their limit, and the counts of those that were cut, by reason."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.api.errors import Problem
from gateway.wire.limits import Allowance

SWEEP_S = 0.2
"""Seconds between two sweeps, and so the precision of all limits of time."""


class Guest(Protocol):
    """A connection, as the sweep and a response use it."""

    due: float

    def look(self, now: float) -> None:
        """Do what is due, and return the time of the next look."""

    def write(self, data: bytes) -> None:
        """Send, unless the connection is at its end."""

    def leave(self) -> None:
        """Close once all bytes are sent."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""


class Exit:
    """Stands in for the transport of a response, so that the connection sees the bytes, and closes in its own way."""

    __slots__ = ("_guest",)

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def write(self, data: bytes) -> None:
        """Send."""
        self._guest.write(data)

    def close(self) -> None:
        """Close the connection once all bytes are sent."""
        self._guest.leave()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._guest.is_over


class Connections:
    """The open connections, and how many were cut for each reason. For one event loop.

    `headers` are added to the errors that the server sends without the application.
    """

    def __init__(self, allowance: Allowance, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.allowance = allowance
        self.open: set[Guest] = set()
        self.cut: Counter[str] = Counter()
        self._headers = headers

    def sweep(self) -> None:
        """Look at each connection whose time has come. Cost: one comparison for each other connection, 0.5 ms for 10,000."""
        now = time.monotonic()
        for guest in [each for each in self.open if each.due <= now]:
            guest.look(now)

    def farewell(self, problem: Problem) -> bytes:
        """Write a problem as the last response of a connection."""
        response = problem.response({"headers": []})
        lines = [STATUS_LINE[problem.status]]
        for name, value in (*self._headers, *response.raw_headers, (b"connection", b"close")):
            lines += [name, b": ", value, b"\r\n"]
        return b"".join((*lines, b"\r\n", bytes(response.body)))
