"""The actor that holds the generations of one shard, which the matcher has written to the topic of the shelves.

It is asked for generations by name. It waits for one that has not come yet, until the reader has passed its place in the topic.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, assert_never, cast

from actors.cluster.messages import Consult, Known
from actors.cluster.parcels import parcel_of
from actors.cluster.shelves.messages import Box, Overdue, Put, Reached, ShelfMessage
from actors.messages import Reconfigure, Reconfigured
from actors.protocol import Lane
from actors.replies import Answer, Coverage, GetStats, Memory, Progress, Query, Stats
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Timer
from actors.timeline.retention import Meter
from actors.timeline.span import Span
from actors.views.view import Frozen, Meta, View

_BOX_BYTES = 4_096
"""Memory of a generation beside its sets."""


class Wanted(Protocol):
    """A question to shelves. Each generation is given by its name, its number, and the offset at which its record ends."""

    wanted: tuple[tuple[str, int, int], ...]


class Taking(Protocol):
    """What the module `parcel` of a view with shelves has for them."""

    def shelf_of(self, number: int, shards: int) -> int:
        """Return the shard that holds the generation with a number."""

    def taken(self, frozen: Frozen, name: str, span: Span, fetch: Any) -> Any:
        """Return what a generation has of an answer."""


@dataclass(slots=True)
class _Waiting:
    """A query that waits for records up to the offset `until`, and its deadline."""

    query: Query
    until: int
    timers: list[Timer] = field(default_factory=list)


class Shelf(Actor[ShelfMessage]):
    """Holds the generations of the shard `shard` of `shards`, as many as the memory allows. `name` is that of the view.

    If memory is short, it forgets the oldest ones, and `complain` gets the reason.
    """

    capacity: ClassVar[dict[Lane, int]] = {Lane.CONTROL: 65_536, Lane.DATA: 256}

    def __init__(
        self,
        system: System,
        /,
        *,
        stream: str,
        name: str,
        view: View,
        shard: int,
        shards: int,
        meter: Meter,
        baseline_bytes: int,
        complain: Callable[[str], object],
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._parcel = cast("Taking", parcel_of(name))
        self._shard, self._shards = shard, shards
        self._meter, self._baseline_bytes = meter, baseline_bytes
        self._complain = complain
        self._boxes: dict[str, Box] = {}
        self._names: dict[int, str] = {}
        self._nbytes = 0
        self._since = self._until = 0
        self._waiting: dict[int, _Waiting] = {}
        self._ids = itertools.count(1)
        self._forgotten = 0

    def receive(self, message: ShelfMessage) -> None:
        """Handle one message."""
        match message:
            case Query():
                self._ask(message)
            case Put():
                self._put(message)
            case Reached():
                self._reached(message)
            case Overdue(number):
                self._answer(number)
            case GetStats(reply_to):
                reply_to(self._stats())
            case Reconfigure(meter, baseline_bytes, _, reply_to):
                self._meter, self._baseline_bytes = meter, baseline_bytes
                before = len(self._boxes)
                self._forget()
                reply_to(Reconfigured(before - len(self._boxes)))
            case _:
                assert_never(message)

    def on_stop(self) -> None:
        """Reply to the queries that wait."""
        for number in list(self._waiting):
            self._answer(number)

    # Generations -----------------------------------------------------------------------------------------------------

    def _put(self, message: Put) -> None:
        """Hold a generation in place of an earlier one of the same number, which a matcher has made before it went back."""
        if message.name in self._boxes:
            return
        if (before := self._names.get(message.number)) is not None:
            self._drop(before)
        self._boxes[message.name] = Box(message.number, message.at, message.nbytes + _BOX_BYTES, message.frozen)
        self._names[message.number] = message.name
        self._nbytes += message.nbytes + _BOX_BYTES
        self._forget()

    def _drop(self, name: str) -> None:
        box = self._boxes.pop(name)
        self._nbytes -= box.nbytes
        del self._names[box.number]

    def _forget(self) -> None:
        """Forget the oldest generations until the rest fits the memory."""
        room = self._meter.limits().budget_bytes - self._baseline_bytes
        forgotten = 0
        while self._nbytes > room and self._names:
            self._drop(self._names[min(self._names)])
            forgotten += 1
        if forgotten:
            if not self._forgotten:
                self._complain("the memory is too short for this shelf: its oldest generations are missing in answers")
            self._forgotten += forgotten

    def _reached(self, message: Reached) -> None:
        """Forget what the topic has no longer, and answer the queries that wait for nothing more."""
        self._since, self._until = message.since, max(self._until, message.until)
        for name in [name for name, box in self._boxes.items() if box.at < message.since]:
            self._drop(name)
        for number in [number for number, each in self._waiting.items() if each.until < self._until]:
            self._answer(number)

    # Questions -------------------------------------------------------------------------------------------------------

    def _own(self, query: Query) -> list[tuple[str, int]]:
        """Return the names and places of the generations that a question wants of this shelf."""
        wanted = cast("Wanted", query.arguments).wanted
        return [(name, at) for name, number, at in wanted if self._parcel.shelf_of(number, self._shards) == self._shard]

    def _ask(self, query: Query) -> None:
        """Reply now, or once the reader has passed the last generation that has not come yet."""
        if isinstance(query, Consult):
            query.known(Known(self._progress(), 0, ()))
        until = max((at for name, at in self._own(query) if name not in self._boxes), default=-1)
        number = next(self._ids)
        waiting = self._waiting[number] = _Waiting(query, until)
        if until < self._until:
            self._answer(number)
        else:
            waiting.timers.append(self.later(query.deadline_s * 0.9, self.address, Overdue(number)))

    def _answer(self, number: int) -> None:
        """Reply with what is here."""
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        for timer in waiting.timers:
            timer.cancel()
        query = waiting.query
        boxes = [
            self._parcel.taken(self._boxes[name].frozen, name, query.span, query.arguments)
            for name, _ in self._own(query)
            if name in self._boxes
        ]
        query.reply_to(
            Answer(self._view, self._view.merge([tuple(boxes)]), query.span, query.arguments, Coverage(None, None, None), ())
        )

    def _progress(self) -> Progress:
        """Return that no record of the stream is unread: only the matcher reads them."""
        return Progress(state="at the end", taken_at=self.system.dispatcher.now())

    def _stats(self) -> Stats:
        """Return the memory that is used. Its sets count at the matcher, which knows all generations."""
        limits = self._meter.limits()
        nothing = self._view.nothing()
        return Stats(
            view=self._view,
            gone=nothing,
            aged=(),
            active=Meta(None, 0, self._nbytes, 0, None, nothing),
            memory=Memory(limits.budget_bytes, self._baseline_bytes + self._nbytes, self._baseline_bytes, 0, 0),
            coverage=Coverage(None, None, None),
            progress=self._progress(),
            dropped={},
            dropped_generations={"shelf": self._forgotten} if self._forgotten else {},
            missed={},
            missing=(),
            last_batch_at=None,
            durability=None,
            starting=False,
            numbers=(1,),
        )
