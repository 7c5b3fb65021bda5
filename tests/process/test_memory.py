"""Memory stays within its budget: under a real limit, and whatever clients ask for at once."""

import contextlib
import http.client
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.replies import TooMuch
from gateway.admission import Hold, Room
from gateway.api.errors import Problem
from scripts.lab.measure.runs import fill
from tests.conftest import Send, create_topic
from tests.support.running import records
from tests.support.service import Service, service
from tests.support.waiting import PATIENCE_S, until

ALL = "/events/get-sets?startTime=0&endTime=9223372036854775807"
MIB = 1 << 20
LIMIT = 196 * MIB
EVENTS = 3_500_000


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 100), st.booleans())))
def test_admission_never_exceeds_its_budget_and_all_of_it_is_returned(steps: list[tuple[int, int, bool]]):
    room = Room(100)
    holds: list[tuple[Hold, int]] = []
    for nbytes, spare, first in steps:
        alone = not holds
        hold = room.hold()
        if (refused := hold.take(nbytes, spare)) is None:
            holds.append((hold, nbytes))
            assert room.under_way <= 100 + (spare if alone else 0)
        else:
            assert refused.nbytes == nbytes > refused.free_bytes
        if first and holds:
            holds.pop(0)[0].give_back()
        assert room.under_way == sum(each for _, each in holds)
        holds = [(hold, each) for hold, each in holds if each]
    for hold, _ in holds:
        hold.give_back()
        hold.give_back()
    assert room.under_way == 0


def test_a_manager_cannot_take_memory_for_an_answer_that_was_given_up():
    room = Room(100)
    with room.hold() as hold:
        assert hold.take(60) is None
    assert hold.take(1) == TooMuch("other answers have the memory", 1, 100)
    assert room.under_way == 0


def test_a_passed_on_hold_stays_until_it_is_returned_and_an_error_returns_it_at_once():
    room = Room(100)
    with room.take(60) as hold:
        hold.pass_on()
    assert room.under_way == 60
    with pytest.raises(Problem) as refused:
        room.take(41)
    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "1"}
    hold.give_back()
    with pytest.raises(KeyError), room.take(60) as hold:
        hold.pass_on()
        raise KeyError
    assert room.under_way == 0


@contextlib.contextmanager
def group(nbytes: int) -> Iterator[Path]:
    """Make a control group (version 1) below the process's own, with `limit` bytes. Skip the test if that is not permitted."""
    lines = Path("/proc/self/cgroup").read_text().splitlines() if Path("/proc/self/cgroup").exists() else []
    own = next((line.split(":", 2)[2] for line in lines if line.split(":", 2)[1] == "memory"), None)
    if own is None:
        pytest.skip("there is no memory controller of version 1")
    folder = Path("/sys/fs/cgroup/memory") / own.strip("/") / f"firnline-{uuid.uuid4().hex}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error.strerror}")
    try:
        (folder / "memory.limit_in_bytes").write_text(str(nbytes))
        yield folder
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


def entering(folder: Path) -> list[str]:
    """Return a command that runs another one in a control group from its first byte on."""
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(folder / "cgroup.procs")]


@pytest.mark.long
@pytest.mark.broker
def test_the_service_survives_a_real_memory_limit_and_keeps_answering(broker: str):
    topic = f"memory-{uuid.uuid4().hex}"
    fill(broker, topic, "scattered", EVENTS, 3, "--start", "1685695916000")
    settings = ("data_dir=null", "memory.budget=62%", "streams.events.max_sets=20000", "streams.events.max_ahead_ms=null")
    with group(LIMIT) as folder, service(broker, topic, *settings, within=entering(folder)) as running:
        stats = until(lambda: running.stats() if running.stats()["records"] >= EVENTS else None, timeout_s=240)
        assert stats["memory"]["budgetBytes"] == int(LIMIT * 0.62)
        assert stats["droppedGenerations"].get("memory", 0) > 0
        assert stats["memory"]["rssBytes"] <= 1.05 * stats["memory"]["budgetBytes"]
        assert len(running.get(f"{ALL}&limit=1000")["sets"]) == 1000
        control = dict(line.split() for line in (folder / "memory.oom_control").read_text().splitlines())
        assert (control["under_oom"], control.get("oom_kill", "0")) == ("0", "0")


@pytest.fixture(scope="module")
def large(broker: str, send: Send) -> Iterator[Service]:
    """Yield a service with 100,000 sets: 19 MB as text."""
    topic = create_topic(broker)
    events = [(1_685_695_916_000 + 10 * number, number % 3) for number in range(300_000)]
    send(broker, topic, records(events), [0] * len(events))
    with service(broker, topic, "streams.events.max_sets=30000", "data_dir=null", "memory.budget=1GiB") as running:
        running.settled(len(events))
        yield running


def unread(port: int) -> socket.socket:
    """Return a connection that has asked for everything and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {ALL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


@pytest.mark.broker
def test_clients_that_never_read_hold_little_memory_and_one_too_many_gets_429(large: Service):
    process = psutil.Process(large.process.pid)
    before = process.memory_info().rss
    with contextlib.ExitStack() as around:
        clients = [around.enter_context(unread(large.port)) for _ in range(100)]
        statuses = [int(client.recv(12).split()[1]) for client in clients]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 20
        assert process.memory_info().rss - before < 64 * MIB
        assert large.request("/events/get-stats")[0] == 200
        refused, headers, _ = large.request(ALL)
        assert (refused, headers["retry-after"]) == (429, "1")
    until(lambda: large.request(ALL)[0] == 200)


@pytest.mark.broker
def test_pages_put_together_equal_the_whole_answer_in_json_and_ndjson(large: Service):
    _, headers, body = large.request(ALL, Accept="application/x-ndjson")
    assert headers["transfer-encoding"] == "chunked"
    lines = body.splitlines()
    assert len(lines) == 100_000
    assert b'{"sets":[' + b",".join(lines) + b"]}" == large.request(ALL)[2]
    page = large.get(f"{ALL}&limit=40000")
    rest = large.get(f"{ALL}&cursor={page['next']}")
    assert len(page["sets"]) == 40_000
    assert "next" not in rest
    assert [*page["sets"], *rest["sets"]] == large.get(ALL)["sets"]


@pytest.mark.broker
def test_a_client_that_disconnects_frees_its_memory(large: Service):
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", large.port, timeout=PATIENCE_S)
        connection.request("GET", ALL)
        connection.getresponse().read(1000)
        connection.sock.close() if connection.sock else None
        connection.close()
    until(lambda: large.request(ALL)[0] == 200)
