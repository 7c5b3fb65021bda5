"""While the disk fails, a stream reads and answers, reports the problem, and saves a checkpoint once the disk works again."""

import asyncio
import contextlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.durability.copied import CopiedStore
from actors.durability.disk import Disk
from actors.replies import Durability
from actors.stream import Callbacks
from actors.views.kinds import VIEWS
from gateway.app import create_app
from gateway.stream import Served
from scripts.lab.truth import greedy
from tests.actors.test_disk import ERRORS, Fault
from tests.support import running as of_tests
from tests.support.allowed import allowance
from tests.support.keeping import keeping
from tests.support.listed import over
from tests.support.logged_disk import FailingDisk, nothing
from tests.support.running import STEPS, Event, Stream, random_events, records
from tests.support.waiting import until

WRITING = ["create", "write", "sync", "rename", "sync_folder"]
PART = 90


class Troubled:
    """A stream over a disk that fails on demand, and the events that it gets."""

    def __init__(self, running: Stream, disk: FailingDisk, folder: Path, troubles: list[str], values: list[bytes]) -> None:
        self.running = running
        self.disk = disk
        self.folder = folder
        self.troubles = troubles
        self._values = values
        self._events: list[Event] = []

    def send(self) -> None:
        """Append some events to the stream. None of them is late."""
        sent = len(self._events)
        self._events += [(time + 100 * sent, step) for time, step in random_events(PART, seed=sent, displacement=10)]
        self._values += records(self._events[sent:])

    def go_on(self) -> None:
        """Send some events, and assert that the answer has the sets of all events."""
        self.send()
        self.running.settled(len(self._events))
        assert self.running.sets() == greedy(self._events, 3)
        assert not self.running.logged

    def durability(self) -> Durability:
        found = self.running.stats().durability
        assert found is not None
        return found

    def saved_after(self, checkpoint: int) -> int:
        """Wait for a checkpoint newer than `checkpoint`. Return its id."""

        def look() -> int:
            found = self.durability()
            return found.checkpoint if found.checkpoint > checkpoint and found.problem is None else 0

        return until(look)

    def elsewhere(self, tmp_path: Path) -> int:
        """Return the id of the checkpoint that another process would load now, after asserting that it is complete."""
        copy = tmp_path / "copy"

        def copied() -> bool:
            shutil.rmtree(copy, ignore_errors=True)
            with contextlib.suppress(shutil.Error):  # a file may be deleted while the folder is copied
                shutil.copytree(self.folder, copy)
                return True
            return False

        until(copied)
        with keeping(Disk(), VIEWS["sets"](steps=STEPS, max_sets=20), folder=copy) as keeper:
            loaded = keeper.load()
        assert not loaded.lost
        assert all(each.frozen is not None for each in loaded.aged)
        assert loaded.state is not None
        return loaded.checkpoint_id

    def readiness(self) -> Any:
        """Return the stream's entry of /readyz."""
        app = create_app(
            [Served("events", "sets", self.running.running.manager, steps=("R", "G", "B"))],
            self.running.guardian,
            allowance(deadline_s=5, max_queries=9, reply_bytes=1 << 20),
        )

        async def get() -> Any:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
                return (await client.get("/readyz")).json()["streams"]["events"]

        return asyncio.run(get())


@pytest.fixture
def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Troubled]:
    disk, troubles, values, folder = FailingDisk(Disk()), list[str](), list[bytes](), tmp_path / "events"
    monkeypatch.setattr(of_tests, "Disk", lambda: disk)
    monkeypatch.setattr(
        of_tests, "Callbacks", lambda wait, end, _: Callbacks(wait, end, lambda _, problem: troubles.append(problem))
    )
    with over(values, max_sets=20, folder=folder) as running:
        troubled = Troubled(running, disk, folder, troubles, values)
        troubled.go_on()
        troubled.saved_after(0)
        yield troubled
        disk.before = nothing


@pytest.mark.parametrize(("kind", "error"), list(zip(WRITING, itertools.cycle(ERRORS), strict=False)))
def test_a_stream_continues_while_no_checkpoint_can_be_saved(troubled: Troubled, tmp_path: Path, kind: str, error: int):
    troubled.disk.before = Fault(1, lasting=True, error=error, kinds=frozenset({kind}))
    for _ in range(2):
        troubled.go_on()
    found = until(lambda: now if (now := troubled.durability()).failed > 1 else None)
    assert found.problem is not None
    assert troubled.readiness()["checkpointProblem"] is not None
    assert troubled.readiness()["ready"] is True, "it answers"
    assert any(os.strerror(error) in each and "cannot be written" in each for each in troubled.troubles)
    assert troubled.elsewhere(tmp_path) >= found.checkpoint
    assert troubled.durability().checkpoint == found.checkpoint
    troubled.disk.before = nothing
    assert troubled.saved_after(found.checkpoint) > found.checkpoint
    assert troubled.readiness()["checkpointProblem"] is None
    troubled.go_on()
    until(lambda: not list(troubled.folder.glob("*.tmp")))


def test_a_stream_says_that_its_newest_checkpoint_has_no_copy_until_one_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copies, folder = Copying(["no broker", None]), tmp_path / "events"
    monkeypatch.setattr(of_tests, "Store", lambda folder, disk: CopiedStore(folder, disk, copies))
    values: list[bytes] = []
    with over(values, max_sets=20, folder=folder) as running:
        troubled = Troubled(running, FailingDisk(Disk()), folder, [], values)
        troubled.go_on()
        copies.go_on.release()
        checkpoint = troubled.saved_after(0)
        assert troubled.durability().copy_problem == "no broker"
        entry = troubled.readiness()
        assert (entry["copyProblem"], entry["checkpointProblem"], entry["ready"]) == ("no broker", None, True)
        troubled.go_on()
        copies.go_on.release()
        assert troubled.saved_after(checkpoint) > checkpoint
        assert troubled.durability().copy_problem is None
        assert "copyProblem" not in troubled.readiness()
        copies.go_on.release(1_000)


class Copying:
    """The place of copies, which tells why each of the next copies fails. Each one waits until it may go on."""

    def __init__(self, told: list[str | None]) -> None:
        self.told = told
        self.go_on = threading.Semaphore(0)

    def fetch(self, store: CopiedStore) -> int:
        return 0

    def put(self, names: Sequence[str], content: Callable[[str], memoryview]) -> str | None:
        self.go_on.acquire(timeout=60)
        assert names
        assert all(len(content(name)) for name in names)
        return self.told.pop(0) if self.told else None


@pytest.mark.parametrize("kind", ["remove", "names"])
def test_a_stream_saves_checkpoints_while_no_file_can_be_deleted(troubled: Troubled, tmp_path: Path, kind: str):
    troubled.disk.before = Fault(1, lasting=True, kinds=frozenset({kind}))
    checkpoint = troubled.durability().checkpoint
    for _ in range(3):
        troubled.go_on()
        checkpoint = troubled.saved_after(checkpoint)
    assert any("cannot be deleted" in each for each in troubled.troubles)
    assert len(list(troubled.folder.glob("checkpoint*"))) > 2
    assert troubled.elsewhere(tmp_path) >= checkpoint
    troubled.disk.before = nothing
    troubled.go_on()
    troubled.saved_after(checkpoint)
    until(lambda: len(list(troubled.folder.glob("checkpoint*"))) == 2)


def test_after_any_failed_operation_the_next_checkpoint_is_saved(troubled: Troubled, tmp_path: Path):
    checkpoint = troubled.durability().checkpoint
    for at in range(1, 40, 3):
        troubled.disk.before = fault = Fault(at, error=ERRORS[at % 3])
        while not fault.struck:
            troubled.send()
            checkpoint = troubled.saved_after(checkpoint)
    troubled.go_on()
    assert troubled.elsewhere(tmp_path) >= checkpoint
    assert troubled.troubles
