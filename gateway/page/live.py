"""The live events: one ticker that asks the actors for all clients, and a stream of server-sent events for each client.

The ticker asks about twice a second, while there are watchers. The replies are encoded once and shared. A client gets the
newest frame when it is ready for one: a slow client misses frames, and one that takes nothing for `stall_s` is cut off.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from actors.protocol import Address
from actors.replies import GetHealth, GetShards, GetStats, Health, ShardState, Stats
from gateway.api.errors import Problem, busy
from gateway.api.unknown import refuse_unknown
from gateway.ask import Asker
from gateway.page.picture import picture
from gateway.schemas import ShardReport
from gateway.stream import Served
from gateway.wire.limits import Allowance

EVENT_STREAM = "text/event-stream"

_TICK_S = 0.5
_GROUPS = 32
_BETWEEN_S = 0.008
"""Groups of watchers that get a frame one after the other, because a thousand at once would delay other requests."""

_PATIENCE_S = 2.0
"""How long a tick waits for a stream. A stream without a reply by then is shown as it was."""

_HEARTBEAT_S = 10.0
_RETRY = b"retry: 1000\n\n"
_HEARTBEAT = b": still here\n\n"
_MOST_LETTERS = 20


@dataclass(frozen=True, slots=True)
class Frame:
    """One tick as bytes: the values that always change, and the generations as of `version`, which change now and then."""

    number: int
    now: bytes
    version: int
    memory: bytes


class Ticker:
    """Asks while there are watchers, and keeps the newest frame. For one event loop."""

    def __init__(
        self, asker: Asker, guardian: Address[GetHealth], streams: Sequence[Served], *, tick_s: float = _TICK_S
    ) -> None:
        self._asker = asker
        self._guardian = guardian
        self._streams = list(streams)
        self._tick_s = tick_s
        self._frame: Frame | None = None
        self._ticked: list[asyncio.Event] = []
        self._groups = itertools.cycle(range(_GROUPS))
        self._now: dict[str, dict[str, Any]] = {}
        self._memory: dict[str, dict[str, Any]] = {}
        self._health: dict[str, Any] = {}
        self._shards: dict[str, list[ShardReport]] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._began = time.time()
        self.watchers = 0
        self.ticks = 0
        self.closed = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[int]:
        """Tick while this context is open; the last watcher to leave ends the ticker. Yields the group of this watcher."""
        self.watchers += 1
        if self._task is None:
            self._frame = None
            self._ticked = [asyncio.Event() for _ in range(_GROUPS)]
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)
        try:
            yield next(self._groups)
        finally:
            self.watchers -= 1
            if not self.watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    def close(self) -> None:
        """End the stream of every client because the service stops; no client would leave by itself.

        On the event loop's thread.
        """
        self.closed = True
        for ticked in self._ticked:
            ticked.set()

    async def after(self, number: int, group: int) -> Frame | None:
        """Return the newest frame once there is one later than `number` for the group; None once the ticker is closed.

        Raises the exception of a failed tick, so that an old picture is never shown as live.
        """
        while not self.closed:
            if self._frame is not None and self._frame.number > number:
                return self._frame
            await self._ticked[group].wait()
            if self._task is not None and self._task.done():
                self._task.result()
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():  # the ticker has failed, because it has no other end
            for ticked in self._ticked:
                ticked.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._tick()
            due = max(due + self._tick_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _tick(self) -> None:
        """Ask all streams and the guardian at once, and replace the replies that came."""
        await asyncio.gather(*(self._look(stream) for stream in self._streams), self._look_at_all())
        self.ticks += 1
        streams = [self._now[stream.name] for stream in self._streams]
        now = {"at": time.time(), "began": self._began, "streams": streams, **self._health}
        memory = _event("memory", self._memory)
        before = self._frame
        version = before.version if before is not None and before.memory == memory else self.ticks
        self._frame = Frame(self.ticks, _event("now", now), version, memory)
        for group, ticked in enumerate(self._ticked):
            self._ticked[group] = asyncio.Event()
            ticked.set()
            if self.watchers > _GROUPS:
                await asyncio.sleep(_BETWEEN_S)

    async def _look(self, stream: Served) -> None:
        """Ask one stream. Without a reply, its last picture stays, with the time and the reason."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                stats: Stats = await self._asker.ask(stream.manager, GetStats)
        except (Problem, TimeoutError) as problem:
            why = problem.got if isinstance(problem, Problem) else f"no reply within {_PATIENCE_S:g} s"
            known = self._now.setdefault(stream.name, {"name": stream.name, "view": stream.view, "silentSince": time.time()})
            known.setdefault("silentSince", time.time())
            known["silent"] = why
            return
        found = picture(stream, stats)
        self._now[stream.name], self._memory[stream.name] = found.now, found.memory
        if stream.shards is not None:
            found.now["shards"] = self._shards.get(stream.name, [])
            if stream.name not in self._looks:
                self._looks[stream.name] = asyncio.create_task(self._look_at_shards(stream.name, stream.shards))

    async def _look_at_shards(self, name: str, shards: Address[GetShards]) -> None:
        """Ask for the shards of a stream. No tick waits for it, because another process may be slow."""
        try:
            with contextlib.suppress(Problem):
                states: tuple[ShardState, ...] = await self._asker.ask(shards, GetShards)
                self._shards[name] = list(map(ShardReport.of, states))
        finally:
            del self._looks[name]

    async def _look_at_all(self) -> None:
        """Ask the guardian. Without a reply, its last state stays."""
        with contextlib.suppress(Problem, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                health: Health = await self._asker.ask(self._guardian, GetHealth)
            self._health = health_of(health)


class LiveRoutes:
    """The endpoint: at most `max_watchers` clients at once. A client that takes nothing for `stall_s` seconds is cut off."""

    def __init__(self, ticker: Ticker, allowance: Allowance) -> None:
        self._ticker = ticker
        self._allowance = allowance

    def routes(self) -> list[Route]:
        """Return the routes. `/live` is not an operation, because a description has no place for an endless response."""
        return [Route("/live", self.live)]

    async def live(self, request: Request) -> Response:
        """Send the state of all streams as it changes, as server-sent events.

        The page draws these events; their members may change from version to version. The stream ends with the client.
        """
        refuse_unknown(request, ())
        most, stall_s = self._allowance.now.max_watchers, self._allowance.now.stall_s
        if self._ticker.closed:
            raise busy("the service is shutting down")
        if self._ticker.watchers >= most:
            raise busy(f"{most} clients that watch")
        if request.method == "HEAD":
            return Response(media_type=EVENT_STREAM)
        return Watching(self._ticker, stall_s=stall_s)


class Watching(Response):
    """The stream of one client. It has no queue: a client that is ready gets the newest frame."""

    def __init__(self, ticker: Ticker, *, stall_s: float) -> None:
        super().__init__(None, 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, EVENT_STREAM)
        del self.headers["content-length"]
        self._ticker = ticker
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the client is gone or stalls, or the service stops."""

        async def sending(body: bytes) -> None:
            async with asyncio.timeout(self._stall_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.create_task(_disconnected(receive))
        try:
            with self._ticker.watched() as group:
                await self._frames(sending, gone, group)
        except TimeoutError:
            return  # cut off: without the end of the body, the server closes the connection
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _frames(self, sending: Any, gone: asyncio.Task[None], group: int) -> None:
        """Send frame after frame, with the generations if they have changed since the last frame."""
        await sending(_RETRY)
        number = version = -1
        while not gone.done():
            # A client that is gone is noticed at the next frame: waiting for both would cost more than the frame.
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    frame = await self._ticker.after(number, group)
            except TimeoutError:
                await sending(_HEARTBEAT)
                continue
            if frame is None:
                return
            await sending(frame.now if frame.version == version else frame.memory + frame.now)
            number, version = frame.number, frame.version


async def _disconnected(receive: Receive) -> None:
    """Return when the client is gone."""
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()


def _event(name: str, value: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"


def health_of(health: Health) -> dict[str, Any]:
    """Return the guardian's state in the page's form."""
    return {
        "degraded": health.degraded,
        "restarts": health.restarts,
        "deadLetters": {"count": health.dead_letters, "newest": health.newest[:_MOST_LETTERS]},
        "actors": health.actors,
        "worked": {thread: round(seconds, 3) for thread, seconds in health.worked.items()},
    }
