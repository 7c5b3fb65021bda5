"""Starts, drains and stops the actors of one stream, by a plan.

Used by the composition root and by tests. Holds no state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Never

from actors.collecting.brake import Brake
from actors.durability.keeper import Keeper
from actors.durability.store import Store
from actors.front_end import FrontEnd
from actors.manager import Manager
from actors.messages import (
    DeadLetterWriterMessage,
    Drain,
    Drained,
    FrontEndMessage,
    KeeperMessage,
    ManagerAddress,
    PublisherMessage,
    WriterMessage,
)
from actors.protocol import Address, ReplyTo
from actors.reading.pace import Pace
from actors.runtime.actor import System, start
from actors.sinks.dead_letter_writer import DeadLetterWriter
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.posting import KafkaWriter
from actors.sinks.publisher import Publisher
from actors.sinks.sink import Sink
from actors.sinks.writer import Writer
from actors.sources.source import Source
from actors.timeline.horizon import Ahead
from actors.timeline.retention import Meter
from actors.timeline.unit import TimeUnit
from actors.views.view import View


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """The parts and limits of one stream. `idle_s` is in seconds.

    `lateness` and `ahead` are in the unit of the settings. If this is not given, `unit` is decided by the events.

    Every stream has checkpoints, in `store`. `connect` makes the client that writes to the stream's own topic; None if
    clients may not write. `streams` is the number of streams in the process. A shard of a cluster has its own class of
    `manager`.
    """

    name: str
    view: View
    source: Source
    lateness: int
    idle_s: float
    meter: Meter
    baseline_bytes: int
    store: Store
    pace: Pace = field(default_factory=Pace)
    sinks: Sequence[Sink] = ()
    connect: Callable[[], KafkaWriter] | None = None
    streams: int = 1
    dead_letters: DeadLetterSink | None = None
    ahead: Ahead = field(default_factory=Ahead)
    unit: TimeUnit = field(default_factory=TimeUnit)
    manager: type[Manager] = Manager


@dataclass(frozen=True, slots=True)
class Running:
    """The addresses of a started stream's actors; None for each actor that the plan does not need."""

    manager: ManagerAddress
    front_end: Address[FrontEndMessage]
    publisher: Address[PublisherMessage] | None
    writer: Address[WriterMessage] | None
    keeper: Address[KeeperMessage]
    dead_letters: Address[DeadLetterWriterMessage] | None = None

    def stop(self) -> None:
        """Stop the stream's actors, and wait until each has released its files and connections."""
        optional = (self.dead_letters, self.manager, self.publisher, self.writer, self.keeper)
        addresses: tuple[Address[Never] | None, ...] = (self.front_end, *optional)
        for address in addresses:
            if address is not None:
                address.stop()


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The functions that a stream's actors call on their threads. The first argument of each is the stream's name.

    `wait`: records cannot be read yet; the second argument is the reason, the third what an operator can do, or None. `end`:
    every record of a finite source is in a slice.
    `trouble`: a sink does not accept results, or the disk does not accept a checkpoint; the second argument is the problem.
    `superseded`: this process must end, because another one may write to the same place; the second argument is the reason.
    """

    wait: Callable[[str, str, str | None], None]
    end: Callable[[str], None]
    trouble: Callable[[str, str], None]
    superseded: Callable[[str, str], None] = lambda *_: None


def start_stream(system: System, plan: StreamPlan, callbacks: Callbacks) -> Running:
    """Start a stream's actors; each starts after those that it sends to. Returns without waiting for the first record."""
    writer = publisher = dead_letters = None

    def trouble(problem: str) -> None:
        callbacks.trouble(plan.name, problem)

    if plan.connect is not None:
        writer = start(Writer, system, stream=plan.name, connect=plan.connect)
    if plan.sinks:
        publisher = start(
            Publisher,
            system,
            stream=plan.name,
            sinks=plan.sinks,
            on_trouble=trouble,
            on_superseded=lambda reason: callbacks.superseded(plan.name, reason),
        )
    keeper = start(Keeper, system, stream=plan.name, view=plan.view, store=plan.store, on_trouble=trouble)
    if plan.dead_letters is not None:
        dead_letters = start(DeadLetterWriter, system, stream=plan.name, sink=plan.dead_letters)
    manager = start(
        plan.manager,
        system,
        stream=plan.name,
        view=plan.view,
        meter=plan.meter,
        brake=Brake(plan.streams),
        baseline_bytes=plan.baseline_bytes,
        publisher=publisher,
        keeper=keeper,
        lasting=plan.store.lasting,
    )
    front_end = start(
        FrontEnd,
        system,
        stream=plan.name,
        view=plan.view,
        source=plan.source,
        manager=manager,
        lateness=plan.lateness,
        idle_s=plan.idle_s,
        unit=plan.unit,
        ahead=plan.ahead,
        on_wait=callbacks.wait,
        on_end=callbacks.end,
        dead_letters=dead_letters,
        saves_first=bool(plan.sinks) and plan.store.lasting,
        lasting=plan.store.lasting,
        pace=plan.pace,
    )
    return Running(manager, front_end, publisher, writer, keeper, dead_letters)


def drain(running: Running, reply_to: ReplyTo[Drained]) -> None:
    """Stop reading, and reply `Drained` when every event read is in a slice. Call `Running.stop` after that."""
    running.front_end.tell(Drain(reply_to))
