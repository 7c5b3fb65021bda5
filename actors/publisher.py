"""The actor that writes what is due to a stream's sinks, in order, and gives the credit back once all of it is delivered.

So a sink that is down stops consumption: the backlog waits in Kafka, a few results wait here, and nothing is lost.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from actors.actor import Actor, System
from actors.messages import Emit, GetPlace, Ingested, Look
from actors.sink import Sink, file_among

PublisherMessage = Emit | Look | GetPlace

_LOOK_S = 0.005
_AGAIN_S = 0.5
_LONGEST_AGAIN_S = 10.0


@dataclass(slots=True)
class _Publication:
    """One answer on its way: the sinks that have it not yet, and how many records each must have delivered for it."""

    message: Emit
    missing: list[Sink]
    marks: list[tuple[Sink, int]] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        return not self.missing and all(sink.delivered >= mark for sink, mark in self.marks)


class Publisher(Actor):
    """Publishes one stream's results to `sinks`; `on_trouble` is told what keeps a sink from taking them."""

    def __init__(self, system: System, *, stream: str, sinks: Sequence[Sink], on_trouble: Callable[[str], None]) -> None:
        super().__init__(system, stream=stream)
        self._sinks = sinks
        self._on_trouble = on_trouble
        self._early: dict[int, Emit] = {}
        self._next = 1
        self._under_way: deque[_Publication] = deque()
        self._looking = False
        self._again_s = _AGAIN_S

    @property
    def home(self) -> str:
        """Run on a thread of its own: a slow disk or a broker that is away holds nobody else up."""
        return f"{self.stream}-output"

    def on_stop(self) -> None:
        """Let go of the sinks."""
        for sink in self._sinks:
            sink.close()

    def receive(self, message: PublisherMessage) -> None:
        """Handle one message."""
        match message:
            case Emit(number):
                self._early[number] = message
                while (following := self._early.pop(self._next, None)) is not None:
                    self._next += 1
                    self._under_way.append(_Publication(following, list(self._sinks)))
                self._go_on()
            case Look():
                self._looking = False
                self._go_on()
            case GetPlace(order, reply_to):
                file = file_among(self._sinks)
                reply_to(file.place(order) if file is not None else None)
            case _:
                assert_never(message)

    def _go_on(self) -> None:
        """Write what is next, give back the credits of what is delivered, and come back while something is under way."""
        wait_s = _LOOK_S
        try:
            self._write()
            self._again_s = _AGAIN_S
        except OSError as error:
            self._on_trouble(str(error))
            wait_s = self._again_s
            self._again_s = min(2 * self._again_s, _LONGEST_AGAIN_S)
        for sink in self._sinks:
            sink.poll()
        while self._under_way and self._under_way[0].delivered:
            message = self._under_way.popleft().message
            self.send(message.front_end, Ingested(message.events))
        if self._under_way and not self._looking:
            self._looking = True
            self.later(wait_s, self.actor_ref, Look())

    def _write(self) -> None:
        """Hand each publication to the sinks that have it not yet, one after the other."""
        for publication in self._under_way:
            message = publication.message
            while publication.missing:
                sink = publication.missing[0]
                try:
                    sink.write(message.view.publish(message.partial, message.due))
                except OSError:
                    raise
                except Exception as error:  # noqa: BLE001  # a result that cannot be written must not hold back all others
                    self._on_trouble(f"a result is given up: {type(error).__name__}: {error}")
                publication.marks.append((sink, sink.written))
                publication.missing.pop(0)
