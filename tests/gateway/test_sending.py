"""How the bytes of a response leave: its head together with the first bytes of its body, and no body for a client that is gone."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.admission import Room
from gateway.answer import Streamed
from gateway.wire.server import server
from tests.support.allowed import allowance


class Wire(asyncio.Transport):
    """A transport that records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.written = asyncio.Event()
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        self.written.set()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def writes(app: ASGIApp, request: bytes, then: Callable[[Wire], Awaitable[None]] | None = None) -> list[bytes]:
    """Return the writes of a connection that gets `request`, up to the end of all its responses."""

    async def run() -> list[bytes]:
        served = server(app, allowance())
        served.config.load()
        state = ServerState()
        connection: Any = served.config.http_protocol_class(config=served.config, server_state=state, app_state={})  # type: ignore[operator]
        wire = Wire()
        connection.connection_made(wire)
        connection.data_received(request)
        if then is not None:
            await then(wire)
        while state.tasks:
            await asyncio.wait(state.tasks)
        await asyncio.sleep(0)  # a turn, in which a head without a body leaves
        return wire.writes

    return asyncio.run(run())


def responding(response: Response) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await response(scope, receive, send)

    return app


GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "request_"),
    [
        (Response(b"body"), GET),
        (Response(b"body"), GET.replace(b"GET", b"HEAD")),
        (Response(status_code=304), GET),
        (Response(b"body"), GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")),
    ],
)
def test_a_short_response_is_one_write(response: Response, request_: bytes):
    (whole,) = [write for write in writes(responding(response), request_) if write]
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    assert body == (response.body if request_.startswith(b"GET") else b"")


def test_pipelined_responses_leave_whole_and_in_order():
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(scope["path"].encode())(scope, receive, send)

    request = b"".join(GET.replace(b"/", path, 1) for path in (b"/a", b"/b", b"/c"))
    found = [write.partition(b"\r\n\r\n")[2] for write in writes(app, request) if write]
    assert found == [b"/a", b"/b", b"/c"]


def test_the_head_does_not_wait_for_a_body_that_comes_later():
    made = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await made.wait()
        await send({"type": "http.response.body", "body": b"late", "more_body": False})

    async def then(wire: Wire) -> None:
        await wire.written.wait()
        assert wire.writes[0].endswith(b"\r\n\r\n")
        made.set()

    assert b"late" in b"".join(writes(app, GET, then)[1:])


@pytest.mark.parametrize("ends", ["the client", "the answer", "the service"])
def test_a_streamed_answer_gives_its_memory_back_whoever_ends_it(ends: str):
    room, sent = Room(100), list[bytes]()

    async def run() -> None:
        gone, three = asyncio.Event(), asyncio.Event()

        async def blocks() -> AsyncGenerator[bytes]:
            for _ in range(3):
                yield b"block"
            if ends != "the answer":
                await asyncio.Event().wait()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message.get("body", b""))
            if len(sent) == 3:
                three.set()
                if ends == "the client":
                    gone.set()

        answer = Streamed(blocks(), room.take(60), headers={}, media_type="text/plain")
        assert room.under_way == 60
        sending = asyncio.ensure_future(answer({"type": "http"}, receive, send))
        if ends == "the service":
            await three.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        else:
            await sending

    asyncio.run(run())
    assert room.under_way == 0
    assert b"".join(sent).count(b"block") <= 3
    assert ends != "the answer" or sent == [b"", b"block", b"block", b"block", b""]
