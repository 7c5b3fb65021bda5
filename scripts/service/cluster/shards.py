"""The shards of this process: starts and stops the actors of each, and tells the gatherers who has which shard."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from actors.cluster.messages import GathererMessage, Hold, Locate, Place, Release
from actors.cluster.parcels import parcel_of
from actors.cluster.past import Manager
from actors.cluster.share import SharedSource
from actors.messages import Drained, Look, ManagerAddress, Reconfigure, Recover
from actors.protocol import Address, Busy, ReplyTo
from actors.runtime.actor import System
from actors.stream import Callbacks, Running, StreamPlan, drain, start_stream
from actors.timeline.retention import Meter
from actors.views.view import View
from config.cluster import Cluster
from config.settings import Settings
from config.streams import Output, Stream
from scripts.service.cluster.folders import folder_of
from scripts.service.cluster.records import Announced
from scripts.service.keeping import Keeping
from scripts.service.memory import Budget, StreamMeter
from scripts.service.parts import Complaints
from scripts.service.plan import plan, view_of

if TYPE_CHECKING:
    from actors.cluster.rekeyed.source import RekeyedSource
    from scripts.service.cluster.checkpoints.copies import ShardCopies
    from scripts.service.cluster.generations.outbox import Outbox
    from scripts.service.cluster.generations.parts import Generations, ShelfEngine
    from scripts.service.cluster.rekeyed.parts import ByKey

_DRAIN_S = 10.0
_BEAT_S = 0.2
_STOP_S = 8.0


@dataclass(slots=True)
class _Engine:
    """The actors of one stream of one shard. A matcher has an outbox for its generations too."""

    plan: StreamPlan
    running: Running
    source: "SharedSource | RekeyedSource"
    forwarder: "Address[Look | Recover] | None" = None
    outbox: "Outbox | None" = None

    @property
    def manager(self) -> ManagerAddress:
        """The actor that is asked."""
        return self.running.manager

    @property
    def meter(self) -> Meter:
        """The memory of the stream."""
        return self.plan.meter

    @property
    def view(self) -> View:
        """The view of its slices."""
        return self.plan.view

    def drain(self, reply_to: ReplyTo[Drained]) -> None:
        """Stop reading, and write the last checkpoint."""
        drain(self.running, reply_to)

    def stop(self) -> None:
        """Stop the actors, and wait until they have stopped."""
        if self.forwarder is not None:
            self.forwarder.stop()
        self.running.stop()
        if self.outbox is not None:
            self.outbox.close()


class LocalShards:
    """Runs the shards that this process has. `gatherers` and `complain` are by stream. Used on the thread of the leases.

    `claim` gives the membership of the lease group while this process has a shard.
    `copies` makes the copies of a shard for a lease, if its checkpoints are in a topic too. `shelved` are the streams of which
    shard 0 matches all events, and the others are shelves.
    """

    def __init__(
        self,
        system: System,
        settings: Settings,
        cluster: Cluster,
        kafka: Mapping[str, Any],
        budget: Budget,
        me: Announced,
        *,
        gatherers: Mapping[str, Address[GathererMessage]],
        complain: Mapping[str, Complaints],
        callbacks: Callbacks,
        log: Callable[..., object],
        claim: Callable[[int], Any],
        copies: Callable[[int, int], "ShardCopies"] | None = None,
        shelved: Mapping[str, "Generations"] | None = None,
    ) -> None:
        self._claim = claim
        self._shelved = shelved or {}
        self._copies = copies
        self._copied: dict[int, ShardCopies] = {}
        self._cluster = cluster
        self._system = system
        self._settings = settings
        self._kafka = kafka
        self._budget = budget
        self._me = me
        self._gatherers = gatherers
        self._complain = complain
        self._callbacks = callbacks
        self._log = log
        self._engines: dict[int, dict[str, _Engine | ShelfEngine]] = {}

    def begin(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        """Start the shard from the files of its last lease; without files it reads everything again.

        `ready` is called once all of its streams answer, on a thread of theirs.
        """
        if shard in self._engines:  # another process has had it in between
            self.end([shard], lambda: None)
        keeping = self._keeping(shard, epoch)
        engines = {name: self._engine(name, stanza, shard, keeping) for name, stanza in self._settings.streams.items()}
        self._engines[shard] = engines
        self._share_memory()
        self._hold(shard, epoch, ready)
        self._log("shard begins", shard=shard, epoch=epoch, folder=str(keeping.folder))

    def renew(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        """Go on with the shard by a newer lease."""
        self._hold(shard, epoch, ready)

    def give_back(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        """Read nothing more, and write the last checkpoint of each shard. They answer until `end`. Waits at most 10 s.

        Meanwhile `beat` is called all the time, on this thread.
        """
        self._drain([engine for shard in shards for engine in self._engines.get(shard, {}).values()], beat)
        self._log("shards given back", shards=sorted(shards))

    def end(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        """Stop shards, all at once. Waits at most 8 s. Meanwhile `beat` is called all the time, on this thread."""
        engines = [(shard, name, engine) for shard in shards for name, engine in self._engines.pop(shard, {}).items()]
        for shard, name, _ in engines:
            self._gatherers[name].tell(Release(shard))
        for shard in shards:  # a keeper that takes a large checkpoint from the topic would not stop soon
            if (copies := self._copied.pop(shard, None)) is not None:
                copies.close()
        self._stop([engine for _, _, engine in engines], beat)
        self._share_memory()
        self._log("shards end", shards=sorted(shards))

    def locate(self, shard: int, who: Announced | None, epoch: int) -> None:
        """Tell the gatherers where a shard is."""
        place = None if who is None else Place(who.host, who.port, epoch, who.pid)
        for gatherer in self._gatherers.values():
            gatherer.tell(Release(shard))  # in one step with the next one, not only at its end
            gatherer.tell(Locate(shard, place))

    def _drain(self, engines: Sequence["_Engine | ShelfEngine"], beat: Callable[[], None]) -> None:
        """Have engines write their last checkpoints, so that the next process reads little again."""
        replies: SimpleQueue[Drained | Busy] = SimpleQueue()
        for engine in engines:
            engine.drain(replies.put_nowait)
        deadline = time.monotonic() + _DRAIN_S
        left = len(engines)
        while left:
            try:
                replies.get(timeout=_BEAT_S)
                left -= 1
            except Empty:
                if time.monotonic() > deadline:
                    self._log("not drained", streams=left, after_s=_DRAIN_S)
                    return
            beat()

    def _stop(self, engines: Sequence["_Engine | ShelfEngine"], beat: Callable[[], None]) -> None:
        """Stop the actors of engines, and wait until they have stopped, at most 8 s."""
        stopping = [threading.Thread(target=engine.stop, daemon=True) for engine in engines]
        for thread in stopping:
            thread.start()
        deadline = time.monotonic() + _STOP_S
        for thread in stopping:
            while thread.is_alive() and time.monotonic() < deadline:
                thread.join(_BEAT_S)
                beat()

    def _keeping(self, shard: int, epoch: int) -> Keeping:
        """Return where the checkpoints of a lease are."""
        if self._settings.data_dir is None:
            return Keeping(self._settings.checkpoint)
        above: Path = self._settings.data_dir / f"cluster-{self._cluster.name}" / f"shard-{shard}"
        folder = folder_of(above, epoch)
        if self._copies is None:
            return Keeping(self._settings.checkpoint, folder)
        copies = self._copied[shard] = self._copies(shard, epoch)
        return copies.keeping(self._settings.checkpoint, folder, self._complain)

    def _engine(self, name: str, stanza: Stream, shard: int, keeping: Keeping) -> "_Engine | ShelfEngine":
        complain, shelved = self._complain[name], self._shelved.get(name)
        if shelved is not None and shard:
            view = view_of(stanza, None)
            return shelved.shelf(self._system, shard, view, budget=self._budget, settings=self._settings, complain=complain)
        own = self._source(name, stanza, shard, str(stanza.source.topic), stanza.source.partitions)
        by_key = self._by_key(name, stanza, shard) if stanza.rekeyed else None
        source = own if by_key is None else by_key.source(self._source(name, stanza, shard, by_key.topic, None))
        made = plan(
            name,
            stanza.model_copy(update={"output": Output()}),  # a shard does not know the whole result
            self._kafka,
            self._budget,
            self._settings,
            keeping,
            once=False,
            force=False,
            complain=complain,
            source=source,
        )
        view = parcel_of(stanza.view).of_shard(
            made.view, shard=shard, shards=self._cluster.shards, partitions=source.partition_count, complain=complain
        )
        # The name is that of its threads, which no other shard has.
        made = replace(made, name=f"{name}.{shard}", view=view, connect=None, manager=Manager)
        outbox = None
        if shelved is not None:
            made, outbox = shelved.of_matcher(made, complain)
        running = start_stream(self._system, made, self._callbacks)
        return _Engine(made, running, source, None if by_key is None else by_key.forward(self._system, own), outbox)

    def _source(self, name: str, stanza: Stream, shard: int, topic: str, partitions: int | None) -> SharedSource:
        """Return a source of the shard's partitions of a topic; of all of them for a matcher."""
        return SharedSource(
            {"group.id": f"firnline-{self._cluster.name}-{name}", **self._kafka},
            topic,
            start=stanza.source.start,
            partitions=partitions,
            skips_damage=stanza.source.on_damage == "skip",
            how=self._settings.reader,
            on_error=self._complain[name],
            shard=shard,
            shards=1 if name in self._shelved else self._cluster.shards,
        )

    def _by_key(self, name: str, stanza: Stream, shard: int) -> "ByKey":
        from scripts.service.cluster.rekeyed.parts import ByKey  # noqa: PLC0415  # only if it is wanted

        return ByKey(name, stanza, self._cluster, self._kafka, shard, self._claim, self._complain[name])

    def _hold(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        left = set(self._engines[shard])

        def answers(name: str) -> None:  # on the thread of the gatherers
            left.discard(name)
            if not left:
                ready()

        for name, engine in self._engines[shard].items():
            self._gatherers[name].tell(Hold(shard, epoch, engine.manager, engine.source, partial(answers, name)))

    def _share_memory(self) -> None:
        """Share the memory budget among the streams of all shards here."""
        count = sum(map(len, self._engines.values()))
        for engines in self._engines.values():
            for engine in engines.values():
                meter = replace(cast("StreamMeter", engine.meter), streams=count)
                engine.manager.tell(Reconfigure(meter, self._budget.baseline // count, engine.view, lambda _: None))
