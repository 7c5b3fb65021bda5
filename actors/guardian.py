"""The actor at the root: it starts the streams in order, hears of every failure, and drains on shutdown.

An actor that failed at data waits; the guardian lets it go on after a backoff, and after too many failures in a row gives the
stream up, whose last answers stay readable. It keeps the last dead letters for people to look at.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from actors.actor import Actor, System
from actors.front_end import FrontEnd
from actors.manager import Manager
from actors.messages import (
    Address,
    DeadLetter,
    Drain,
    Drained,
    Failed,
    GetHealth,
    Health,
    Recover,
    ReplyTo,
    Undelivered,
)
from actors.source import Source
from actors.timeline.retention import Limits
from actors.views.view import View

GuardianMessage = Failed | Undelivered | GetHealth

_KEPT_LETTERS = 100
_MOST_FAILURES = 5
_WITHIN_S = 60.0
_BACKOFF_S = 0.1


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """All that it takes to start a stream. `lateness` is in the stream's unit, `idle_s` in seconds."""

    name: str
    view: View
    source: Source
    lateness: int
    idle_s: float
    limits: Limits
    baseline_bytes: int
    rss: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Running:
    """A stream that was started: the address to ask, and the one to drain."""

    manager: Address
    front_end: Address


class Guardian(Actor):
    """Watches the streams of `system`. `log` is told what people should know: an event's name and its facts."""

    def __init__(self, system: System, *, log: Callable[..., None]) -> None:
        super().__init__(system, stream="")
        self._log = log
        self._letters: deque[DeadLetter] = deque(maxlen=_KEPT_LETTERS)
        self._letter_count = 0
        self._failures: dict[str, deque[float]] = {}
        self._restarts: Counter[str] = Counter()
        self._degraded: dict[str, str] = {}
        system.guardian = self.actor_ref

    def receive(self, message: GuardianMessage) -> None:
        """Handle one message."""
        match message:
            case Failed():
                self._failed(message)
            case Undelivered(stream, name, kind, reason):
                self._keep(stream, name, kind, reason)
            case GetHealth(reply_to):
                newest = tuple(reversed(self._letters))
                reply_to(Health(dict(self._degraded), dict(self._restarts), self._letter_count, newest))
            case _:
                assert_never(message)

    def _keep(self, stream: str, name: str, kind: str, reason: str) -> None:
        self._letter_count += 1
        self._letters.append(DeadLetter(self.system.dispatcher.wall(), stream, name, kind, reason))

    def _failed(self, message: Failed) -> None:
        """Note the failure; where the actor waits, let it go on later, or give its stream up."""
        reason = f"{type(message.error).__name__}: {message.error}"
        self._keep(message.stream, message.name, message.kind, reason)
        self._log("actor failed", stream=message.stream, actor=message.name, message=message.kind, reason=reason)
        if not message.held:
            return
        now = self.system.dispatcher.now()
        recent = self._failures.setdefault(message.stream, deque(maxlen=_MOST_FAILURES))
        recent.append(now)
        if len(recent) == _MOST_FAILURES and now - recent[0] < _WITHIN_S:
            self._degraded[message.stream] = f"{message.name} failed {_MOST_FAILURES} times within a minute: {reason}"
            self._log("stream degraded", stream=message.stream, reason=reason)
            return
        self._restarts[message.stream] += 1
        self.later(_BACKOFF_S * 2 ** len(recent), message.actor, Recover())


def start_stream(system: System, plan: StreamPlan, *, on_wait: Callable[[str], None]) -> Running:
    """Start a stream's actors, the manager first. Returns at once; reading begins when the front end is there."""
    manager = Manager.start(
        system,
        stream=plan.name,
        view=plan.view,
        limits=plan.limits,
        baseline_bytes=plan.baseline_bytes,
        rss=plan.rss,
    )
    front_end = FrontEnd.start(
        system,
        stream=plan.name,
        view=plan.view,
        source=plan.source,
        manager=manager,
        lateness=plan.lateness,
        idle_s=plan.idle_s,
        on_wait=on_wait,
    )
    return Running(manager, front_end)


def drain(running: Running, reply_to: ReplyTo) -> None:
    """Stop reading, and reply `Drained` when all that was read is in its slice; then the actors may be stopped."""
    running.front_end.tell(Drain(reply_to))


__all__ = ["Drained", "Guardian", "Running", "StreamPlan", "drain", "start_stream"]
