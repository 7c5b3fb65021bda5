"""One stream from its plan to its end: what it takes, how its actors start, in order, and how it drains.

Used by the composition root and by tests. Holds no state of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from actors.actor import System
from actors.front_end import FrontEnd, Pace
from actors.manager import Manager
from actors.messages import Address, Drain, ReplyTo
from actors.publisher import Publisher
from actors.sink import KafkaWriter, Sink
from actors.source import Source
from actors.timeline.retention import Limits
from actors.views.view import View
from actors.writer import Writer


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """All that it takes to start a stream. `lateness` is in the stream's unit, `idle_s` in seconds.

    `connect` makes the client that writes to the stream's own topic, where clients may.
    """

    name: str
    view: View
    source: Source
    lateness: int
    idle_s: float
    limits: Limits
    baseline_bytes: int
    rss: Callable[[], int]
    pace: Pace = field(default_factory=Pace)
    sinks: Sequence[Sink] = ()
    connect: Callable[[], KafkaWriter] | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A stream that was started: whom to ask, to drain, for what was published, and to write."""

    manager: Address
    front_end: Address
    publisher: Address | None
    writer: Address | None

    def stop(self) -> None:
        """Stop the stream's actors; what they hold of the outside is let go of."""
        for address in (self.front_end, self.manager, self.publisher, self.writer):
            if address is not None:
                address.stop()


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told what of a stream.

    `wait`: that there is nothing to read from yet; `end`: that all there is has been read and taken in; `trouble`: what keeps
    a sink from taking results.
    """

    wait: Callable[[str], None]
    end: Callable[[str], None]
    trouble: Callable[[str, str], None]


def start_stream(system: System, plan: StreamPlan, told: Told) -> Running:
    """Start a stream's actors, the last in the line first. Returns at once; reading begins when the front end is there."""
    writer = publisher = None
    if plan.connect is not None:
        writer = Writer.start(system, stream=plan.name, connect=plan.connect)
    if plan.sinks:
        publisher = Publisher.start(
            system, stream=plan.name, sinks=plan.sinks, on_trouble=lambda problem: told.trouble(plan.name, problem)
        )
    manager = Manager.start(
        system,
        stream=plan.name,
        view=plan.view,
        limits=plan.limits,
        baseline_bytes=plan.baseline_bytes,
        rss=plan.rss,
        publisher=publisher,
    )
    front_end = FrontEnd.start(
        system,
        stream=plan.name,
        view=plan.view,
        source=plan.source,
        manager=manager,
        lateness=plan.lateness,
        idle_s=plan.idle_s,
        on_wait=told.wait,
        on_end=told.end,
        pace=plan.pace,
    )
    return Running(manager, front_end, publisher, writer)


def drain(running: Running, reply_to: ReplyTo) -> None:
    """Stop reading, and reply `Drained` when all that was read is in its slice; then the actors may be stopped."""
    running.front_end.tell(Drain(reply_to))
