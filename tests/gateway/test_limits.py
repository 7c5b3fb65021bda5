"""Abusive clients on raw sockets against the real service: each is cut off in time, and other clients are not affected."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import httptools
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Http
from gateway.wire.connections import SWEEP_S
from gateway.wire.framing import Framing
from gateway.wire.server import files_for
from tests.conftest import Send
from tests.support.service import Service, service
from tests.support.waiting import until

HOST = b"Host: localhost\r\n"
HEADER_S, BODY_S, STALL_S, KEEP_ALIVE_S = 1.0, 1.5, 1.5, 2.0
MOST_HEADERS, MOST_BODY, MOST_CONNECTIONS = 4_096, 100_000, 80
LATE_S = 6.0
"""The tolerance of a limit on a busy machine. The limits themselves are far below."""

SETS = 60_000
ALL = b"GET /events/get-sets?startTime=0&endTime=9999999999999 HTTP/1.1\r\n" + HOST + b"\r\n"
MANY = b"GET /events/get-sets?startTime=0&endTime=9999999999999&limit=10000 HTTP/1.1\r\n" + HOST + b"\r\n"
STATS = b"GET /events/get-stats HTTP/1.1\r\n" + HOST + b"\r\n"


def post(*headers: bytes) -> bytes:
    return b"\r\n".join((b"POST /dataset HTTP/1.1", b"Host: localhost", *headers, b"", b""))


@dataclass
class Ended:
    """The end of a connection: after how many seconds, and the bytes that the client got."""

    seconds: float
    got: bytes

    @property
    def status(self) -> int:
        """The status of the last response; 0 without a response."""
        return int(self.got.rpartition(b"HTTP/1.1 ")[2][:3]) if b"HTTP/1.1 " in self.got else 0

    @property
    def error(self) -> Any:
        """The problem of the last response."""
        return json.loads(self.got.rpartition(b"\r\n\r\n")[2])["error"]


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        client.settimeout(30)
        client.connect(("127.0.0.1", port))
        yield client


def drained(client: socket.socket) -> bytes:
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65_536):
            got += piece
    return bytes(got)


def is_cut(client: socket.socket) -> bool:
    """Whether the server has closed or reset the connection, without reading its bytes."""
    state = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state not in {1, 4, 5}  # established, or closed by this side alone


Attack = Callable[[socket.socket], bytes]


def silent(client: socket.socket) -> bytes:
    return drained(client)


def trickling(start: bytes, then: bytes) -> Attack:
    """Send `start`, then `then` again and again, each time before the limit."""

    def attack(client: socket.socket) -> bytes:
        client.sendall(start)
        client.settimeout(0.1)
        while True:
            with contextlib.suppress(TimeoutError):
                first = client.recv(1)
                client.settimeout(30)
                return first + drained(client)
            try:
                client.sendall(then)
            except ConnectionError:
                client.settimeout(30)
                return drained(client)

    return attack


def flooding(start: bytes, then: bytes) -> Attack:
    """Send `start`, then `then` again and again at full speed; a thread reads."""

    def attack(client: socket.socket) -> bytes:
        with ThreadPoolExecutor(1) as reader:
            got = reader.submit(drained, client)
            with contextlib.suppress(ConnectionError):
                client.sendall(start)
                while not got.done():
                    client.sendall(then)
            return got.result()

    return attack


def never_reading(request: bytes) -> Attack:
    def attack(client: socket.socket) -> bytes:
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.sendall(request)
        until(lambda: is_cut(client))
        return b""

    return attack


ATTACKS: dict[str, Attack] = {
    "silent": silent,
    "trickled line": trickling(b"GET /", b"x"),
    "trickled headers": trickling(b"GET / HTTP/1.1\r\n" + HOST + b"X: ", b"x"),
    "blank lines": trickling(b"", b"\r\n"),
    "trickled body": trickling(post(b"Content-Length: 1000"), b"x"),
    "trickled chunks": trickling(post(b"Transfer-Encoding: chunked"), b"1\r\nx\r\n"),
    "body that never comes": trickling(post(b"Content-Length: 1000"), b""),
    "huge header": flooding(b"GET / HTTP/1.1\r\n" + HOST + b"X: ", b"x" * 65_536),
    "endless headers": flooding(b"GET / HTTP/1.1\r\n" + HOST, b"X: y\r\n" * 1_000),
    "huge line": flooding(b"GET /", b"x" * 65_536),
    "endless blank lines": flooding(b"", b"\r\n" * 10_000),
    "huge body": flooding(post(b"Content-Length: 10000000000"), b"x" * 65_536),
    "endless chunks": flooding(post(b"Transfer-Encoding: chunked"), b"400\r\n" + b"x" * 1_024 + b"\r\n"),
    "endless chunk size": flooding(post(b"Transfer-Encoding: chunked") + b"1;", b"x" * 65_536),
    "endless trailer": flooding(post(b"Transfer-Encoding: chunked") + b"0\r\nX: ", b"x" * 65_536),
    "body that no route reads": flooding(
        b"POST /livez HTTP/1.1\r\n" + HOST + b"Content-Length: 10000000000\r\n\r\n", b"x" * 65_536
    ),
    "no HTTP": flooding(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"\0" * 1_000),
    "WebSocket": flooding(
        b"GET /live HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"\0" * 1_000
    ),
    "reader that never reads": never_reading(ALL),
    "reader that requests more and never reads": never_reading(ALL * 100),
    "flood of requests without a reader": never_reading(MANY * 5_000),
    "idle": lambda client: (client.sendall(STATS), drained(client))[1],
}


@dataclass
class Attacked:
    """The results of all simultaneous attacks, and the response times of other clients before and during them."""

    running: Service
    ended: dict[str, Ended] = field(default_factory=dict)
    before_ms: list[float] = field(default_factory=list)
    meanwhile_ms: list[float] = field(default_factory=list)
    files: tuple[int, int] = (0, 0)
    grown_bytes: int = 0


def timed(running: Service) -> float:
    began = time.perf_counter()
    status, _, _ = running.request("/events/get-stats")
    assert status == 200
    return 1_000 * (time.perf_counter() - began)


@pytest.fixture(scope="module")
def attacked(embedded: str, send: Send) -> Iterator[Attacked]:
    topic = f"limits-{os.getpid()}-{time.time_ns()}"
    values = [f"{'RGB'[number % 3]}_{1685695916000 + number}".encode() for number in range(3 * SETS)]
    send(embedded, topic, values, [0] * len(values))
    settings = {
        "header_ms": 1_000 * HEADER_S, "body_ms": 1_000 * BODY_S, "stall_ms": 1_000 * STALL_S, "keep_alive_ms": 1_000 * KEEP_ALIVE_S,
        "max_header_bytes": MOST_HEADERS, "max_body_bytes": MOST_BODY, "max_connections": MOST_CONNECTIONS,
    }  # fmt: skip
    words = [f"http.{name}={int(value)}" for name, value in settings.items()]
    also = ["--only", "dataset"]
    words.append(f"streams.dataset.source={{topic: {topic}-dataset}}")
    with service(embedded, topic, *words, also=also) as running:
        running.settled(len(values))
        found = Attacked(running)
        process = psutil.Process(running.process.pid)
        found.before_ms = [timed(running) for _ in range(30)]
        files, rss, done = process.num_fds(), process.memory_info().rss, threading.Event()

        def attack(name: str) -> None:
            with connected(running.port) as client:
                began = time.monotonic()
                got = ATTACKS[name](client)
                found.ended[name] = Ended(time.monotonic() - began, got)

        def others() -> None:
            while not done.is_set():
                found.meanwhile_ms.append(timed(running))

        with ThreadPoolExecutor(2 * len(ATTACKS) + 1) as threads:
            other = threads.submit(others)
            try:
                for attempt in [threads.submit(attack, name) for name in (*ATTACKS, *ATTACKS)]:
                    attempt.result(timeout=120)
            finally:
                done.set()
            other.result(timeout=60)
        until(lambda: process.num_fds() <= files + 2)
        found.files = (files, process.num_fds())
        found.grown_bytes = process.memory_info().rss - rss
        yield found


CUTS = {
    "silent": (HEADER_S, 0),
    "trickled line": (HEADER_S, 408),
    "trickled headers": (HEADER_S, 408),
    "blank lines": (HEADER_S, 408),
    "trickled body": (BODY_S, 408),
    "trickled chunks": (BODY_S, 408),
    "body that never comes": (BODY_S, 408),
    "huge header": (0, 431),
    "endless headers": (0, 431),
    "huge line": (0, 431),
    "endless blank lines": (0, 431),
    "huge body": (0, 413),
    "endless chunks": (0, 413),
    "endless chunk size": (0, 400),
    "endless trailer": (0, 400),
    "body that no route reads": (0, 405),
    "no HTTP": (0, 400),
    "WebSocket": (0, 400),
    "reader that never reads": (STALL_S, 0),
    "reader that requests more and never reads": (STALL_S, 0),
    "flood of requests without a reader": (STALL_S, 0),
    "idle": (KEEP_ALIVE_S, 200),
}


@pytest.mark.parametrize("name", CUTS)
def test_each_attack_is_cut_off_in_time_with_a_reason(attacked: Attacked, name: str):
    limit_s, status = CUTS[name]
    ended = attacked.ended[name]
    # A flood gets its response at once; the bytes still on their way are discarded for a while.
    assert limit_s - 2 * SWEEP_S <= ended.seconds <= limit_s + LATE_S
    if status not in {0, 200}:
        assert ended.status in {status, 0 if limit_s == 0 else status}, ended.got[-300:]
        if ended.status:
            assert ended.error["status"] == status
            assert b"content-security-policy" in ended.got
    else:
        assert ended.status == status


def test_floods_get_a_reason_too(attacked: Attacked):
    """A client that reads while it sends sees the response. Its system may lose the response if more data came after the end."""
    floods = [name for name, (limit_s, status) in CUTS.items() if not limit_s and status]
    answered = [name for name in floods if attacked.ended[name].status == CUTS[name][1]]
    assert len(answered) >= len(floods) - 3, set(floods) - set(answered)


def test_attacks_do_not_delay_other_clients(attacked: Attacked):
    before, meanwhile = sorted(attacked.before_ms), sorted(attacked.meanwhile_ms)
    assert len(meanwhile) >= 5
    figures = f"before: {before[len(before) // 2]:.1f} ms, at worst {before[-1]:.1f}; of {len(meanwhile)} meanwhile: "
    figures += f"{meanwhile[len(meanwhile) // 2]:.1f} ms, at worst {meanwhile[-1]:.1f}"
    logging.getLogger(__name__).info(figures)
    assert meanwhile[len(meanwhile) * 9 // 10] < 1_000, figures
    assert meanwhile[-1] < 5_000, figures


def test_attacks_leave_no_open_file_and_no_memory(attacked: Attacked):
    assert attacked.files[1] <= attacked.files[0] + 2
    assert attacked.grown_bytes < 64 << 20


def one(answers: BinaryIO) -> tuple[int, Any]:
    """Return the status and the JSON of the next response on a connection."""
    line, *headers = iter(answers.readline, b"\r\n")
    length = next(int(header.split(b":")[1]) for header in headers if header.lower().startswith(b"content-length"))
    return int(line.split()[1]), json.loads(answers.read(length))


def test_pipelined_requests_are_answered_in_order(attacked: Attacked):
    paths = [f"/events/get-sets?startTime=0&endTime=9999999999999&limit={1 + number % 7}" for number in range(100)]
    paths.insert(50, "/dead-letters")
    with connected(attacked.running.port) as client:
        client.sendall(b"".join(b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), HOST) for path in paths))
        with client.makefile("rb") as answers:
            for path in paths:
                status, answer = one(answers)
                assert status == 200
                assert len(answer["sets"]) == int(path.rpartition("=")[2]) if "limit" in path else "count" in answer


def test_an_unread_body_does_not_end_the_connection(attacked: Attacked):
    with connected(attacked.running.port) as client, client.makefile("rb") as answers:
        for _ in range(3):
            client.sendall(b"POST /livez HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n")
            assert one(answers)[0] == 405
            client.sendall(b"hello")
        client.sendall(STATS)
        assert one(answers)[0] == 200


def test_a_connection_over_the_limit_gets_a_reason_and_the_others_stay(attacked: Attacked):
    with contextlib.ExitStack() as around:
        clients = [around.enter_context(connected(attacked.running.port)) for _ in range(MOST_CONNECTIONS + 5)]
        for client in clients[-5:]:
            assert b"at most 80 connections" in drained(client)
        clients[0].sendall(STATS)
        assert clients[0].recv(20).startswith(b"HTTP/1.1 200 ")
    until(lambda: timed(attacked.running))


def test_the_default_limits_cut_every_attack_within_ten_seconds():
    http = Http()
    longest_ms = max(http.header_ms, http.body_ms, http.stall_ms)
    assert longest_ms / 1_000 + 2 * SWEEP_S < 10


def test_a_limit_of_open_files_below_the_connections_is_reported():
    assert files_for(10) is None
    warning = files_for(10**9)
    assert warning is not None
    assert warning.startswith("http.max_connections: 1000000000 need 1000001024 open files")


# The end of a request ------------------------------------------------------------------------------------------------


class Parsed:
    """The events of a parser that is fed as the server's connection feeds it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.framing = Framing()
        self.headers: dict[bytes, bytes] = {}
        self.in_body = False
        self.bodies: list[bytes] = []
        self.complete = 0

    def on_message_begin(self) -> None:
        self.headers = {}
        self.bodies.append(b"")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        assert not self.in_body
        self.framing.begin_body(self.headers, most_header_bytes=1_000)
        self.in_body = True

    def on_body(self, body: bytes) -> None:
        self.framing.came(len(body))
        self.bodies[-1] += body

    def on_message_complete(self) -> None:
        self.complete += 1
        self.in_body = False

    def take(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            end = self.framing.piece_of_body(data, at) if self.in_body else self.framing.piece_of_headers(data, at)
            assert at < end <= len(data)
            before = self.complete
            self.parser.feed_data(data[at:end])
            assert self.complete - before <= 1, "one request at a time"
            if self.complete > before:
                self.framing.begin()
            at = end


BODIES = st.none() | st.binary(max_size=30) | st.just(b"\r\n\r\n") | st.just(b"GET / HTTP/1.1\r\n\r\n" * 3)


@given(st.lists(BODIES, min_size=1, max_size=6), st.data())
def test_requests_are_separated_wherever_their_bytes_are_cut(bodies: list[bytes | None], data: st.DataObject):
    whole = b""
    for body in bodies:
        whole += b"\r\n" * data.draw(st.integers(0, 2))
        length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
        whole += b"POST / HTTP/1.1\r\nX: y\r\n" + length + b"\r\n" + (body or b"")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=20)))
    parsed = Parsed()
    for low, high in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        parsed.take(whole[low:high])
    assert parsed.complete == len(bodies)
    assert parsed.bodies == [body or b"" for body in bodies]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=40))
def test_a_chunked_body_is_never_counted_as_padding(chunks: list[bytes]):
    parsed = Parsed()
    parsed.take(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for chunk in chunks:
        parsed.take(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert not parsed.framing.is_padded
    parsed.take(b"0\r\n\r\n")
    assert parsed.bodies == [b"".join(chunks)]
