"""One stream from its plan to its end: what it takes, how its actors start, in order, and how it drains.

Used by the composition root and by tests. Holds no state of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.actor import System
from actors.front_end import FrontEnd, Pace
from actors.manager import Manager
from actors.messages import Address, Drain, ReplyTo
from actors.source import Source
from actors.timeline.retention import Limits
from actors.views.view import View


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
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Running:
    """A stream that was started: the address to ask, and the one to drain."""

    manager: Address
    front_end: Address


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
        pace=plan.pace,
    )
    return Running(manager, front_end)


def drain(running: Running, reply_to: ReplyTo) -> None:
    """Stop reading, and reply `Drained` when all that was read is in its slice; then the actors may be stopped."""
    running.front_end.tell(Drain(reply_to))
