"""Which shards may answer now: those of this process that have caught up, and those of other processes that answer.

Belongs to the gatherer, and runs on its thread. It never waits: a probe and a look at a shard come back as messages.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from actors.cluster.messages import Check, Checked, GathererMessage, Hold, Locate, Moved, Place, Probe, Probed
from actors.protocol import Busy
from actors.replies import GetStats, ShardState
from actors.runtime.actor import Actor

_AGAIN_S = 1.0
_PROBE_S = 1.0
_CHECK_S = 0.05


@dataclass(slots=True)
class _Entry:
    """What is known about the beginning of a shard here.

    Its source had read what was there at `caught_up_at`.
    The slices have that once they have `events`, which they had if `passed`.
    """

    caught_up_at: float | None = None
    events: int = 0
    passed: bool = False
    checking: bool = False


class Holders:
    """Knows who has each shard. `gatherer` sends its messages, to itself and to the managers of the shards here.

    `probe` asks whether a process answers at all, within some seconds; it may tell so on any thread. `doubtful` returns whether
    the leases of this process may have passed to others; then its own shards give no part.
    """

    def __init__(
        self,
        gatherer: Actor[GathererMessage],
        *,
        probe: Callable[[Place, float, Callable[[bool], None]], None],
        doubtful: Callable[[], bool],
    ) -> None:
        self._gatherer = gatherer
        self._probe = probe
        self._doubtful = doubtful
        self._held: dict[int, Hold] = {}
        self._entries: dict[int, _Entry] = {}
        self._places: dict[int, Place] = {}
        self._down: dict[int, int] = {}

    @property
    def here(self) -> Mapping[int, Hold]:
        """The shards of this process, whether they may answer or not."""
        return self._held

    @property
    def elsewhere(self) -> Collection[int]:
        """The shards that other processes have, or had until those here answer, whether they answer or not."""
        return self._places.keys()

    def who(self, shard: int) -> Hold | Place | None:
        """Return who may be asked for a shard: the hold of this process, or the place of another one, if it answers."""
        hold, place = self._held.get(shard), self._places.get(shard)
        if hold is not None and self._present(hold) and not self._doubtful():
            return hold
        return place if place is not None and self._down.get(shard) != place.epoch else None

    def by_lease(self, shard: int, epoch: int) -> Hold | Busy:
        """Return the hold of this process by the lease `epoch`, if the shard may answer; else the reason why not."""
        hold, place = self._held.get(shard), self._places.get(shard)
        if hold is None and place is not None and place.epoch > epoch:
            return Moved("another process has the shard", place)
        if hold is None or hold.epoch != epoch:
            return Busy("another process has the shard")
        if self._doubtful():
            return Busy("the lease is in doubt")
        return hold if self._present(hold) else Busy("the shard reads what came before")

    def state_of(self, shard: int) -> ShardState:
        """Return who has a shard, for people."""
        hold, place = self._held.get(shard), self._places.get(shard)
        if hold is not None:
            here = self._present(hold) and not self._doubtful()
            return ShardState(shard, "here" if here else "catching up", epoch=hold.epoch)
        if place is None:
            return ShardState(shard, "nowhere")
        answers = self._down.get(shard) != place.epoch
        return ShardState(shard, "elsewhere" if answers else "nowhere", place.host, place.port, place.epoch, place.pid)

    def hold(self, hold: Hold) -> bool:
        """Note that a shard is here, and return whether it may answer. By a newer lease of the same actors it has what it had.

        Until it may answer, the process that had it before may.
        """
        before, entry = self._held.get(hold.shard), self._entries.get(hold.shard)
        same = before is not None and entry is not None and before.manager == hold.manager
        self._held[hold.shard] = hold
        self._entries[hold.shard] = replace(entry, checking=False) if same and entry is not None else _Entry()
        return self._present(hold)

    def begin(self, shard: int) -> bool:
        """Note that a shard here may answer from now on. Return whether another process did."""
        self._down.pop(shard, None)
        return self._places.pop(shard, None) is not None

    def release(self, shard: int) -> None:
        """Note that a shard is here no longer."""
        self._held.pop(shard, None)
        self._entries.pop(shard, None)

    def locate(self, message: Locate) -> bool:
        """Note where a shard is, unless a later lease is known, and return whether another process has it."""
        known = self._places.get(message.shard)
        if message.place is not None and known is not None and message.place.epoch < known.epoch:
            return False
        self._down.pop(message.shard, None)
        if message.place is None or message.shard in self._held:
            self._places.pop(message.shard, None)
            return False
        self._places[message.shard] = message.place
        return True

    # The beginning of a shard here -----------------------------------------------------------------------------------

    def _present(self, hold: Hold) -> bool:
        """Return whether the slices of a shard have what was there when its lease began; if not, look again and again."""
        entry, at = self._entries[hold.shard], hold.reading.caught_up_at()
        if at is not None and entry.passed and entry.caught_up_at == at:
            return True
        if not entry.checking:
            entry.checking = True
            self._gatherer.send(self._gatherer.address, Check(hold.shard, hold.epoch))
        return False

    def check(self, message: Check) -> None:
        """Ask the manager of a shard what its slices have, once its source has read enough."""
        hold = self._held.get(message.shard)
        if hold is None or hold.epoch != message.epoch:
            return
        gatherer, entry, at = self._gatherer, self._entries[message.shard], hold.reading.caught_up_at()
        if at is not None:
            if entry.passed and entry.caught_up_at == at:
                entry.checking = False
                return
            shard, epoch = message.shard, message.epoch
            gatherer.send(
                hold.manager, GetStats(lambda stats: gatherer.send(gatherer.address, Checked(shard, epoch, at, stats)))
            )
        gatherer.later(_CHECK_S, gatherer.address, message)

    def checked(self, message: Checked) -> Hold | None:
        """Note how many events the slices must have, and later that they have them. Batches reach them in order.

        Returns the hold if the shard may answer from now on.
        """
        hold, stats, at = self._held.get(message.shard), message.stats, message.caught_up_at
        if hold is None or hold.epoch != message.epoch or isinstance(stats, Busy) or stats.progress.taken_at < at:
            return None
        entry = self._entries[message.shard]
        if entry.caught_up_at != at:
            entry.caught_up_at, entry.events, entry.passed = at, stats.progress.events - stats.progress.apart, False
        events = sum(meta.events for meta in (*stats.aged, stats.active)) + sum(stats.dropped.values())
        news = not entry.passed and events >= entry.events
        entry.passed = entry.passed or news
        return hold if news else None

    # Processes that may have died ------------------------------------------------------------------------------------

    def doubt(self, shards: Iterable[int]) -> None:
        """Probe the processes that have those of `shards` that are elsewhere: they have not answered for a while."""
        for shard in shards:
            if (place := self._places.get(shard)) is not None:
                self.probe(Probe(shard, place.epoch))

    def probe(self, message: Probe) -> None:
        """Probe the process that has a shard, if it still does by that lease."""
        gatherer, place = self._gatherer, self._places.get(message.shard)
        if place is not None and place.epoch == message.epoch:
            self._probe(
                place,
                _PROBE_S,
                lambda alive: gatherer.send(gatherer.address, Probed(message.shard, message.epoch, alive)),
            )

    def probed(self, message: Probed) -> bool:
        """Ask a shard nothing whose process does not answer, until it answers a probe, or the shard moves.

        Returns whether it has just been found out, so that no query waits for it any longer.
        """
        shard, epoch = message.shard, message.epoch
        place = self._places.get(shard)
        if place is None or place.epoch != epoch:
            return False
        if message.alive:
            self._down.pop(shard, None)
            return False
        news = self._down.get(shard) != epoch
        self._down[shard] = epoch
        self._gatherer.later(_AGAIN_S, self._gatherer.address, Probe(shard, epoch))
        return news
