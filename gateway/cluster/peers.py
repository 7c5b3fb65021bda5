"""Questions to the other processes of a cluster, over kept connections, on an event loop with a thread of its own."""

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import MsgspecError
from uvicorn.loops.auto import auto_loop_factory

from actors.cluster.gatherer import Told
from actors.cluster.messages import Place
from actors.cluster.parcels import apart, together
from gateway.cluster.door import ALIVE, ASK, ASK_EACH, FIGURES, PROOF
from gateway.cluster.link import Link, Reply
from gateway.cluster.proof import proof_of, proves

_MOST_KEPT = 8
"""Free connections to one process at most."""

_DONE, _NOTHING = 200, 204
_END_S = 1.0


class HttpPeers:
    """Asks other processes with the shared `secret`. An answer has at most `most_bytes`."""

    def __init__(self, secret: bytes, most_bytes: int) -> None:
        self._secret = secret
        self._loop = auto_loop_factory()()
        self._pool = _Pool(self._loop, most_bytes)
        self._begun: deque[tuple[_Exchange, float]] = deque()
        self._woken = False
        self._thread = threading.Thread(target=self._run, name="peers", daemon=True)
        self._thread.start()

    def ask(self, place: Place, bodies: Sequence[bytes], timeout_s: float, done: Callable[[Told], None]) -> None:
        """Send questions to shards of one process; `done` gets the answers on the loop's thread, or the reason without them.

        Several are one request. A process that does not know it gives no answers.
        """
        if len(bodies) == 1:
            self._ask(
                ASK, place, bodies[0], timeout_s, lambda answer: done(answer if isinstance(answer, OSError) else [answer])
            )
            return

        def told(answer: bytes | OSError) -> None:
            done(answer if isinstance(answer, OSError) else _pieces_of(answer, len(bodies)))

        self._ask(ASK_EACH, place, together(bodies), timeout_s, told)

    def figures(self, place: Place, body: bytes, timeout_s: float, done: Callable[[bytes | OSError], None]) -> None:
        """Ask for the figures of a stream's shards, as `ask` does."""
        self._ask(FIGURES, place, body, timeout_s, done)

    def probe(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        """Ask whether the process answers at all; `done` gets the reply on the loop's thread."""
        request = f"GET {ALIVE} HTTP/1.1\r\nHost: {place.host}\r\n\r\n".encode()

        def heard(reply: Reply | OSError) -> None:
            done(isinstance(reply, Reply) and reply.status == _NOTHING)

        self._begin(_Exchange(self._pool, place, request, heard), timeout_s)

    def close(self) -> None:
        """End the loop and its connections. Questions under way get no reply. Waits at most a second."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_S)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._pool.close())
        self._loop.close()

    def _ask(self, path: str, place: Place, body: bytes, timeout_s: float, done: Callable[[bytes | OSError], None]) -> None:
        proof = proof_of(self._secret, f"question {path}", body)
        head = f"POST {path} HTTP/1.1\r\nHost: {place.host}\r\n{PROOF}: {proof}\r\nContent-Length: {len(body)}\r\n\r\n"

        def heard(reply: Reply | OSError) -> None:
            if isinstance(reply, OSError):
                done(reply)
                return
            given = reply.headers.get(PROOF, "")
            if reply.status != _DONE or not proves(self._secret, given, "answer", proof.encode(), reply.body):
                done(PermissionError(f"status {reply.status}, or a wrong proof: the secrets may differ"))
            else:
                done(reply.body)

        self._begin(_Exchange(self._pool, place, head.encode() + body, heard), timeout_s)

    def _begin(self, exchange: "_Exchange", timeout_s: float) -> None:
        """Have the loop begin an exchange. The requests of one question to all processes wake it once."""
        self._begun.append((exchange, timeout_s))
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed because the process ends
                self._loop.call_soon_threadsafe(self._begin_all)

    def _begin_all(self) -> None:
        self._woken = False  # before it looks: what comes later wakes it again
        while self._begun:
            exchange, timeout_s = self._begun.popleft()
            exchange.begin(timeout_s)


def _pieces_of(answer: bytes, count: int) -> Told:
    """Return `count` answers in one, or the reason without them."""
    try:
        pieces = apart(answer)
    except MsgspecError as error:
        return OSError(f"no answers: {error}")
    return pieces if len(pieces) == count else OSError(f"{len(pieces)} answers to {count} questions")


class _Pool:
    """The free connections to each process, on `loop`. An answer has at most `most_bytes`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        self.loop = loop
        self._most_bytes = most_bytes
        self._free: dict[tuple[str, int], list[Link]] = {}
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()

    def free(self, at: tuple[str, int]) -> Link | None:
        """Return a connection that is open and free, None without one."""
        links = self._free.get(at, [])
        while links:
            link = links.pop()
            if link.open:
                return link
        return None

    def keep(self, at: tuple[str, int], link: Link) -> None:
        """Take a connection back once it is free."""
        links = [each for each in self._free.get(at, ()) if each.open]
        self._free[at] = links
        if link.open and len(links) < _MOST_KEPT:
            links.append(link)
        else:
            link.close()

    def connect(self, at: tuple[str, int], done: Callable[[Link | OSError], None]) -> asyncio.Task[None]:
        """Open a connection."""

        async def connected() -> None:
            try:
                _, link = await self.loop.create_connection(lambda: Link(self._most_bytes), *at)
            except OSError as error:
                done(error)
            else:
                self._links.add(link)
                done(link)

        return self.loop.create_task(connected())

    async def close(self) -> None:
        """End all connections, and what connects."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for link in self._links:
            link.close()
        await asyncio.sleep(0)


class _Exchange:
    """One request to the process at `place`; `heard` is called once, with the reply or the reason without one."""

    def __init__(self, pool: _Pool, place: Place, request: bytes, heard: Callable[[Reply | OSError], None]) -> None:
        self._pool = pool
        self._at = (place.host, place.port)
        self._request = request
        self._heard = heard
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, timeout_s: float) -> None:
        """Send the request, over a kept connection or a new one. On the loop's thread."""
        self._timer = self._pool.loop.call_later(timeout_s, self._late)
        self._again()

    def _again(self) -> None:
        """Send over a kept connection; over a new one if the other side has closed all of them."""
        self._link = self._pool.free(self._at)
        if self._link is None:
            self._connecting = self._pool.connect(self._at, self._connected)
        else:
            self._link.ask(self._request, self._replied_or_lost)

    def _connected(self, found: Link | OSError) -> None:
        self._connecting = None
        if isinstance(found, OSError):
            self._end(found)
        else:
            self._link = found
            found.ask(self._request, self._end)

    def _replied_or_lost(self, reply: Reply | OSError) -> None:
        if isinstance(reply, ConnectionError):
            self._again()
        else:
            self._end(reply)

    def _late(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.close()
        self._end(TimeoutError("no answer in time"))

    def _end(self, reply: Reply | OSError) -> None:
        """Give the connection back, and pass the reply on. Called once."""
        assert self._timer is not None, "it has begun"
        self._timer.cancel()
        if self._link is not None:
            self._pool.keep(self._at, self._link)
        self._heard(reply)
