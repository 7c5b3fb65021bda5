"""One process of a simulated cluster: a gatherer, the engines of the shards that it has, and its leases. All are the product's."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from actors.cluster.gatherer import Gatherer
from actors.cluster.issuing import Issuer
from actors.cluster.messages import Hold, Locate
from actors.cluster.parcels import parcel_of
from actors.cluster.past import Manager
from actors.durability.store import Store
from actors.protocol import Home
from actors.replies import Trouble
from actors.runtime.actor import System, start
from actors.runtime.guardian import Guardian
from actors.sources.polled import Place, Polled
from actors.stream import Callbacks, drain, start_stream
from scripts.service.cluster.group import Group
from scripts.service.cluster.lease import Leases
from scripts.service.cluster.records import Announced
from scripts.service.cluster.shards import LocalShards, _Engine
from tests.simulation.clock import SimulatedClock
from tests.simulation.cluster.fibre import Fibre
from tests.simulation.cluster.group import Coordinator, LeaseMember, LeaseReader, LeaseWriter
from tests.simulation.cluster.network import Agenda, Network, SimulatedPeers
from tests.simulation.cluster.results import ResultTopics, SimulatedResults
from tests.simulation.disk import Platter, SimulatedDisk
from tests.simulation.dispatcher import SimulatedDispatcher
from tests.simulation.faults import BrokenError, CrashError, Faults, TroubleError
from tests.simulation.process import FOLDER, stream_plan
from tests.simulation.scenario import Scenario
from tests.simulation.source import SimulatedSource, polled
from tests.simulation.topic import Ledger
from tests.simulation.trace import Trace

SECRET = b"a secret of the simulator"
STREAM = "events"
_LOOK_S = 0.05
_NOTICED_S = 0.5
"""Seconds until a source reports that its broker is away."""

_DRAIN_S, _STOP_S = 10.0, 8.0


class NodeTrace(Trace):
    """The trace of a process, in that of the world."""

    def __init__(self, trace: Trace, number: int) -> None:
        self._trace = trace
        self._number = number

    @property
    def step(self) -> int:  # type: ignore[override]
        return self._trace.step

    @step.setter
    def step(self, step: int) -> None:
        self._trace.step = step

    def note(self, place: str, text: str) -> None:
        self._trace.note(f"{self._number} {place}", text)


@dataclass
class Surroundings:
    """Everything that outlives a process. `folders` has what each lease of a shard wrote."""

    plan: Scenario
    shards: int
    session_s: float
    clock: SimulatedClock
    chance: random.Random
    faults: Faults
    trace: Trace
    coordinator: Coordinator
    network: Network
    agenda: Agenda
    folders: dict[int, dict[int, tuple[Platter, Ledger]]]
    results: ResultTopics
    step: Callable[[], None]
    """Lets the world go on."""
    away_until: float = 0.0
    begun: dict[tuple[int, int], float] = field(default_factory=dict)
    """When the source of a shard, by the lease that began it, first saw its partitions."""


class ShardSource(SimulatedSource):
    """The source of a shard. It knows, as `SharedSource`, whether each partition is read to where it ended at first."""

    def __init__(self, *given: Any, host: "Node", shard: int, lease: int, **more: Any) -> None:
        self._host = host
        self._shard = shard
        self._lease = lease
        self._shards = host.around.shards
        self._targets: dict[int, int] = {}
        self._caught_up_at: float | None = None
        self.news_at = self._whole_at = -math.inf
        self._away_since: float | None = None
        super().__init__(*given, **more)

    def caught_up(self) -> bool:
        return self._opened and all(self._next.get(number, -1) >= end for number, end in self._targets.items())

    def caught_up_at(self) -> float | None:
        at = self._caught_up_at
        return at if at is not None and self.caught_up() else None

    def whole_at(self, taken_at: float) -> float | None:
        return self._whole_at if self.news_at <= taken_at else None

    def _reads(self, number: int) -> bool:
        return number % self._shards == self._shard

    def open(self, place: Place) -> bool:
        if not self._host.connected():
            raise TroubleError("the broker is away")
        self._caught_up_at, self._whole_at = None, -math.inf
        return super().open(place)

    def extend(self) -> bool:
        if not self._host.connected() or not super().extend():
            return False
        assert self._life is not None, "`extend` has found it"
        partitions = self._topic.lives[self._life].partitions
        self._host.around.begun.setdefault((self._shard, self._lease), self._clock.now())
        for number in self._next:
            self._targets.setdefault(number, partitions[number].end(self._clock.now()))
        return True

    def poll(self, count: int, timeout_s: float) -> Polled:
        if self._host.connected():
            self._away_since = None
            found = super().poll(count, 0.0)  # else time would pass for all processes
            now = self._clock.now()
            if len(found.values):
                self.news_at = now
            if self.whole():
                self._whole_at = now
            if self._caught_up_at is None and self.caught_up():
                self._caught_up_at = now
            return found
        self._away_since = self._away_since or self._clock.now()
        return polled([], frozenset(), self._epoch)

    def trouble(self) -> Trouble | None:
        away = self._away_since is not None and self._clock.now() - self._away_since > _NOTICED_S
        return Trouble("unreachable", 0.0, ("the broker is away",)) if away else None

    def partition_count(self) -> int:
        """Return the number of partitions of the topic."""
        return len(self._topic.lives[0].there(self._clock.now()))

    def whole(self) -> bool:
        """Whether every record of the shard is read."""
        life = self._topic.current(self._clock.now())
        if life is None or life != self._life or not self._opened:
            return False
        partitions = self._topic.lives[life].partitions
        own = [number for number in range(len(partitions)) if self._reads(number)]
        return all(self._next.get(number, 0) == partitions[number].end(self._clock.now()) for number in own)


class SimulatedLeases(Leases):
    """The product's leases over simulated clients."""

    def __init__(self, node: "Node", *given: Any) -> None:
        self._node = node
        self._now = node.around.clock.now  # type: ignore[method-assign]
        super().__init__(*given)

    def _beside(self, work: Callable[[], None], meanwhile: Callable[[], None]) -> None:
        work()  # it pauses in the time of the world

    def _reader(self) -> Any:
        around = self._node.around
        return LeaseReader(self._node, around.coordinator, around.chance, around.faults)

    def _member(self) -> Any:
        around = self._node.around
        self._node.member = LeaseMember(self._node, around.coordinator, around.chance)
        return self._node.member

    def _writer(self, own: Mapping[str, Any]) -> Any:
        around = self._node.around
        return LeaseWriter(self._node, around.coordinator, around.chance, around.faults, own["transactional.id"])


class SimulatedShards(LocalShards):
    """The product's shards; the engines have simulated sources and disks, and it waits in the time of the world."""

    def __init__(self, node: "Node", me: Announced) -> None:
        self._node = node
        nothing: Any = SimpleNamespace(streams={STREAM: None})
        super().__init__(
            node.system,
            nothing,
            nothing,
            {},
            nothing,
            me,
            gatherers={STREAM: node.gatherer},
            complain={},
            callbacks=nothing,
            log=node.log,
            claim=lambda _: None,  # no stream here has a topic by key
        )

    @property
    def engines(self) -> dict[int, _Engine]:
        return {shard: engines[STREAM] for shard, engines in self._engines.items()}

    def begin(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        self._node.pause(self._node.around.chance.uniform(0.0, _LOOK_S))
        super().begin(shard, epoch, self._noting(shard, epoch, ready))

    def renew(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        super().renew(shard, epoch, self._noting(shard, epoch, ready))

    def _noting(self, shard: int, epoch: int, ready: Callable[[], None]) -> Callable[[], None]:
        """Return what notes that the process knows a lease, once the shard answers by it."""

        def answers() -> None:
            if self._node.known.get(shard, -1) < epoch:  # else the process has learned of a later one meanwhile
                self._node.learned(shard, epoch)
            ready()

        return answers

    def locate(self, shard: int, who: Announced | None, epoch: int) -> None:
        self._node.learned(shard, epoch)
        super().locate(shard, who, epoch)

    def _share_memory(self) -> None:
        pass

    def _keeping(self, shard: int, epoch: int) -> Any:
        """Return the folder of a lease, with the files of the newest earlier one, as `folder_of` does."""
        around = self._node.around
        own = around.folders.setdefault(shard, {})
        earlier = sorted((number for number in own if number < epoch), reverse=True)
        if earlier and around.plan.durable and not around.faults.strikes("folder lost"):
            platter, ledger = own[earlier[0]][0].copy(), own[earlier[0]][1].copy()
            for path in [path for path in platter.names if path.suffix != ".firn"]:
                del platter.names[path]
            platter.safe = dict(platter.names)
        else:
            platter, ledger = Platter(around.chance), Ledger(around.plan.topic)
        for number in earlier[1:]:
            del own[number]
        own[epoch] = platter, ledger
        return SimpleNamespace(folder=f"lease-{epoch}", platter=platter, ledger=ledger, lease=epoch)

    def _engine(self, name: str, stanza: Any, shard: int, keeping: Any) -> Any:
        node, around = self._node, self._node.around
        plan = around.plan
        disk = SimulatedDisk(keeping.platter, around.clock, around.chance, around.faults)
        node.disks.append(disk)
        source = ShardSource(
            plan.topic,
            keeping.ledger,
            around.clock,
            around.chance,
            around.faults,
            slow_s=plan.slow_s,
            host=node,
            shard=shard,
            lease=keeping.lease,
        )
        store = Store(FOLDER, disk, lasting=plan.durable)
        view = parcel_of(plan.view).of_shard(
            plan.feed.view(), shard=shard, shards=around.shards, partitions=source.partition_count, complain=node.log
        )
        made = replace(stream_plan(plan, f"{name}.{shard}", view, source, store, faults=around.faults), manager=Manager)
        running = start_stream(
            self._system,
            made,
            Callbacks(
                lambda *_: node.trace.note("report", "waits"),
                lambda _: None,
                lambda _, problem: node.trace.note("report", problem),
            ),
        )
        return _Engine(made, running, source)  # type: ignore[arg-type]  # it stands in

    def _drain(self, engines: Sequence[_Engine], beat: Callable[[], None]) -> None:
        replies: list[Any] = []
        for engine in engines:
            drain(engine.running, replies.append)
        deadline = self._node.around.clock.now() + _DRAIN_S
        while len(replies) < len(engines) and self._node.around.clock.now() < deadline:
            self._node.pause(_LOOK_S)
            beat()

    def _stop(self, engines: Sequence[_Engine], beat: Callable[[], None]) -> None:
        left: list[list[Any]] = []
        for engine in engines:
            running = engine.running
            optional = (running.front_end, running.dead_letters, running.manager, running.publisher, running.keeper)
            left.append([address for address in optional if address is not None])
        deadline = self._node.around.clock.now() + _STOP_S
        for addresses in left:
            addresses[0].stop(block=False)
        while any(left) and self._node.around.clock.now() < deadline:
            self._node.pause(_LOOK_S)
            beat()
            for addresses in left:
                if addresses and not addresses[0].is_alive():
                    addresses.pop(0)
                    if addresses:
                        addresses[0].stop(block=False)


class Node:
    """A process. `name` is its member name, or None."""

    def __init__(self, around: Surroundings, number: int, name: str | None) -> None:
        self.around = around
        self.number = number
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        self.frozen_s = 0.0
        """The seconds for which it was frozen, in all."""
        self.cut_until = 0.0
        self.failure: str | None = None
        self.disks: list[SimulatedDisk] = []
        self.member: LeaseMember | None = None
        self.trace = NodeTrace(around.trace, number)
        self.known: dict[int, int] = {}
        self.dispatcher = SimulatedDispatcher(around.clock, around.chance, around.faults, self.trace)
        self.system = System(self.dispatcher)  # type: ignore[arg-type]  # it keeps the promises of a dispatcher
        self.guardian = Guardian.start(self.system, log=self.log)
        self.view = around.plan.feed.view()
        self.peers = SimulatedPeers(self, around.network)
        self.leases: SimulatedLeases | None = None
        self.gatherer = start(
            Gatherer,
            self.system,
            stream=STREAM,
            name=around.plan.view,
            view=self.view,
            shards=around.shards,
            peers=self.peers,
            doubtful=lambda: self.leases is None or self.leases.doubtful(),
            budget_bytes=1 << 30,
        )
        me = Announced(0, f"process-{number}", "127.0.0.1", number, number)
        self.shards = SimulatedShards(self, me)
        group = Group("leases", around.shards, int(1000 * around.session_s), name)
        given = ({}, group, me, SECRET, self.shards, self.log, self._fenced, self._fail)
        self.leases = SimulatedLeases(self, *given)
        if around.plan.view == "uniques":
            start(
                Issuer,
                self.system,
                stream=STREAM,
                name=around.plan.view,
                view=self.view,
                gatherer=self.gatherer,
                outlet=SimulatedResults(self, around.results, around.coordinator, around.chance, around.faults),
                on_trouble=lambda reason: self.log("not published", reason=reason),
            )
        self.fibre = Fibre(self.leases._run, around.clock)
        around.network.sites.append(self)
        around.agenda.put(0.0, self, self._beat)

    def awake(self) -> bool:
        return self.alive and self.around.clock.now() >= self.frozen_until

    def connected(self) -> bool:
        return self.alive and self.around.clock.now() >= max(self.cut_until, self.around.away_until)

    def joined(self) -> bool:
        """Whether it is a member of the group."""
        return self.member is not None and self.member._member in self.around.coordinator.members

    def may_ask(self, shard: int, epoch: int) -> bool:
        """Whether a lease is the newest one that this process knows, or the gatherer has not been told of the newest one yet.

        A process that had the shard may have said where it is by a still newer one.
        """
        coming = self.actor(self.gatherer).mailbox._control
        return self.known[shard] <= epoch or any(isinstance(each.message, Hold | Locate) for each in coming)

    def learned(self, shard: int, epoch: int) -> None:
        assert epoch > self.known.get(shard, -1), f"lease {epoch} of shard {shard} after {self.known[shard]}"
        self.known[shard] = epoch

    def pause(self, seconds: float) -> None:
        self.fibre.pause(seconds)

    def block(self, seconds: float) -> None:
        """Block the thread of results for some time. Raises CrashError if the process dies meanwhile."""
        home, until = Home.OUTPUT.of(STREAM), self.around.clock.now() + seconds
        self.dispatcher.blocked.add(home)
        try:
            while self.alive and (self.around.clock.now() < until or not self.awake()):
                self.around.step()
        except Exception as error:
            raise BrokenError from error
        finally:
            self.dispatcher.blocked.discard(home)
        if not self.alive:
            raise CrashError

    def freeze(self, seconds: float) -> None:
        """Freeze the process: none of its threads runs."""
        self.frozen_until = self.around.clock.now() + seconds
        self.frozen_s += seconds
        self.trace.note("process", "freezes")
        self.around.agenda.put(seconds + 1e-6, None, self.around.agenda.wake)

    def kill(self) -> None:
        """End the process in the middle of everything."""
        self.alive = False
        self.trace.note("process", "dies")
        self.dispatcher.close()
        for disk in self.disks:
            disk.dead = True
        self.fibre.kill()

    def leave(self) -> None:
        """Begin an orderly end."""
        assert self.leases is not None, "it has begun"
        self.trace.note("process", "ends")
        self.leases._ending.set()

    def log(self, event: str, **facts: Any) -> None:
        self.trace.note("log", f"{event} {' '.join(f'{name} {value}' for name, value in facts.items())}")

    def actor(self, address: Any) -> Any:
        """Return the actor at an address."""
        return next((actor for actor in self.dispatcher.actors if actor.actor_ref == address), None)

    def _beat(self) -> None:
        if self.member is not None:
            self.member.heartbeat()
        self.around.agenda.put(self.around.session_s / 6, self, self._beat)

    def _fenced(self, reason: str) -> None:
        self.trace.note("report", reason)
        assert self.name is not None, reason

    def _fail(self, reason: str) -> None:
        self.failure = reason
