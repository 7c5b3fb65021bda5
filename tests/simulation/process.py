"""One life of the service in a run: the real actors, until it is stopped or dies."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.durability.store import Store
from actors.messages import Drain
from actors.protocol import Message, ReplyTo
from actors.replies import Busy, GetHealth, GetStats, Query
from actors.runtime.actor import System
from actors.runtime.guardian import Guardian
from actors.stream import Callbacks, StreamPlan, start_stream
from actors.timeline.retention import Limits
from actors.timeline.span import Span
from tests.simulation.clock import SimulatedClock
from tests.simulation.disk import Platter, SimulatedDisk
from tests.simulation.dispatcher import SimulatedDispatcher
from tests.simulation.faults import Faults, TroubleError
from tests.simulation.scenario import Scenario
from tests.simulation.set_feed import SetFeed
from tests.simulation.sink import FileLikeSink, Outlet, SimulatedDeadLetterSink, TransactionalSink
from tests.simulation.source import SimulatedSource
from tests.simulation.topic import Ledger
from tests.simulation.trace import Trace
from tests.support.failing import FailingView
from tests.support.running import FixedMeter

FOLDER = Path("/data/events")


class World:
    """Everything that outlives a process: the clock, the topic and its ledger, the outlet, the disk; and the faults."""

    def __init__(self, seed: int, plan: Scenario) -> None:
        self.plan = plan
        self.trace = Trace()
        self.clock = SimulatedClock()
        self.chance = random.Random(f"{seed} run")
        self.faults = Faults(random.Random(f"{seed} faults"), plan.rates, self.trace)
        self.ledger = Ledger(plan.topic)
        self.outlet = Outlet()
        self.platter = Platter(self.chance)

    def fell_silent(self) -> None:
        """Note that the stream has read all records."""
        self.trace.note("report", "end")
        if isinstance(self.plan.feed, SetFeed):
            self.plan.feed.silences += 1

    def lose_power(self) -> None:
        """Lose unsafe data. A process that is killed loses nothing that it wrote; a machine without power does."""
        self.platter.lose_power()
        self.outlet.lose_power(self.chance)


def stream_plan(plan: Scenario, name: str, view: Any, source: SimulatedSource, store: Store, *, faults: Faults) -> StreamPlan:
    """Return the plan of a stream without outputs, with the pace and the limits of a scenario."""
    meter = FixedMeter(Limits(plan.budget_bytes, plan.max_aged), lambda: 1 << 60 if faults.strikes("memory spike") else 0)
    return StreamPlan(
        name=name,
        view=view,
        source=source,
        lateness=plan.lateness,
        idle_s=plan.idle_s,
        ahead=plan.ahead,
        meter=meter,
        baseline_bytes=0,
        pace=plan.pace,
        store=store,
    )


class Process:
    """The actors of one stream over `world`."""

    def __init__(self, world: World) -> None:
        plan, self._world = world.plan, world
        if not plan.durable:
            world.outlet.records.clear()  # a start without a checkpoint publishes all results again
            world.outlet.safe = 0
            world.ledger.start()
        self.superseded: str | None = None
        """Why the process must end, because another one may write to the same place."""
        self.platter = world.platter if plan.durable else Platter(world.chance)
        self._disk = SimulatedDisk(self.platter, world.clock, world.chance, world.faults)
        self.dispatcher = SimulatedDispatcher(world.clock, world.chance, world.faults, world.trace)
        system = System(self.dispatcher)  # type: ignore[arg-type]  # it keeps the promises of a dispatcher
        self.guardian = Guardian.start(system, log=self._logged)
        source = SimulatedSource(plan.topic, world.ledger, world.clock, world.chance, world.faults, slow_s=plan.slow_s)
        sink = (TransactionalSink if plan.durable and plan.transactional else FileLikeSink)(world.outlet, world.faults)
        self.running = start_stream(
            system,
            replace(
                stream_plan(
                    plan, "events", self._view(), source, Store(FOLDER, self._disk, lasting=plan.durable), faults=world.faults
                ),
                sinks=[sink] if plan.feed.publishes else [],
                dead_letters=SimulatedDeadLetterSink(world.outlet, world.faults),  # type: ignore[arg-type]  # it stands in
            ),
            Callbacks(
                lambda *_: world.trace.note("report", "waits"),
                lambda _: world.fell_silent(),
                lambda _, problem: world.trace.note("report", problem),
                self._end,
            ),
        )

    def step(self) -> None:
        """Run one task. May raise CrashError."""
        self.dispatcher.step()

    def ask(self, address: Any, message: Callable[[ReplyTo], Message]) -> Any:
        """Run until the reply to a message is there, and return it; None if the request was refused."""
        replies: list[Any] = []
        address.tell(message(replies.append))
        for _ in range(100_000):
            if replies:
                return None if isinstance(replies[0], Busy) else replies[0]
            self.step()
        raise AssertionError("a request gets no reply")

    def stats(self) -> Any:
        """Return the manager's stats."""
        return self.ask(self.running.manager, GetStats)

    def answer(self, span: Span, arguments: Any) -> Any:
        """Return the answer to a query."""
        return self.ask(self.running.manager, lambda reply_to: Query(span, arguments, 10.0, reply_to))

    def degraded(self) -> str | None:
        """Return the reason if the stream was given up, else None."""
        health = self.ask(self.guardian, GetHealth)
        return str(health.degraded["events"]) if health and "events" in health.degraded else None

    def drain(self) -> None:
        """Stop reading. After that, every event that was read is in a slice, and in a checkpoint."""
        self.ask(self.running.front_end, Drain)
        self.run(2.0)

    def run(self, seconds: float) -> None:
        """Run for some time."""
        until = self.dispatcher.now() + seconds
        while self.dispatcher.now() < until:
            self.step()

    def die(self) -> None:
        """End the process in the middle of its tasks."""
        self.dispatcher.close()
        self._disk.dead = True

    def _view(self) -> Any:
        """Return the view. A live slice fails at each batch that holds a poisoned record."""
        feed = self._world.plan.feed
        poison = [record.truth for record in self._world.plan.topic.records if record.poison]
        if not poison:
            return feed.view()

        def before(method: str, argument: Any) -> None:
            if method == "add" and any(feed.holds(argument, event) for event in poison):
                raise TroubleError("poison")

        return FailingView(feed.view(), before)

    def _end(self, _: str, reason: str) -> None:
        self._world.trace.note("report", reason)
        self.superseded = reason

    def _logged(self, event: str, **facts: Any) -> None:
        self._world.trace.note("log", f"{event} {facts.get('actor', '')} {facts.get('message', '')} {facts.get('reason', '')}")
