"""A stream of real actors in a test, and the requests that tests send to it."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from actors.durability.disk import Disk
from actors.durability.scratch import ScratchDisk
from actors.durability.store import Store
from actors.protocol import Message, ReplyTo
from actors.reading.pace import Pace
from actors.replies import Answer, GetHealth, GetStats, Health, Query, Stats
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.sink import Sink
from actors.sources.kafka.source import KafkaSource
from actors.stream import Callbacks, Running, StreamPlan, drain, start_stream
from actors.timeline.retention import Limits
from actors.timeline.span import EVER, Span
from actors.timeline.unit import TimeUnit
from actors.views.kinds import VIEWS
from actors.views.sets.arguments import Page
from actors.views.sets.render import rows
from tests.support.waiting import PATIENCE_S, until

Event = tuple[int, int]
STEPS = "RGB"

ALL = Page()


def records(events: Iterable[Event]) -> list[bytes]:
    """Return events as a producer writes them."""
    return [f"{STEPS[step]}_{time}".encode() for time, step in events]


def regular_events(count: int) -> list[Event]:
    """Return events 10 apart, whose steps take turns: each three of them form a set."""
    return [(10 * number, number % 3) for number in range(count)]


def random_events(count: int, seed: int, *, displacement: float = 0) -> list[Event]:
    """Return events 10 apart with random steps. Each comes at most `displacement` places late."""
    chance = random.Random(seed)
    events = [(1_000_000 + 10 * number, chance.randrange(3)) for number in range(count)]
    return sorted(events, key=lambda event: event[0] + chance.uniform(0, 10 * displacement))


@dataclass(frozen=True)
class FixedMeter:
    """A memory meter whose limits do not change. `rss` returns the resident bytes."""

    fixed: Limits
    rss: Callable[[], int]

    def limits(self) -> Limits:
        """Return the limits."""
        return self.fixed

    def budget_bytes(self) -> int:
        """Return the budget."""
        return self.fixed.budget_bytes

    def resident_bytes(self) -> int:
        """Return the result of `rss`."""
        return self.rss()

    def release(self) -> None:
        """Nothing to give back."""

    def trim(self) -> None:
        """Nothing to give back."""

    def report_excess(self) -> None:
        """Nothing to report."""


@dataclass
class Stream:
    """One running stream."""

    running: Running
    guardian: Any
    logged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def ask(self, address: Any, message: Callable[[ReplyTo], Message]) -> Any:
        """Return the reply to a message."""
        replies: SimpleQueue[Any] = SimpleQueue()
        address.tell(message(replies.put))
        return replies.get(timeout=PATIENCE_S)

    def stats(self) -> Stats:
        """Return the manager's stats."""
        return self.ask(self.running.manager, GetStats)

    def health(self) -> Health:
        """Return the guardian's health."""
        return self.ask(self.guardian, GetHealth)

    def answer(self, span: Span = EVER, page: Page = ALL) -> Answer:
        """Return the answer to a query."""
        return self.ask(self.running.manager, lambda reply_to: Query(span, page, 10.0, reply_to))

    def sets(self, span: Span = EVER) -> list[tuple[int, ...]]:
        """Return all sets whose first time is in `span`."""
        found = rows(self.answer(span).partial, span, None)
        return [tuple(map(int, each)) for block in found for each in zip(*block, strict=True)]

    def read(self, count: int) -> None:
        """Wait until exactly `count` records are read."""
        until(lambda: self.stats().progress.records == count)

    def settled(self, count: int) -> Stats:
        """Return the stats once `count` records are read and all of them are in their slices."""

        def look() -> Stats | None:
            stats = self.stats()
            quiet = stats.progress.records >= count and not stats.progress.buffered and not stats.progress.in_flight
            return stats if quiet and placed(stats) == stats.progress.events else None

        return until(look)


def placed(stats: Stats) -> int:
    """Return how many events are in a slice, or counted as dropped."""
    return sum(meta.events for meta in (*stats.aged, stats.active)) + sum(stats.dropped.values())


@contextmanager
def stream(
    bootstrap: str,
    topic: str,
    *,
    max_sets: int = 1_000_000,
    max_aged: int | None = None,
    budget_bytes: int = 1 << 40,
    view: Any = None,
    source: Any = KafkaSource,
    rss: Callable[[], int] = lambda: 0,
    pace: Pace | None = None,
    folder: Path | None = None,
    disk: Disk | None = None,
    spill_bytes: int = 0,
    idle_s: float = 0.2,
    sinks: Sequence[Sink] = (),
    dead_letters: DeadLetterSink | None = None,
    unit: TimeUnit | None = None,
    crash: bool = False,
    backoff_s: float = 0.1,
) -> Iterator[Stream]:
    """Run a stream of sets over a topic. It is drained and stopped at the end, or, if it shall `crash`, only stopped."""
    logged: list[tuple[str, dict[str, Any]]] = []
    system = System(Dispatcher())
    guardian = Guardian.start(system, log=lambda event, **facts: logged.append((event, facts)), backoff_s=backoff_s)
    plan = StreamPlan(
        name="events",
        view=view or VIEWS["sets"](steps=STEPS, max_sets=max_sets),
        source=source({"bootstrap.servers": bootstrap, "group.id": topic}, topic, start="earliest", on_error=lambda _: None),
        lateness=500,
        idle_s=idle_s,
        meter=FixedMeter(Limits(budget_bytes, max_aged, spill_bytes=spill_bytes), rss),
        baseline_bytes=0,
        store=Store(folder, disk or Disk()) if folder else Store(Path("events"), ScratchDisk(), lasting=False),
        pace=pace or Pace(checkpoint_s=0.05),
        sinks=sinks,
        dead_letters=dead_letters,
        unit=unit or TimeUnit(),
    )
    running = start_stream(system, plan, Callbacks(lambda *_: None, lambda _: None, lambda *_: None))
    try:
        yield Stream(running, guardian, logged)
        if not crash:
            drained: SimpleQueue[Any] = SimpleQueue()
            drain(running, drained.put)
            drained.get(timeout=PATIENCE_S)
    finally:
        running.stop()
        guardian.stop()
        system.dispatcher.close()
