"""The lease topic and the consumer group of a cluster, as Kafka keeps them, and clients of both for `Leases`.

Members rejoin before a generation begins; a partition that moves is given back first (`cooperative-sticky`). A member that is
silent for a session is removed. A transaction commits offsets only of a member of the present generation, and readers see the
records of a partition up to the first open transaction.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import Faults

_SHORT_S, _LONG_S = 0.01, 3.0


class Host(Protocol):
    """What clients need of their process."""

    number: int
    name: str | None

    def connected(self) -> bool:
        """Whether Kafka is reached."""

    def pause(self, seconds: float) -> None:
        """Block the thread of the leases."""


@dataclass
class _Transaction:
    owner: str
    began: float
    state: str = "open"


@dataclass
class _Entry:
    """A record, or without a value, the mark at the end of a transaction."""

    value: bytes | None
    transaction: _Transaction


@dataclass(eq=False)
class Member:
    """A member of the group, as the coordinator knows it."""

    number: int
    instance: str | None
    seen: float
    generation: int = 0
    owned: set[int] = field(default_factory=set)
    revoke: set[int] = field(default_factory=set)
    assign: set[int] = field(default_factory=set)
    fenced: bool = False


@dataclass
class Told:
    """A message of a consumer."""

    place: tuple[int, int]
    content: bytes | None
    trouble: KafkaError | None = None
    name: bytes | None = None

    def key(self) -> bytes | None:
        return self.name

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]

    def value(self) -> bytes | None:
        return self.content

    def error(self) -> KafkaError | None:
        return self.trouble


class Coordinator:
    """The group and the topic with `shards` partitions."""

    def __init__(self, clock: SimulatedClock, shards: int, session_s: float) -> None:
        self.clock = clock
        self.session_s = session_s
        self.logs: list[list[_Entry]] = [[] for _ in range(shards)]
        self.members: list[Member] = []
        self.generation = 0
        self._since: float | None = None
        self._open: dict[str, _Transaction] = {}
        self._numbers = 0

    # The group -------------------------------------------------------------------------------------------------------

    def join(self, instance: str | None) -> Member:
        """Return a new member. It takes the place of an earlier one with the same name, without a rebalance."""
        self._numbers += 1
        made = Member(self._numbers, instance, self.clock.now())
        before = next((each for each in self.members if instance is not None and each.instance == instance), None)
        self.members.append(made)
        if before is None:
            self._prepare()
        else:
            self.members.remove(before)
            before.fenced = True
            made.generation, made.owned, made.assign = self.generation, set(before.owned), set(before.owned)
            if before.revoke:
                self._prepare()
        return made

    def leave(self, member: Member) -> None:
        """Remove a member, whose shards others may have."""
        if member in self.members:
            self.members.remove(member)
            self._prepare()

    def heard(self, member: Member) -> None:
        """Note a heartbeat."""
        member.seen = self.clock.now()

    def returned(self, member: Member, shards: set[int]) -> None:
        """Note that a member has given shards back."""
        member.owned -= shards
        member.revoke -= shards
        member.assign -= shards
        self._prepare()

    def look(self) -> None:
        """Remove silent members, and begin a generation if each member has rejoined; abort old transactions."""
        now = self.clock.now()
        for member in [each for each in self.members if now - each.seen > self.session_s]:
            self.leave(member)
        if self._since is not None and all(each.seen >= self._since for each in self.members):
            self._since = None
            self._begin()
        for transaction in [each for each in self._open.values() if now - each.began > self.session_s]:
            self.finish(transaction, "aborted")

    def pardon(self) -> None:
        """Begin the sessions of all members again: the coordinator has restarted."""
        for member in self.members:
            member.seen = self.clock.now()

    def quiet(self) -> bool:
        """Whether no shard is about to move."""
        return self._since is None and not any(each.revoke or each.assign for each in self.members)

    def _prepare(self) -> None:
        self._since = self.clock.now()

    def _begin(self) -> None:
        """Assign the shards: each member keeps what it has, up to its share."""
        self.generation += 1
        left = set(range(len(self.logs)))
        for place, member in enumerate(self.members):
            member.generation = self.generation
            share = len(self.logs) // len(self.members) + (place < len(self.logs) % len(self.members))
            member.revoke = set(sorted(member.owned)[share:])
            left -= member.owned
        for place, member in enumerate(self.members):
            share = len(self.logs) // len(self.members) + (place < len(self.logs) % len(self.members))
            while left and len(member.owned) < share:
                shard = min(left)
                left.discard(shard)
                member.owned.add(shard)
                member.assign.add(shard)

    # The topic -------------------------------------------------------------------------------------------------------

    def append(self, transaction: _Transaction, shard: int, value: bytes | None) -> int:
        """Append a record to a partition, and return its offset."""
        self.logs[shard].append(_Entry(value, transaction))
        return len(self.logs[shard]) - 1

    def begin(self, owner: str) -> _Transaction:
        """Begin a transaction; an open one of the same owner is aborted."""
        if owner in self._open:
            self.finish(self._open[owner], "aborted")
        made = self._open[owner] = _Transaction(owner, self.clock.now())
        return made

    def finish(self, transaction: _Transaction, state: str) -> None:
        """Commit or abort a transaction."""
        transaction.state = state
        self._open.pop(transaction.owner, None)
        for shard, log in enumerate(self.logs):
            if any(entry.transaction is transaction for entry in log):
                self.append(transaction, shard, None)

    def newest(self) -> dict[int, int]:
        """Return the newest lease of each shard, if its holder has said that the shard answers."""
        found = {shard: self.read(shard, 0)[0] for shard in range(len(self.logs))}
        newest = {shard: json.loads(records[-1][1])["lease"]["lease"] for shard, records in found.items() if records}
        return {shard: lease for shard, lease in newest.items() if lease is not None}

    def read(self, shard: int, offset: int) -> tuple[list[tuple[int, bytes]], int]:
        """Return the committed records from an offset on, and the offset after them."""
        found = []
        while offset < len(self.logs[shard]) and self.logs[shard][offset].transaction.state != "open":
            entry = self.logs[shard][offset]
            if entry.value is not None and entry.transaction.state == "committed":
                found.append((offset, entry.value))
            offset += 1
        return found, offset


class LeaseReader:
    """Reads the lease topic from its beginning. Now and then a partition is slow."""

    def __init__(self, host: Host, coordinator: Coordinator, chance: random.Random, faults: Faults) -> None:
        self._host = host
        self._coordinator = coordinator
        self._chance = chance
        self._faults = faults
        self._at = [0] * len(coordinator.logs)

    def consume(self, count: int, timeout_s: float) -> list[Told]:
        self._host.pause(self._chance.uniform(0.0, timeout_s))
        found: list[Told] = []
        if not self._host.connected():
            return found
        for shard in self._chance.sample(range(len(self._at)), len(self._at)):
            if not self._faults.strikes("slow lease"):
                records, self._at[shard] = self._coordinator.read(shard, self._at[shard])
                found += [Told((shard, offset), value) for offset, value in records]
        return found

    def close(self) -> None:
        pass


class LeaseMember:
    """A member of the group, once it has subscribed."""

    def __init__(self, host: Host, coordinator: Coordinator, chance: random.Random) -> None:
        self._host = host
        self._coordinator = coordinator
        self._chance = chance
        self._assigned: Callable[..., None]
        self._revoked: Callable[..., None]
        self._lost: Callable[..., None]
        self._subscribed = False
        self._member: Member | None = None
        self._own: set[int] = set()
        self._told = False
        self._heard = coordinator.clock.now()

    def subscribe(
        self, topics: list[str], *, on_assign: Callable[..., None], on_revoke: Callable[..., None], on_lost: Callable[..., None]
    ) -> None:
        self._assigned, self._revoked, self._lost = on_assign, on_revoke, on_lost
        self._subscribed = True

    def unsubscribe(self) -> None:
        self._subscribed = False

    def memberid(self) -> str:
        return "" if self._member is None else f"member-{self._member.number}"

    def heartbeat(self) -> None:
        """Send a sign of life, as another thread of the client does."""
        if self._host.connected() and self._member is not None and self._member in self._coordinator.members:
            self._coordinator.heard(self._member)
            self._heard = self._coordinator.clock.now()

    def consume(self, count: int, timeout_s: float) -> list[Told]:
        self._host.pause(self._chance.uniform(0.0, timeout_s))
        member, coordinator = self._member, self._coordinator
        if member is not None and member.fenced:
            found = [] if self._told else [Told((0, 0), None, KafkaError(KafkaError._FATAL, "fenced by another member"))]
            self._told = True
            return found
        gone = member is not None and member not in coordinator.members
        if not self._host.connected():
            if coordinator.clock.now() - self._heard > coordinator.session_s:
                self._lose()
            return []
        if not self._subscribed:
            self._leave()
            return []
        if member is None or gone:
            self._lose()
            self._member = coordinator.join(self._host.name)
            self.heartbeat()
            return []
        if due := set(member.revoke):
            self._own -= due
            self._revoked(self, self._places(due))
            coordinator.returned(member, due)
        elif due := set(member.assign):
            member.assign.clear()
            self._own |= due
            self._assigned(self, self._places(due))
        return []

    def _leave(self) -> None:
        """Give all shards back, and leave the group."""
        if self._own:
            own, self._own = self._own, set()
            self._revoked(self, self._places(own))
        if self._member is not None:
            self._coordinator.leave(self._member)
            self._member = None

    def _lose(self) -> None:
        self._member = None
        if self._own:
            lost, self._own = self._own, set()
            self._lost(self, self._places(lost))

    @staticmethod
    def _places(shards: set[int]) -> list[TopicPartition]:
        return [TopicPartition("leases", shard) for shard in sorted(shards)]

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None:
        pass

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None:
        pass

    def consumer_group_metadata(self) -> tuple[Member | None, int]:
        return self._member, 0 if self._member is None else self._member.generation

    def close(self) -> None:
        """Leave the group, unless the member has a name."""
        if self._member is not None and self._host.connected() and self._host.name is None:
            self._coordinator.leave(self._member)


class LeaseWriter:
    """Writes announcements in transactions. A step may fail, take long, or seem to fail."""

    def __init__(self, host: Host, coordinator: Coordinator, chance: random.Random, faults: Faults, owner: str) -> None:
        self._host = host
        self._coordinator = coordinator
        self._chance = chance
        self._faults = faults
        self._owner = owner
        self._records: list[tuple[int, bytes, Callable[..., None]]] = []
        self._transaction: _Transaction | None = None

    def init_transactions(self, timeout_s: float) -> None:
        self._work()
        self._coordinator.finish(self._coordinator.begin(self._owner), "aborted")

    def begin_transaction(self) -> None:
        self._records.clear()
        self._transaction = None

    def produce(self, topic: str, value: bytes, key: bytes, *, partition: int, on_delivery: Callable[..., None]) -> None:
        self._records.append((partition, value, on_delivery))

    def flush(self, timeout_s: float) -> None:
        self._work()
        self._transaction = self._coordinator.begin(self._owner)
        for shard, value, delivered in self._records:
            offset = self._coordinator.append(self._transaction, shard, value)
            delivered(None, Told((shard, offset), value))

    def send_offsets_to_transaction(
        self, places: Sequence[TopicPartition], metadata: tuple[Member | None, int], timeout_s: float
    ) -> None:
        self._work()
        member, generation = metadata
        if member not in self._coordinator.members or generation != self._coordinator.generation:
            raise _refused(KafkaError.ILLEGAL_GENERATION)

    def commit_transaction(self, timeout_s: float) -> None:
        self._work()
        assert self._transaction is not None, "flush before"
        if self._transaction.state != "open":
            raise _refused(KafkaError.PRODUCER_FENCED)
        self._coordinator.finish(self._transaction, "committed")
        if self._faults.strikes("unknown commit"):
            raise _refused(KafkaError._TIMED_OUT)

    def _work(self) -> None:
        self._host.pause(self._chance.uniform(0.0, _SHORT_S))
        if self._faults.strikes("slow leases"):
            self._host.pause(self._chance.uniform(0.0, _LONG_S))
        if not self._host.connected():
            self._host.pause(self._chance.uniform(0.0, _LONG_S))
            raise _refused(KafkaError._TIMED_OUT)
        if self._faults.strikes("lease refused"):
            raise _refused(KafkaError._TIMED_OUT)


def _refused(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))
