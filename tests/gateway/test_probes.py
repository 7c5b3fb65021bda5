"""The probes: live unless a thread is stuck, started once, and ready while the service can answer."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from actors.durability.disk import Disk
from actors.messages import Failed, Poll
from actors.protocol import WAITING_HOMES, Home
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from gateway.api.operation import routes
from gateway.stream import Served
from gateway.watch.probes import Probes
from tests.actors.test_disk import Fault
from tests.conftest import Send
from tests.support.logged_disk import FailingDisk, nothing
from tests.support.running import records, stream
from tests.support.waiting import until

EVENTS = [(1_000_000 + 10 * number, number % 3) for number in range(30)]


def get(probes: Probes, path: str) -> tuple[int, Any]:
    """Return status and JSON of a path of `probes`."""
    app = Starlette(routes=routes(probes.operations()))

    async def ask() -> tuple[int, Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            reply = await client.get(path)
            return reply.status_code, reply.json()

    return asyncio.run(ask())


class Blocked(Actor):
    """An actor on a separate thread whose first message takes until an event is set."""

    def __init__(self, system: System, let_go: threading.Event, thread: str) -> None:
        super().__init__(system, stream="s")
        self._let_go = let_go
        self._thread = thread

    @property
    def home(self) -> str:
        return self._thread

    def receive(self, message: Any) -> None:
        self._let_go.wait(60)


Block = Callable[[str], None]


@pytest.fixture
def blocked() -> Iterator[tuple[Probes, Block, threading.Event]]:
    """Yield probes of a guardian, a function that blocks a thread, and the event that ends all blocks."""
    system, let_go = System(Dispatcher()), threading.Event()
    guardian = Guardian.start(system, log=lambda *_, **__: None)

    def block(thread: str) -> None:
        Blocked.start(system, let_go, thread).tell(Poll())
        until(lambda: system.dispatcher.busy().get(thread, 0.0) > 0.05)

    try:
        yield Probes(guardian, [], stuck_s=0.05), block, let_go
    finally:
        let_go.set()
        guardian.stop(block=False)
        system.dispatcher.close()


def test_a_stuck_thread_fails_livez_until_its_task_ends(
    blocked: tuple[Probes, Block, threading.Event],
):
    probes, block, let_go = blocked
    assert get(probes, "/livez") == (200, {"live": True})
    block("events")
    status, reply = get(probes, "/livez")
    assert (status, reply["live"], list(reply["stuck"])) == (503, False, ["events"])
    assert reply["stuck"]["events"] > 0
    let_go.set()
    assert until(lambda: get(probes, "/livez")[0] == 200)


def test_a_thread_that_waits_for_a_disk_or_a_broker_is_not_stuck(blocked: tuple[Probes, Block, threading.Event]):
    probes, block, _ = blocked
    for home in WAITING_HOMES:
        block(home.of("events"))
    assert get(probes, "/livez") == (200, {"live": True})


def test_a_stuck_thread_is_reported_for_any_name_of_its_stream(blocked: tuple[Probes, Block, threading.Event]):
    probes, block, _ = blocked
    block(Home.ACTIVE.of("events-disk"))
    status, reply = get(probes, "/livez")
    assert (status, list(reply["stuck"])) == (503, ["events-disk/active"])


def test_two_streams_never_share_a_thread():
    names = [home.of(stream) for stream in ("control", "events", "events-disk", "events-input") for home in Home]
    assert len({*names, "control"}) == len(names) + 1


def test_a_silent_guardian_fails_livez_only_after_a_while(
    blocked: tuple[Probes, Block, threading.Event],
):
    probes, block, let_go = blocked
    block("control")
    assert get(probes, "/livez")[0] == 200, "the first failure is tolerated"
    status, reply = get(probes, "/livez")
    assert (status, list(reply["stuck"])) == (503, ["control"])
    assert get(probes, "/readyz") == (503, {"ready": False, "degraded": {}, "streams": {}})
    let_go.set()
    assert until(lambda: get(probes, "/livez")[0] == 200)


def test_startupz_passes_once_every_stream_has_read_its_checkpoint_and_never_fails_again(
    embedded: str, mock_topic: str, send: Send, tmp_path: Path
):
    send(embedded, mock_topic, records(EVENTS), [0] * len(EVENTS))
    disk = FailingDisk(Disk())
    disk.before = Fault(1, lasting=True, kinds=frozenset({"names"}))
    with stream(embedded, mock_topic, folder=tmp_path / "events", disk=disk) as running:
        probes = Probes(running.guardian, [Served("events", "sets", running.running.manager)])
        until(running.stats)
        assert get(probes, "/startupz") == (503, {"started": False, "reasons": {"events": "reading its checkpoint"}})
        status, reply = get(probes, "/readyz")
        assert (status, reply["ready"], reply["streams"]["events"]["ready"]) == (503, False, False)
        assert reply["streams"]["events"]["reasons"] == ["reading its checkpoint"]
        assert get(probes, "/livez") == (200, {"live": True})
        disk.before = nothing
        assert until(lambda: get(probes, "/startupz") == (200, {"started": True, "reasons": {}}))
        running.settled(len(EVENTS))
        status, reply = get(probes, "/readyz")
        assert (status, reply["ready"], reply["degraded"]) == (200, True, {})
        assert (reply["streams"]["events"]["ready"], reply["streams"]["events"]["lag"]) == (True, 0)
        for _ in range(10):  # the guardian gives up a stream after repeated failures
            manager = running.running.manager
            running.guardian.tell(Failed(manager, "events", "Manager", "Poll", ValueError("no good"), held=True))
        status, reply = until(lambda: found if (found := get(probes, "/readyz"))[0] == 503 else None)
        assert "no good" in reply["degraded"]["events"]
        assert "no good" in reply["streams"]["events"]["reasons"][0]
        assert get(probes, "/startupz")[0] == 200, "the stream has started once"
        assert get(probes, "/livez")[0] == 200, "the last answers stay readable"
