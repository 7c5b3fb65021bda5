"""The actor that lists the shards of a stream for people: where each is, what it does, how far it is behind, what it holds.

If a client looks, it asks the gatherer of this process and the other processes, at most once a second. It never waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import MsgspecError
from msgspec.structs import replace

from actors.cluster.figures import Asking, Figures, GetFigures, Overdue, Own, RosterMessage, Told, figures_from, figures_of
from actors.cluster.messages import GathererMessage, Place
from actors.protocol import Address, Busy, ReplyTo
from actors.replies import GetShards, GetStats, ShardState, Stats
from actors.runtime.actor import Actor, System

_KEPT_S = 1.0
_PATIENCE_S = 1.0
"""How long a look waits for other processes. Those without an answer by then have no figures."""


@dataclass(slots=True)
class _Look:
    """An unfinished look: who waits for it, what the gatherer knows, and the figures from here.

    If it `asks` other processes, it is `waiting` for those that have not replied.
    """

    number: int
    reply_to: list[ReplyTo[tuple[ShardState, ...]]]
    states: tuple[ShardState, ...] | None = None
    asks: bool = False
    waiting: set[tuple[str, int]] = field(default_factory=set)
    found: dict[int, Figures] = field(default_factory=dict)


class Roster(Actor[RosterMessage]):
    """Lists the shards of the stream `stream`, whose `gatherer` is in this process. `ask` asks other processes.

    This process announces itself as `host` and `port`, and has the id `pid`.
    """

    def __init__(
        self,
        system: System,
        /,
        *,
        stream: str,
        gatherer: Address[GathererMessage],
        ask: Asking,
        host: str,
        port: int,
        pid: int,
    ) -> None:
        super().__init__(system, stream=stream)
        self._gatherer = gatherer
        self._asking = ask
        self._host, self._port, self._pid = host, port, pid
        self._number = 0
        self._look: _Look | None = None
        self._told_before: dict[int, Figures] = {}
        self._until = 0.0

    def receive(self, message: RosterMessage) -> None:
        """Handle one message."""
        match message:
            case GetShards(reply_to):
                self._list(reply_to)
            case GetFigures(reply_to):
                self._count(lambda _, figures: reply_to(figures), reply_to)
            case Own():
                self._own(message)
            case Told():
                self._told(message)
            case Overdue(number):
                if self._look is not None and self._look.number == number:
                    self._end(self._look)

    def _list(self, reply_to: ReplyTo[tuple[ShardState, ...]]) -> None:
        """Look, or wait for the look that is under way."""
        if self._look is not None:
            self._look.reply_to.append(reply_to)
        else:
            self._number += 1
            number = self._number
            self._look = _Look(number, [reply_to])
            self.later(_PATIENCE_S, self.address, Overdue(number))
            self._count(
                lambda states, figures: self.send(self.address, Own(number, states, figures)),
                lambda _: self.send(self.address, Own(number, (), ())),
            )

    def _count(
        self,
        done: Callable[[tuple[ShardState, ...], tuple[Figures, ...]], None],
        failed: Callable[[Busy], None],
    ) -> None:
        """Ask the gatherer who has each shard, and for the stats of those here. The arguments run on its thread."""

        def located(states: tuple[ShardState, ...] | Busy) -> None:
            if isinstance(states, Busy):
                failed(states)
                return

            def counted(stats: Stats | Busy) -> None:
                done(states, figures_of(states, stats))

            self.send(self._gatherer, GetStats(counted))

        self.send(self._gatherer, GetShards(located))

    def _own(self, message: Own) -> None:
        """Ask the other processes that have shards, unless they were asked within the last second."""
        look = self._look
        if look is None or look.number != message.number:
            return
        look.states = message.states
        look.found.update((each.shard, each) for each in message.figures)
        if self.system.dispatcher.now() < self._until:
            self._end(look)
            return
        self._told_before = {}
        for each in message.states:
            if each.state == "elsewhere" and each.host is not None and each.port is not None and each.epoch is not None:
                at = (each.host, each.port)
                if at not in look.waiting:
                    look.waiting.add(at)
                    place = Place(each.host, each.port, each.epoch)
                    self._asking(place, self.stream.encode(), _PATIENCE_S, self._telling(look.number, at))
        look.asks = True
        if not look.waiting:
            self._end(look)

    def _telling(self, number: int, at: tuple[str, int]) -> Callable[[bytes | OSError], None]:
        """Return what takes the bytes of another process, on a thread of the peers."""

        def done(data: bytes | OSError) -> None:
            try:
                figures = figures_from(data) if isinstance(data, bytes) else ()
            except MsgspecError:  # a process of another version: it has no figures
                figures = ()
            self.send(self.address, Told(number, *at, figures))

        return done

    def _told(self, message: Told) -> None:
        look, at = self._look, (message.host, message.port)
        if look is None or look.number != message.number or at not in look.waiting:
            return
        places = {each.shard: (each.host, each.port) for each in look.states or ()}
        self._told_before.update((each.shard, each) for each in message.figures if places.get(each.shard) == at)
        look.waiting.discard(at)
        if not look.waiting:
            self._end(look)

    def _end(self, look: _Look) -> None:
        """Reply to all that wait."""
        self._look = None
        if look.asks:
            self._until = self.system.dispatcher.now() + _KEPT_S
        if not look.states:
            for reply_to in look.reply_to:
                reply_to(Busy("the gatherer does not answer"))
            return
        found = {**self._told_before, **look.found}
        states = tuple(self._with_figures(each, found.get(each.shard)) for each in look.states)
        for reply_to in look.reply_to:
            reply_to(states)

    def _with_figures(self, state: ShardState, figures: Figures | None) -> ShardState:
        """Return a shard with its figures, unless they are of another lease."""
        if state.state in {"here", "catching up"}:
            state = replace(state, host=self._host, port=self._port, pid=self._pid)
        if figures is None or state.state == "nowhere" or figures.epoch != state.epoch:
            return state
        now = "catching up" if figures.state == "catching up" else state.state
        return replace(state, state=now, lag=figures.lag, nbytes=figures.nbytes, problems=figures.problems)
