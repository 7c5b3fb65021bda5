"""HTTP/1.1 on one connection, with the limits that uvicorn's own protocol lacks: of headers, times and waiting requests.

A connection is always in one phase, and has one time of its next check. `Connections.sweep` makes all checks, so ten thousand
idle connections need no timer each. Requests are handled one at a time: the bytes of later requests wait, up to a limit.
No request is logged; cut connections are counted by reason.
"""

import asyncio
import enum
import socket
import struct
import time
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.api.errors import Problem
from gateway.wire.connections import SWEEP_S, Connections
from gateway.wire.framing import Framing

_AHEAD_BYTES = 65_536
"""Bytes of further requests that may wait behind the current one. Beyond that, nothing more is read."""

_LINGER_S = 2.0
"""Seconds for which further bytes of a client are discarded after its last response; an immediate close might destroy it."""

_RESET = struct.pack("ii", 1, 0)
"""The socket option to linger for no time: closing the socket resets the connection."""


class Phase(enum.Enum):
    """What a connection waits for."""

    HEADERS = "a request's line and headers"
    BODY = "the rest of a body; the application has the request already"
    ANSWER = "the application to respond, and the client to read the response"
    IDLE = "the next request"
    LEAVING = "the client to read the last response, and to disconnect"


class _Exit:
    """The transport that a response writes to: its bytes go through the connection, which counts them and closes later.

    The head of a response waits for the first bytes of the body until the event loop's next turn, so both are sent by one
    system call and wake the client once.
    """

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._head: bytes | None = None
        self.write = self._begin

    def _begin(self, data: bytes) -> None:
        """Take the first bytes of a response: its head."""
        self._head = data
        self.write = self._go_on
        asyncio.get_running_loop().call_soon(self.flush)

    def _go_on(self, data: bytes) -> None:
        """Write further bytes, behind the head if it still waits."""
        head, self._head = self._head, None
        self.write = self._connection.write
        self._connection.write(data if head is None else head + data)

    def flush(self) -> None:
        """Write the head if it still waits."""
        if self._head is not None:
            self._go_on(b"")

    def close(self) -> None:
        """Close the connection behind the response."""
        self.flush()
        self._connection.leave()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._connection.is_over


class Connection(HttpToolsProtocol):
    """One connection. If it breaks a limit, it gets 431, 408 or 400, unless a response has begun, and is cut.

    A request with a chunked body is the last one of its connection, because only the parser knows its end.
    """

    def __init__(
        self,
        all_of_them: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = all_of_them
        self.phase = Phase.HEADERS
        self.due = time.monotonic() + all_of_them.allowance.now.header_s
        self._idle_until = 0.0
        self._ahead = b""
        self._framing = Framing()
        self._last = False
        self._written = self._taken = 0
        self._taken_at = 0.0

    @property
    def due(self) -> float:
        """When it must be checked next."""
        return self._due

    @due.setter
    def due(self, due: float) -> None:
        self._due = due
        self._all.expect(due)

    # From the client -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        """Register the connection. If there are too many, send an error and close it."""
        super().connection_made(transport)
        self._all.open.add(self)
        most = self._all.allowance.now.max_connections
        if len(self._all.open) > most:
            expected = f"at most {most} connections"
            problem = Problem(503, where="service", expected=expected, got="one more", headers={"Retry-After": "1"})
            self._all.cut["one too many"] += 1
            self.write(self._all.farewell(problem))
            self.phase = Phase.LEAVING
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that its client is gone."""
        self._all.open.discard(self)
        self.phase = Phase.LEAVING
        self._ahead = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take further bytes. While a request is in progress, the bytes of the next one wait."""
        if self.phase is not Phase.LEAVING:
            self._ahead = self._ahead + data if self._ahead else data
            self._read()

    def _read(self) -> None:
        """Give the parser the waiting bytes, up to the end of one request."""
        data, self._ahead = self._ahead, b""
        view, at = memoryview(data), 0
        while at < len(data) and self.phase is not Phase.ANSWER:
            if self.phase is Phase.IDLE:
                self._framing.begin()
                self.phase, self.due = Phase.HEADERS, time.monotonic() + self._all.allowance.now.header_s
            if self.phase is Phase.HEADERS:
                end = self._framing.piece_of_headers(data, at)
                if self._framing.header_bytes > (most := self._all.allowance.now.max_header_bytes):
                    expected = f"a request line and headers of at most {most} bytes"
                    self._refuse("headers too long", Problem(431, where="headers", expected=expected, got="more"))
                    return
            else:
                end = self._framing.piece_of_body(data, at)
            if not self._parse(view[at:end]):
                return
            at = end
        self._ahead = data[at:]
        if len(self._ahead) > _AHEAD_BYTES:
            self.flow.pause_reading()

    def _parse(self, data: memoryview) -> bool:
        """Parse `data`; return whether to continue."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # a protocol upgrade follows; the request itself is answered as HTTP
        except httptools.HttpParserError:
            if self.phase is Phase.ANSWER:
                self._last = True  # the bytes behind a request do not make it wrong
            elif self.phase is not Phase.LEAVING:
                self._refuse("not HTTP", Problem(400, where="request", expected="HTTP/1.1", got="something else"))
            return False
        if self.phase is Phase.BODY and self._framing.is_padded:
            expected = "chunks of a body"
            self._refuse("chunks too small", Problem(400, where="body", expected=expected, got="mostly what is around them"))
        return self.phase is not Phase.LEAVING

    # From the parser -------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. A trailer behind a body is ignored."""
        if self.phase is Phase.HEADERS:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application on the request."""
        assert self.phase is Phase.HEADERS, "one request at a time"
        names = dict(self.headers)
        if names.get(b"upgrade", b"").lower() == b"websocket":
            expected = "none: there are no WebSockets here"
            self._refuse("WebSocket", Problem(400, where="header Upgrade", expected=expected, got="websocket"))
            return
        super().on_headers_complete()
        self._exit = _Exit(self)
        self.cycle.transport = cast("asyncio.Transport", self._exit)
        limits = self._all.allowance.now
        self._framing.begin_body(names, most_header_bytes=limits.max_header_bytes)
        self._last = self._last or self._framing.body_left is None
        self.phase, self.due = Phase.BODY, time.monotonic() + limits.body_s

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        if self.phase is Phase.BODY:
            self._framing.came(len(body))
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Start to wait for the response."""
        if self.phase is Phase.BODY:
            super().on_message_complete()
            self.phase, self._taken_at = Phase.ANSWER, time.monotonic()
            self.due = self._taken_at + SWEEP_S
            if self.cycle.response_complete:
                self._end_of_answer()

    # From the application --------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send `data`, unless the connection is at its end."""
        if not self.is_over:
            self._written += len(data)
            self.transport.write(data)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""
        return self.phase is Phase.LEAVING or self.transport.is_closing()

    def on_response_complete(self) -> None:
        """Continue with the next request. If only a small part of this request's body is missing, wait for it first."""
        self.server_state.total_requests += 1
        self._exit.flush()
        if self.phase is Phase.ANSWER:
            self._end_of_answer()
        elif self.phase is Phase.BODY:
            if (left := self._framing.body_left) is not None and left <= _AHEAD_BYTES:
                self.flow.resume_reading()
                self.due = time.monotonic() + _LINGER_S
            else:
                self.leave()

    def _end_of_answer(self) -> None:
        if self._last:
            self.leave()
            return
        self.phase = Phase.IDLE
        self._taken_at = time.monotonic()
        self._idle_until = self._taken_at + self._all.allowance.now.keep_alive_s
        self.due = self._taken_at + SWEEP_S if self._unsent() else self._idle_until
        self.flow.resume_reading()
        if self._ahead:
            self._read()

    # Time ------------------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close the connection if it has broken a limit of time, and set the next `due`."""
        limits = self._all.allowance.now
        match self.phase:
            case Phase.HEADERS if self._framing.header_bytes:
                expected = f"a request line and headers within {limits.header_s:g} s"
                self._refuse("headers too slow", Problem(408, where="headers", expected=expected, got="a part of them"))
            case Phase.HEADERS:
                self._cut("silent")
            case Phase.BODY if self.cycle.response_complete:
                self.leave()
            case Phase.BODY:
                expected = f"a body within {limits.body_s:g} s"
                self._refuse("body too slow", Problem(408, where="body", expected=expected, got="a part of it"))
            case _ if self._unsent():
                self._check_reader(now, limits.stall_s)
            case Phase.ANSWER:
                self._taken_at = now
                self.due = now + 2 * SWEEP_S
            case Phase.IDLE if now < self._idle_until:
                self.due = self._idle_until
            case Phase.IDLE | Phase.LEAVING:
                self.transport.abort()

    def _check_reader(self, now: float, stall_s: float) -> None:
        """Cut the connection if the client has read nothing for `stall_s` seconds."""
        taken = self._written - self._unsent()
        if taken != self._taken:
            self._taken, self._taken_at = taken, now
        if now + SWEEP_S >= self._taken_at + stall_s:
            self._cut("answer not taken")
        else:
            self.due = now + SWEEP_S

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    # The end ---------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Close the connection once everything is sent. If the client may still be sending, first discard its bytes for 2 s."""
        if self.phase is Phase.LEAVING:
            return
        sending = self.phase is not Phase.ANSWER or self._ahead or self._last
        self.phase, self._ahead = Phase.LEAVING, b""
        self._taken_at = time.monotonic()
        if sending:
            self.flow.resume_reading()
            self.transport.write_eof()
            self.due = self._taken_at + _LINGER_S
        else:
            self.transport.close()
            self.due = self._taken_at + SWEEP_S

    def shutdown(self) -> None:
        """Close because the server stops; a response in progress becomes the last one."""
        self._last = True
        if self.phase in {Phase.HEADERS, Phase.IDLE}:
            self.transport.close()
        elif self.phase is not Phase.LEAVING:
            self.cycle.keep_alive = False

    def _refuse(self, reason: str, problem: Problem) -> None:
        """Send `problem` as the last response, unless a response has begun; then leave."""
        if self.phase is Phase.BODY and self.cycle.response_started:
            self._cut(reason)
            return
        self._all.cut[reason] += 1
        self.write(self._all.farewell(problem))
        self._abandon()
        self.leave()

    def _cut(self, reason: str) -> None:
        """Close at once. Unsent bytes are discarded, in the system too, which would otherwise offer them for minutes."""
        self._all.cut[reason] += 1
        self._abandon()
        self.phase = Phase.LEAVING
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _abandon(self) -> None:
        """Tell the application that its client is gone."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
