"""A TCP proxy in front of a Kafka broker. Its connections can be cut, refused and stalled while the broker stays well.

Loopback only. A broker sends its own address to its clients. The proxy replaces that address by its own, which has the same
length, so that any broker will do, whatever it advertises.
"""

import asyncio
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_PIECE = 1_024
"""Bytes that are passed on at once: a cut or a stall falls into the middle of a longer response."""

_LENGTH = struct.Struct(">i")
_LONGEST = 1 << 28
_GRACE_S = 5.0
_AGAIN_S = 0.1


class Proxy:
    """Passes connections on to `bootstrap`, from a free port. Any thread may use it. Call `close` at the end.

    `advertised` is the address, HOST:PORT, that the broker sends; its host must be one of loopback.
    Raises OSError if there is no free port.
    """

    def __init__(self, bootstrap: str, advertised: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._upstream = (host, int(port))
        told_host, _, told_port = advertised.rpartition(":")
        self._told = told_host.encode() + _LENGTH.pack(int(told_port))
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self.connections = 0
        """The number of connections that were passed on."""
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        own_port: int = self._server.sockets[0].getsockname()[1]
        self._own = told_host.encode() + _LENGTH.pack(own_port)
        self.bootstrap = f"127.0.0.1:{own_port}"

    def cut(self, *, refuse: bool) -> None:
        """Reset every connection at once. With `refuse`, reset new ones too, until `mend`."""
        self._refusing = refuse
        self._loop.call_soon_threadsafe(self._reset)

    def stall(self) -> None:
        """Keep every connection open, and pass nothing on, until `mend`."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Pass everything on again."""
        self._refusing = False
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """Reset every connection, and close the port."""
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _shut(self) -> None:
        """Close both sides of every connection, also of those that are just accepted."""
        self._refusing = True
        self._server.close()
        self._open.set()
        deadline = self._loop.time() + _GRACE_S
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and self._loop.time() < deadline:
            self._reset()
            await asyncio.wait(tasks, timeout=_AGAIN_S)
        await asyncio.sleep(0)  # a transport closes its socket in the next round of the loop

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, until either side ends it."""
        if self._refusing:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:  # the broker is away, so the proxy is too
            writer.transport.abort()
            return
        self.connections += 1
        mine = {writer, up_writer}
        self._writers |= mine
        passing = [
            asyncio.create_task(self._requests(reader, up_writer)),
            asyncio.create_task(self._responses(up_reader, writer)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in passing:
                each.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            self._writers -= mine
            for each_writer in mine:
                each_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(_PIECE):
            await self._open.wait()
            writer.write(block)
            await writer.drain()

    async def _responses(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass whole responses on, because an address may stand anywhere in one: four bytes of length, then that many bytes."""
        while True:
            head = await reader.readexactly(_LENGTH.size)
            length = _LENGTH.unpack(head)[0]
            if not 0 <= length < _LONGEST:
                raise ValueError(f"expected a Kafka response, which begins with its length, got {length}")
            response = head + (await reader.readexactly(length)).replace(self._told, self._own)
            for low in range(0, len(response), _PIECE):
                await self._open.wait()
                writer.write(response[low : low + _PIECE])
                await writer.drain()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the proxy's own thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)
