"""The actor that forwards the records of a shard's partitions to the shards of their keys, while this process has the shard."""

from collections.abc import Callable, Sequence
from typing import Protocol

from actors.cluster.rekeyed.blocks import Stand, standing_of
from actors.cluster.rekeyed.dealing import Dealer
from actors.messages import Look
from actors.protocol import Home, Message
from actors.reading.pace import Pace
from actors.replies import Trouble
from actors.runtime.actor import Actor, System
from actors.sources.polled import Place
from actors.sources.source import Source

_MOST_RECORDS = 20_000
_FULL_S = 0.05
_SHORTEST_S = 0.05
"""The least time between two transactions without load: one takes some ten milliseconds, and a record for each shard."""

_AGAIN_S = 1.0
_EXTEND_S = 30.0


class Outlet(Protocol):
    """Where blocks go. A call may wait some seconds, and raises OSError if it fails; then `begin` has to be called again."""

    def holds(self) -> bool:
        """Return whether this process has the shard. Never waits."""

    def begin(self) -> bytes | None:
        """Wait until nothing of an earlier process is under way. Return the last standing; None without one."""

    def write(self, blocks: Sequence[Sequence[bytes]], standing: bytes) -> None:
        """Write blocks, of each one that of each shard, and a standing: all or nothing, and only if this process may."""

    def close(self) -> None:
        """Take back what is under way."""


class Forwarding:
    """Why a forwarder forwards nothing: a trouble, None without one. Any thread may read it."""

    trouble: Trouble | None = None


class Forwarder(Actor[Look]):
    """Reads `source`, the partitions of a shard, and writes its records to `outlet` as `dealer` deals them.

    `status` gets each trouble, and `complain` each new reason.
    """

    def __init__(
        self,
        system: System,
        /,
        *,
        stream: str,
        source: Source,
        dealer: Dealer,
        outlet: Outlet,
        status: Forwarding,
        complain: Callable[[str], object],
    ) -> None:
        super().__init__(system, stream=stream)
        self._source = source
        self._dealer = dealer
        self._outlet = outlet
        self._status = status
        self._complain = complain
        self._pace = Pace()
        self._begun = self._busy = False
        self._got_at = self._looked_at = 0.0
        self._forwarded = 0

    @property
    def counted(self) -> dict[str, int]:
        """The number of forwarded records."""
        return {"forwarded": self._forwarded}

    @property
    def home(self) -> str:
        """Run on a thread of its own: a broker that is away delays no other actor."""
        return Home.OUTPUT.of(self.stream)

    def on_start(self) -> None:
        """Begin soon."""
        self._again(0.0)

    def on_stop(self) -> None:
        """Take back what is under way."""
        self._end()

    def receive(self, message: Look) -> None:  # noqa: ARG002  # the only message
        """Forward what there is. After an error begin anew, by what is committed."""
        try:
            self._again(self._forward() if self._outlet.holds() else self._rest())
        except OSError as error:
            self._have(str(error))
            self._end()
            self._again(_AGAIN_S)

    def failed(self, message: Message, error: Exception) -> None:
        """Begin anew, by what is committed."""
        super().failed(message, error)
        self._have(f"{type(error).__name__}: {error}")
        self._end()
        self._again(_AGAIN_S)

    def _again(self, seconds: float) -> None:
        self.later(seconds, self.address, Look())

    def _rest(self) -> float:
        """Forward nothing: another process may have the shard. Return the seconds until the next look."""
        self._end()
        return _AGAIN_S

    def _end(self) -> None:
        self._begun = False
        self._outlet.close()
        self._source.close()

    def _have(self, problem: str | None) -> None:
        """Note why nothing is forwarded; None if it is."""
        before = self._status.trouble
        if problem is None:
            self._status.trouble = None
        elif before is None or before.reasons != (problem,):
            self._status.trouble = Trouble("stalled", self.system.dispatcher.wall(), (problem,))
            self._complain(problem)

    def _forward(self) -> float:
        """Forward what there is now. Return the seconds until the next look."""
        if not self._begun and not self._connect():
            self._status.trouble = self._source.trouble()
            return _AGAIN_S
        wait_s = 0.0 if self._busy else self._pace.wait_after(self._now() - self._got_at)
        if wait_s:
            self._source.rest(wait_s)
        began = self._now()
        if began - self._looked_at >= _EXTEND_S:
            self._looked_at = began
            self._source.extend()
        polled = self._source.poll(_MOST_RECORDS, _FULL_S if self._busy else 0.0)
        self._busy = self._pace.shows_load(polled.values)
        gaps = self._source.gaps()
        blocks = self._dealer.deal(polled, gaps, self._source.place(), self._now(), self.system.dispatcher.wall())
        if blocks:
            self._outlet.write(blocks, self._dealer.standing)
            self._forwarded += len(polled.values)
        now = self._now()
        if len(polled.values):
            self._got_at = now
        self._status.trouble = self._source.trouble()
        self._source.commit()
        if self._busy:
            return 0.0
        return max(_SHORTEST_S - (now - began) if blocks else 0.0, self._pace.rest_after(now - self._got_at))

    def _connect(self) -> bool:
        """Begin where the last forwarder has ended. Returns False if the source cannot be opened."""
        told = self._outlet.begin()
        stands, identity = ({}, None) if told is None else standing_of(told)
        if not self._source.open(_place_of(stands, identity)):
            return False
        self._dealer.begin(stands, self._source.gaps(), self._source.place())
        self._begun, self._busy, self._got_at = True, False, self._now()
        self._have(None)
        return True

    def _now(self) -> float:
        return self.system.dispatcher.now()


def _place_of(stands: dict[int, Stand], identity: str | None) -> Place:
    return Place({number: stand.next for number, stand in stands.items()}, identity)
