"""The client of a process of a cluster, with a server on loopback that answers as a test wants it."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.messages import Place
from actors.cluster.parcels import apart, together
from gateway.cluster.door import ASK, ASK_EACH, PROOF
from gateway.cluster.link import Link, Reply
from gateway.cluster.peers import HttpPeers
from gateway.cluster.proof import proof_of

SECRET = b"a secret of a test"
MOST = 100_000
PATIENCE_S = 30.0

Handler = Callable[[bytes, dict[str, str], bytes, asyncio.StreamWriter], Awaitable[bool]]


class Server:
    """A server whose `handler` gets each request, and returns whether the connection stays. `met` counts the connections."""

    def __init__(self) -> None:
        self.handler: Handler = answering
        self.met = 0
        self._writers: dict[asyncio.Task[Any] | None, asyncio.StreamWriter] = {}
        ready: queue.Queue[int] = queue.Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready.put)))
        self._thread.start()
        self.place = Place("127.0.0.1", ready.get(timeout=PATIENCE_S), 1)

    async def _serve(self, ready: Callable[[int], None]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        ready(server.sockets[0].getsockname()[1])
        await self._over.wait()
        server.close()
        writers = dict(self._writers)
        for writer in writers.values():
            writer.transport.abort()
        await asyncio.gather(*(each for each in writers if each is not None))

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        self._writers[asyncio.current_task()] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async for line, headers, body in requests(reader):
                if not await self.handler(line, headers, body, writer):
                    break
        writer.close()
        del self._writers[asyncio.current_task()]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE_S)


async def requests(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, dict[str, str], bytes]]:
    while True:
        line, *rest = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = dict(each.decode().lower().split(": ") for each in rest if each)
        yield line, headers, await reader.readexactly(int(headers.get("content-length", 0)))


def written(headers: dict[str, str], answer: bytes, *more: str, secret: bytes = SECRET) -> bytes:
    proof = proof_of(secret, "answer", headers[PROOF].encode(), answer)
    lines = ["HTTP/1.1 200 OK", f"{PROOF}: {proof}", f"Content-Length: {len(answer)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + answer


async def answering(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
    """Answer a question with its bytes, and anything else with 204."""
    writer.write(written(headers, b"to " + body) if line.startswith(b"POST") else b"HTTP/1.1 204 No Content\r\n\r\n")
    return True


@pytest.fixture(scope="module")
def _running() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(_running: Server) -> Server:
    _running.handler, _running.met = answering, 0
    return _running


@pytest.fixture
def peers() -> Iterator[HttpPeers]:
    found = HttpPeers(SECRET, MOST)
    yield found
    found.close()


def asked(peers: HttpPeers, place: Place, *bodies: bytes, timeout_s: float = PATIENCE_S) -> list[Any]:
    """Ask all at once; return the replies by question."""
    told: queue.Queue[tuple[int, bytes | OSError]] = queue.Queue()
    for number, body in enumerate(bodies):
        peers.ask(place, [body], timeout_s, lambda reply, number=number: told.put((number, reply)))
    found = dict(told.get(timeout=PATIENCE_S) for _ in bodies)
    assert told.empty(), "one reply each"
    replies = [found[number] for number in range(len(bodies))]
    return [reply if isinstance(reply, OSError) else one(reply) for reply in replies]


def one(replies: Any) -> Any:
    (reply,) = replies
    return reply


def asked_together(peers: HttpPeers, place: Place, *bodies: bytes) -> Any:
    """Ask in one request; return the replies."""
    told: queue.Queue[Any] = queue.Queue()
    peers.ask(place, bodies, PATIENCE_S, told.put)
    return told.get(timeout=PATIENCE_S)


def test_each_question_gets_its_own_answer_and_connections_are_kept(server: Server, peers: HttpPeers):
    bodies = [bytes([number]) * number for number in range(40)]
    assert asked(peers, server.place, *bodies) == [b"to " + body for body in bodies]
    met = server.met
    for body in bodies:
        assert asked(peers, server.place, body) == [b"to " + body]
    assert server.met == met, "no further connection"


def test_a_question_over_a_connection_that_the_other_side_has_closed_goes_over_a_new_one(server: Server, peers: HttpPeers):
    async def once(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        server.handler = closing
        return await answering(line, headers, body, writer)

    async def closing(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        server.handler = answering
        return False

    server.handler = once
    assert asked(peers, server.place, b"a") + asked(peers, server.place, b"b") == [b"to a", b"to b"]
    assert server.met == 2


def test_a_question_over_a_new_connection_that_is_closed_fails(server: Server, peers: HttpPeers):
    async def closing(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        return False

    server.handler = closing
    (reply,) = asked(peers, server.place, b"a")
    assert isinstance(reply, ConnectionError)
    assert server.met == 1


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda headers: written(headers, b"x", secret=b"another secret"), PermissionError),
        (lambda _: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", PermissionError),
        (lambda headers: written(headers, b"x" * (MOST + 1)), OSError),
        (lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", OSError),
        (lambda _: b"SSH-2.0\r\n\r\n", OSError),
        (lambda headers: written(headers, b"x") + b"more", OSError),
        (lambda _: b"x" * MOST, OSError),
    ],
)
def test_what_is_no_answer_is_refused_and_the_next_question_gets_one(server: Server, peers: HttpPeers, write: Any, error: Any):
    async def wrong(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        server.handler = answering
        writer.write(write(headers))
        return True

    server.handler = wrong
    (reply,) = asked(peers, server.place, b"a")
    assert isinstance(reply, error) and isinstance(reply, PermissionError) == (error is PermissionError)
    assert asked(peers, server.place, b"b") == [b"to b"]


def test_a_silent_process_is_waited_for_until_the_end_of_the_time_and_its_late_answer_is_nobody_elses(
    server: Server, peers: HttpPeers
):
    release = threading.Event()

    async def late(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        server.handler = answering
        await asyncio.to_thread(release.wait, PATIENCE_S)
        return await answering(line, headers, body, writer)

    server.handler = late
    (reply,) = asked(peers, server.place, b"a", timeout_s=0.05)
    release.set()
    assert isinstance(reply, TimeoutError)
    assert asked(peers, server.place, b"b", b"c") == [b"to b", b"to c"]


def test_several_questions_are_one_request_with_as_many_answers(server: Server, peers: HttpPeers):
    met: list[list[bytes]] = []

    async def each(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        assert line.split()[1] == ASK_EACH.encode()
        met.append([bytes(question) for question in apart(body)])
        writer.write(written(headers, together([b"to " + question for question in met[-1][:3]])))
        return True

    server.handler = each
    assert asked_together(peers, server.place, b"a", b"", b"c") == [b"to a", b"to ", b"to c"]
    assert isinstance(asked_together(peers, server.place, b"a", b"b", b"c", b"d"), OSError), "three answers to four questions"
    assert met == [[b"a", b"", b"c"], [b"a", b"b", b"c", b"d"]]


def test_a_process_that_does_not_know_such_a_request_gives_no_answers(server: Server, peers: HttpPeers):
    async def earlier(line: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        if line.split()[1] == ASK.encode():
            return await answering(line, headers, body, writer)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
        return True

    server.handler = earlier
    assert isinstance(asked_together(peers, server.place, b"a", b"b"), PermissionError)
    assert asked(peers, server.place, b"c") == [b"to c"]


def test_a_refused_connection_is_an_error_at_once_and_a_probe_tells_who_is_there(server: Server, peers: HttpPeers):
    nobody = Server()
    nobody.close()
    (reply,) = asked(peers, nobody.place, b"a")
    assert isinstance(reply, ConnectionRefusedError)
    told: queue.Queue[bool] = queue.Queue()
    for place in (nobody.place, server.place):
        peers.probe(place, PATIENCE_S, told.put)
        assert told.get(timeout=PATIENCE_S) is (place is server.place)


class Nowhere(asyncio.Transport):
    """A transport that sends nothing."""

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        pass


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.lists(st.integers(1, 30)), st.booleans())
def test_answers_are_the_same_in_whatever_pieces_they_come(answers: list[bytes], cuts: list[int], ends: bool):
    link, heard = Link(MOST), list[Reply | OSError]()
    link.connection_made(Nowhere())
    for answer in answers:
        link.ask(b"", heard.append)
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nFirnline-Proof: A\r\n\r\n%b" % (len(answer), answer)
        for size in [*cuts, len(data)]:
            if data:
                assert len(heard) < len(answers)
                link.data_received(data[:size])
                data = data[size:]
    assert heard == [Reply(200, {"content-length": str(len(each)), "firnline-proof": "A"}, each) for each in answers]
    if ends:
        link.ask(b"", heard.append)
    link.connection_lost(None)
    assert [type(each) for each in heard[len(answers) :]] == [ConnectionResetError] * ends
    assert not link.open
