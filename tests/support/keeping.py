"""The real keeper over any disk, run step by step on the test's thread, with its messages and its reports."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.columns.snapshot import State
from actors.durability.disk import Disk
from actors.durability.keeper import Keeper
from actors.durability.store import Store
from actors.messages import Keep, Kept, Load, Loaded, Save, Saved
from actors.protocol import Message, Round
from actors.replies import GetHealth
from actors.runtime.actor import System
from actors.runtime.dispatcher import Task
from actors.runtime.guardian import Guardian
from actors.standing import Standing

FOLDER = Path("/data/events")


class Inbox:
    """Stands in for the manager, and stores the messages that it gets."""

    actor_class = type("Inbox", (), {})

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def is_alive(self) -> bool:
        return True

    def tell(self, message: Message) -> None:
        self.messages.append(message)


class Unthreaded:
    """Runs every task at once on the calling thread; `postponed` has the delayed ones."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._running = False
        self.postponed: list[Task] = []

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0

    def busy(self) -> dict[str, float]:
        return {}

    def worked(self) -> dict[str, float]:
        return {}

    def submit(self, task: Task, home: str) -> None:
        self._tasks.append(task)
        if self._running:
            return
        self._running = True
        try:
            while self._tasks:
                self._tasks.popleft()()
        finally:
            self._running = False

    def later(self, seconds: float, task: Task, home: str) -> None:
        self.postponed.append(task)


@dataclass
class Keeping:
    """One keeper. `troubles` are the problems that it reported, `failures` the exceptions that it raised."""

    address: Any
    guardian: Any
    dispatcher: Unthreaded
    store: Store
    troubles: list[str]
    inbox: Inbox = field(default_factory=Inbox)

    def load(self, committed: int | None = None) -> Loaded:
        """Load the newest checkpoint, or the one that an earlier version has committed. Run each retry that the keeper schedules."""
        standing = None if committed is None else Standing("out", committed, None, numbered=committed)
        self.address.tell(Load(standing, self.inbox, Round(1)))
        for _ in range(100):
            if isinstance(self._last(), Loaded):
                return self._last()
            postponed, self.dispatcher.postponed = self.dispatcher.postponed, []
            assert postponed, f"the keeper schedules no retry: {self.failures}"
            for task in postponed:
                self.dispatcher.submit(task, "")
        raise AssertionError(f"loading is retried without end: {self.troubles[-3:]}")

    def keep(self, number: int, state: State, version: int = 0) -> str | None:
        """Write a generation. Return the name of its file, or None if that failed."""
        self.address.tell(Keep(number, version, state, self.inbox))
        kept = self._last()
        assert isinstance(kept, Kept), kept
        assert (kept.collector_id, kept.version) == (number, version)
        return kept.name

    def save(self, state: State, named: frozenset[str]) -> Saved:
        """Write a checkpoint."""
        self.address.tell(Save(1, state, named, self.inbox))
        saved = self._last()
        assert isinstance(saved, Saved), saved
        return saved

    @property
    def failures(self) -> list[str]:
        """The exceptions that the keeper raised; there should be none."""
        replies: list[Any] = []
        self.guardian.tell(GetHealth(replies.append))
        return [f"{letter.kind}: {letter.reason}" for letter in replies[0].newest]

    def _last(self) -> Message:
        return self.inbox.messages[-1] if self.inbox.messages else None


@contextmanager
def keeping(disk: Disk, view: Any, make: Callable[[Path, Disk], Store] = Store, folder: Path = FOLDER) -> Iterator[Keeping]:
    """Start a keeper over `disk`. At the end it must have raised nothing."""
    dispatcher, troubles = Unthreaded(), []
    system = System(dispatcher)  # type: ignore[arg-type]  # it keeps the promises of the real one
    guardian = Guardian.start(system, log=lambda *_, **__: None)
    store = make(folder, disk)
    address = Keeper.start(system, stream="events", view=view, store=store, on_trouble=troubles.append)
    own = Keeping(address, guardian, dispatcher, store, troubles)
    try:
        yield own
        assert not own.failures, own.failures
    finally:
        address.stop(block=False)
        guardian.stop(block=False)
