"""The HTTP server: uvicorn with the limits of `protocol.py`, and enough open files for the allowed connections."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import uvicorn.server
from starlette.types import ASGIApp
from uvicorn.config import Config

from gateway.wire.connections import Connections
from gateway.wire.guard import HEADERS
from gateway.wire.limits import Allowance
from gateway.wire.protocol import Connection

_RENDERING = 1
"""One thread for answers that are sorted or merged as a whole.

Under the GIL, more threads do not answer faster, and slow ingestion: with eight clients that asked for 100,000 ids all the
time, ingestion reached 2,200 records a second with six threads, 5,700 with two, and 12,600 with one.
"""

_DRAIN_S = 5
_BACKLOG = 4_096
"""Connections that may wait for `accept`; the system may allow fewer."""

_OTHER_FILES = 1_024
"""Files in addition to the connections: generations that are read from disk, and the Kafka clients."""


class Server(uvicorn.server.Server):
    """A uvicorn server that sweeps its connections. `connections` has the open ones, and the counts of cut ones.

    uvicorn itself looks ten times a second whether it is to stop. This one sleeps until a connection is due, for a second at
    most. `should_exit` wakes it, on any thread and in a signal's handler.
    """

    def __init__(self, config: Config, connections: Connections) -> None:
        self._exits = False
        self._wake: Callable[[], None] = lambda: None
        super().__init__(config)
        self.connections = connections
        self.at_start: list[Callable[[], None]] = []
        """Functions that are called on the event loop when the server starts."""
        self.at_end: list[Callable[[], None]] = []
        """Functions that end endless responses, so that stopping does not wait for them."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with one thread for answers that are not made on the event loop."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_RENDERING, thread_name_prefix="answers"))
        await super().startup(sockets)
        for begin in self.at_start:
            begin()

    @property
    def should_exit(self) -> bool:
        """Whether it is to stop."""
        return self._exits

    @should_exit.setter
    def should_exit(self, exits: bool) -> None:
        self._exits = exits
        self._wake()

    async def main_loop(self) -> None:
        """Sweep, and have uvicorn write the date anew, until it is to stop."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(woken.set)

        self._wake, self.connections.on_sooner = wake, woken.set
        while not await self.on_tick(0):
            woken.clear()
            timer = loop.call_later(self.connections.sweep(), woken.set)
            if not self.should_exit:  # it may have been set before `woken` was cleared
                await woken.wait()
            timer.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, and let the current responses finish."""
        for end in self.at_end:
            end()
        await super().shutdown(sockets)


def server(app: ASGIApp, allowance: Allowance) -> Server:
    """Return a server of `app` within the limits that `allowance` has at each moment. It logs no request."""
    connections = Connections(allowance, HEADERS)
    config = Config(
        app,
        http=cast("Any", partial(Connection, connections)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    return Server(config, connections)


def files_for(connections: int) -> str | None:
    """Raise the process's limit of open files to what `connections` need. Return the problem if the system forbids it."""
    needed = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == needed:
        return None
    return (
        f"http.max_connections: {connections} need {needed} open files, and the system allows {hard} (ulimit -Hn);"
        f" beyond about {max(0, hard - _OTHER_FILES)}, connections wait"
    )
