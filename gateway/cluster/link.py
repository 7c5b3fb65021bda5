"""One connection to another process, for one request at a time, by callbacks. A task and a stream cost more than twice as much.

It reads only what the gateway of another process writes: an answer with a length, or one without a body.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

_HEAD_BYTES = 65_536
_NO_BODY = 204


class Reply(NamedTuple):
    """An answer over HTTP. The names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Link(asyncio.Protocol):
    """A connection. An answer has at most `most_bytes`. For one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._transport: asyncio.Transport | None = None
        self._heard: Callable[[Reply | OSError], None] | None = None
        self._found = bytearray()
        self._head: tuple[int, dict[str, str], int, int] | None = None
        self.open = False
        """Whether a further request can be sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def ask(self, request: bytes, heard: Callable[[Reply | OSError], None]) -> None:
        """Send a request; `heard` gets the answer, or the reason without one: a ConnectionError if the connection has ended.

        It is called once, or never after `close`.
        """
        assert self._transport is not None, "a connection that was made"
        assert self._heard is None, "one request at a time"
        self._heard = heard
        self._transport.write(request)

    def close(self) -> None:
        """End the connection. An answer under way is not heard."""
        self._heard = None
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes of an answer."""
        if self._heard is None:  # it was not asked: the other side says that it ends, or is no gateway
            self.close()
            return
        self._found += data
        try:
            reply = self._whole()
        except (ValueError, LookupError) as error:
            self._end(OSError(f"no answer of a gateway: {error}"))
            return
        if reply is not None:
            self._found, self._head = bytearray(), None
            heard, self._heard = self._heard, None
            if reply.headers.get("connection", "").lower() == "close":
                self.close()
            heard(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._end(exc if isinstance(exc, ConnectionError) else ConnectionResetError(str(exc or "the connection was closed")))

    def _end(self, error: OSError) -> None:
        heard = self._heard
        self.close()
        if heard is not None:
            heard(error)

    def _whole(self) -> Reply | None:
        """Return the answer once it is whole. Raises ValueError or LookupError if it is no answer, or too long."""
        if self._head is None:
            end = self._found.find(b"\r\n\r\n", 0, _HEAD_BYTES)
            if end < 0:
                if len(self._found) >= _HEAD_BYTES:
                    raise ValueError("its headers are too long")
                return None
            first, *lines = self._found[:end].decode("latin-1").split("\r\n")
            status = int(first.split(" ")[1])
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            length = 0 if status == _NO_BODY else int(headers["content-length"])
            if not 0 <= length <= self._most_bytes:
                raise ValueError(f"an answer of {length} bytes, more than {self._most_bytes}")
            self._head = status, headers, end + 4, length
        status, headers, start, length = self._head
        if len(self._found) < start + length:
            return None
        if len(self._found) > start + length:
            raise ValueError("bytes behind an answer")
        with memoryview(self._found) as found:
            return Reply(status, headers, bytes(found[start:]))
