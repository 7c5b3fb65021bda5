"""What a stream with shelves has in place of the usual parts of a shard: the matcher's plan, and the shelves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, cast

from actors.cluster.parcels import parcel_of
from actors.cluster.shelves.manager import Manager
from actors.cluster.shelves.shelf import Shelf
from actors.messages import Drained, ManagerAddress
from actors.protocol import ReplyTo
from actors.replies import Progress
from actors.runtime.actor import System, start
from actors.stream import StreamPlan
from actors.timeline.retention import Meter
from actors.views.view import View
from config.machine import MemoryMeter
from config.settings import Settings
from scripts.service.cluster.checkpoints.copies import Topic
from scripts.service.cluster.checkpoints.fence import Claim
from scripts.service.cluster.generations.outbox import Outbox
from scripts.service.cluster.generations.shelf import ShelfReader
from scripts.service.cluster.generations.store import ShelvedStore
from scripts.service.memory import Budget, StreamMeter


class _Parcel(Protocol):
    """What the module `parcel` of a view with shelves has."""

    def matcher(self, view: View, shelved: Outbox) -> View: ...

    def shelf_of(self, number: int, shards: int) -> int: ...


@dataclass(frozen=True, slots=True)
class ShelfEngine:
    """The actor and the thread of a shelf."""

    manager: ManagerAddress
    source: ShelfReader
    meter: Meter
    view: View

    def drain(self, reply_to: ReplyTo[Drained]) -> None:
        """Reply at once: all that is here is in the topic."""
        reply_to(Drained(Progress()))

    def stop(self) -> None:
        """Stop both."""
        self.source.stop()
        self.manager.stop()


@dataclass(frozen=True, slots=True)
class Generations:
    """The matcher and the shelves of the stream `stream` of the view `name`: they share `topic`, and have `shards` shards.

    `claim` returns the group's metadata while this process has shard 0. `log` gets an event and its facts.
    """

    kafka: Mapping[str, Any]
    topic: Topic
    stream: str
    name: str
    shards: int
    claim: Claim
    log: Callable[..., object]

    def of_matcher(self, made: StreamPlan, complain: Callable[[str], object]) -> tuple[StreamPlan, Outbox]:
        """Return the plan of a matcher, whose memory spills to shelves and not to the disk, and what already publishes."""
        parcel = cast("_Parcel", parcel_of(self.name))
        outbox = Outbox(
            self.kafka,
            self.topic,
            self.claim,
            shelf_of=partial(parcel.shelf_of, shards=self.shards),
            log=self.log,
            complain=complain,
        )
        outbox.start()
        meter = replace(cast("StreamMeter", made.meter), spill=None)
        store = ShelvedStore(made.store, outbox)
        return replace(made, view=parcel.matcher(made.view, outbox), meter=meter, store=store, manager=Manager), outbox

    def shelf(
        self,
        system: System,
        shard: int,
        view: View,
        *,
        budget: Budget,
        settings: Settings,
        complain: Callable[[str], None],
    ) -> ShelfEngine:
        """Start a shelf, which has the memory of one stream of this process."""
        streams, resident = len(settings.streams), MemoryMeter()
        mapped = resident.resident().mapped
        meter = StreamMeter(settings.memory.budget, None, resident, streams, None, None, mapped, complain)
        address = start(
            Shelf,
            system,
            stream=f"{self.stream}.{shard}",
            name=self.name,
            view=view,
            shard=shard,
            shards=self.shards,
            meter=meter,
            baseline_bytes=budget.baseline // streams,
            complain=complain,
        )
        reader = ShelfReader(self.kafka, self.topic, shard, view, address, complain)
        reader.start()
        return ShelfEngine(cast("ManagerAddress", address), reader, meter, view)
