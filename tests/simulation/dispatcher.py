"""The dispatcher of a run: real actors on one thread, in an order that the seed decides.

Replaces `actors.runtime.dispatcher.Dispatcher`, and keeps its promise: the tasks of one home run in order, one at a time.
"""

import heapq
import itertools
import random
from collections import deque
from typing import Any

import pykka

from actors.runtime.actor import Actor
from actors.runtime.dispatcher import Task
from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import Faults, TroubleError
from tests.simulation.trace import Trace

_STEP_S = 0.0004
_STALL_S = 1.5
_STARVED_S = 0.1
"""Seconds: the longest step; the longest time in which no task runs; the longest time that a starved home waits at once."""


class SimulatedDispatcher:
    """Runs one task a step. For a while, one home may wait as long as other homes have tasks: a thread that gets no time."""

    def __init__(self, clock: SimulatedClock, chance: random.Random, faults: Faults, trace: Trace) -> None:
        self._clock = clock
        self._chance = chance
        self._faults = faults
        self._trace = trace
        self._homes: dict[str, deque[Task]] = {}
        self.blocked: set[str] = set()
        """The homes whose threads are in the middle of a task."""
        self._later: list[tuple[float, int, str, Task]] = []
        self._order = itertools.count()
        self._patient: str | None = None
        self._fine = chance.random() < 0.5
        self.actors: list[Actor] = []
        self._dead = False

    def now(self) -> float:
        return self._clock.now()

    def wall(self) -> float:
        return self._clock.wall()

    def busy(self) -> dict[str, float]:
        return {}

    def worked(self) -> dict[str, float]:
        return {}

    def submit(self, task: Task, home: str) -> None:
        if self._dead:
            return
        owner = getattr(task, "__self__", None)
        if isinstance(owner, Actor) and owner not in self.actors:
            self._adopt(owner)
        self._homes.setdefault(home, deque()).append(task)

    def later(self, seconds: float, task: Task, home: str) -> None:
        if not self._dead:
            heapq.heappush(self._later, (self.now() + seconds, next(self._order), home, task))

    def close(self, timeout_s: float = 5.0) -> None:
        """Drop all tasks, run no task any more, and remove the actors from Pykka's registry."""
        self._dead = True
        self._homes.clear()
        self._later.clear()
        for actor in self.actors:
            pykka.ActorRegistry.unregister(actor.actor_ref)
        self.actors.clear()

    def step(self) -> None:
        """Run one task, or let time pass until there is one. May raise CrashError."""
        self._trace.step += 1
        self._clock.advance(_STEP_S * self._chance.random())
        if self._faults.strikes("stall"):
            self._clock.advance(_STALL_S * self._chance.random())
        self._wake()
        ready = [home for home, tasks in self._homes.items() if tasks and home not in self.blocked]
        if not self._faults.on:
            self._patient = None
        elif ready and self._faults.strikes("starve"):
            self._patient = self._chance.choice(ready)
        elif self._chance.random() < 0.02:
            self._patient = None
        if len(ready) > 1 and self._patient in ready:
            ready.remove(self._patient)
        elif ready == [self._patient] and self._chance.random() < 0.7:
            self._clock.advance(min(_STARVED_S, self._next_in()))
            return
        if not ready:
            self._clock.advance(self._next_in())
            return
        home = ready[0] if len(ready) == 1 else self._chance.choice(ready)
        self._homes[home].popleft()()

    def ready(self) -> bool:
        """Whether there is a task to run now."""
        self._wake()
        return any(tasks for home, tasks in self._homes.items() if home not in self.blocked)

    @property
    def due(self) -> float:
        """The time at which the next delayed task is due; infinity without one."""
        return self._later[0][0] if self._later else float("inf")

    def _next_in(self) -> float:
        """Return the seconds until the next delayed task is due."""
        return max(0.0, self._later[0][0] - self.now()) if self._later else _STALL_S

    def _wake(self) -> None:
        while self._later and self._later[0][0] <= self.now():
            _, _, home, task = heapq.heappop(self._later)
            self._homes.setdefault(home, deque()).append(task)

    def _adopt(self, actor: Actor) -> None:
        """Trace every message of a new actor, and make it fail at some messages."""
        self.actors.append(actor)
        if self._fine:
            actor.turn = 1  # type: ignore[misc]  # the finest interleaving
        handle = actor.on_receive

        def on_receive(message: Any) -> None:
            self._trace.note(actor.name, described(message))
            if self._faults.strikes("handler"):
                raise TroubleError(f"before {type(message).__name__}")
            handle(message)
            if self._faults.strikes("handler"):
                raise TroubleError(f"after {type(message).__name__}")

        actor.on_receive = on_receive  # type: ignore[method-assign]


def described(message: Any) -> str:
    """Return a message's kind, and its ids and counts."""
    parts = [type(message).__name__]
    for name in (
        "query_id",
        "attempt_id",
        "collector_id",
        "publication_id",
        "checkpoint_id",
        "round",
        "count",
        "events",
        "records",
        "state",
    ):
        value = getattr(message, name, None)
        if isinstance(value, int | str):
            parts.append(f"{name} {value}")
    return " ".join(parts)
