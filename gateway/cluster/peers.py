"""Questions to the other processes of a cluster, over kept connections, on an event loop with a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from actors.cluster.messages import Place
from gateway.cluster.door import ALIVE, ASK, FIGURES, PROOF
from gateway.cluster.proof import proof_of, proves

_MOST_KEPT = 8
"""Free connections to one process at most."""

_HEAD_BYTES = 65_536

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpPeers:
    """Asks other processes with the shared `secret`. An answer has at most `most_bytes`."""

    def __init__(self, secret: bytes, most_bytes: int) -> None:
        self._secret = secret
        self._most_bytes = most_bytes
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free: dict[tuple[str, int], list[Connection]] = {}
        threading.Thread(target=self._loop.run_forever, name="peers", daemon=True).start()

    def ask(self, place: Place, body: bytes, timeout_s: float, done: Callable[[bytes | OSError], None]) -> None:
        """Send a question; `done` gets the bytes of the answer on the loop's thread, or the reason without one."""
        self._loop.call_soon_threadsafe(self._start, self._asked(ASK, place, body, timeout_s, done))

    def figures(self, place: Place, body: bytes, timeout_s: float, done: Callable[[bytes | OSError], None]) -> None:
        """Ask for the figures of a stream's shards, as `ask` does."""
        self._loop.call_soon_threadsafe(self._start, self._asked(FIGURES, place, body, timeout_s, done))

    def probe(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        """Ask whether the process answers at all; `done` gets the reply on the loop's thread."""
        self._loop.call_soon_threadsafe(self._start, self._probed(place, timeout_s, done))

    def close(self) -> None:
        """Stop the loop. Questions under way get no reply."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself has weak references only
        task.add_done_callback(self._tasks.discard)

    async def _asked(
        self, path: str, place: Place, body: bytes, timeout_s: float, done: Callable[[bytes | OSError], None]
    ) -> None:
        proof = proof_of(self._secret, f"question {path}", body)
        head = f"POST {path} HTTP/1.1\r\nHost: {place.host}\r\n{PROOF}: {proof}\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(timeout_s):
                status, headers, answer = await self._sent(place, head.encode() + body)
        except TimeoutError:
            done(TimeoutError("no answer in time"))
            return
        except (OSError, EOFError, ValueError, LookupError, asyncio.LimitOverrunError) as error:
            done(OSError(str(error)))
            return
        if status != 200 or not proves(self._secret, headers.get(PROOF, ""), "answer", proof.encode(), answer):
            done(PermissionError(f"status {status}, or a wrong proof: the secrets may differ"))
        else:
            done(answer)

    async def _probed(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        head = f"GET {ALIVE} HTTP/1.1\r\nHost: {place.host}\r\n\r\n"
        try:
            async with asyncio.timeout(timeout_s):
                status, _, _ = await self._sent(place, head.encode())
        except (OSError, EOFError, ValueError, LookupError, asyncio.LimitOverrunError):  # a TimeoutError is an OSError
            done(False)
        else:
            done(status == 204)

    async def _sent(self, place: Place, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request over a kept connection, or a new one if the other side has closed that."""
        free = self._free.setdefault((place.host, place.port), [])
        while free:
            connection = free.pop()
            try:
                return await self._over(connection, request, free)
            except (OSError, EOFError):
                continue
        connection = await asyncio.open_connection(place.host, place.port, limit=_HEAD_BYTES)
        return await self._over(connection, request, free)

    def _allowed(self, length: int) -> int:
        """Return the length of an answer. Raises ValueError if it is too long."""
        if length > self._most_bytes:
            raise ValueError(f"an answer of {length} bytes, more than {self._most_bytes}")
        return length

    async def _over(self, connection: Connection, request: bytes, free: list[Connection]) -> tuple[int, dict[str, str], bytes]:
        reader, writer = connection
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            pairs = (line.partition(":") for line in head[1:] if line)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            length = 0 if status == 204 else int(headers["content-length"])
            body = await reader.readexactly(self._allowed(length))
        except BaseException:
            writer.close()
            raise
        if len(free) < _MOST_KEPT and headers.get("connection", "").lower() != "close":
            free.append(connection)
        else:
            writer.close()
        return status, headers, body
