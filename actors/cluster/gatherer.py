"""The actor in the place of a stream's manager if the stream is spread over the processes of a cluster.

It sends each query to the shards of this process and, through `peers`, to the other processes, joins their parts, and replies.
It never waits. A shard that gives no part is named in the answer's coverage. Which shards may answer is in `holders`.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, assert_never

from actors.cluster.holders import Holders
from actors.cluster.joining import Heard, Standing, origin_of, standing_of
from actors.cluster.messages import (
    CARRIED,
    Arrived,
    Ask,
    Check,
    Checked,
    Consult,
    Counted,
    Doubt,
    GathererMessage,
    Hold,
    Known,
    Late,
    Locate,
    Moved,
    Part,
    Place,
    Probe,
    Probed,
    Release,
)
from actors.cluster.parcels import Parcel, parcel_of, parts_of, question_bytes
from actors.cluster.summing import is_idle, stats_of
from actors.messages import Delayed, Reconfigure, Reconfigured
from actors.protocol import Busy, Lane, Message, QueryId, ReplyTo
from actors.replies import Answer, GetShards, GetStats, Query, Stats, TooMuch, Unanswerable
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Timer
from actors.timeline.span import Span
from actors.timeline.unit import UNITS
from actors.views.view import View

_DOUBT_S = 1.0
"""How long a query waits for other processes before they are probed."""

_SHARE = 0.9
"""The part of a query's time that a shard has. The rest is for the join."""

_THERE = 0.9
"""The part of that time that another process has for its shards. The rest is for the way back, for all of them together."""

_COPIES = 4
"""Bytes of an unpacked part for each byte as it was sent, at most."""


Told = Sequence[bytes | memoryview] | OSError
"""The answers of another process to several questions, or the reason without them."""


class Peers(Protocol):
    """The requests to other processes. `done` may be called on any thread."""

    def ask(self, place: Place, bodies: Sequence[bytes], timeout_s: float, done: Callable[[Told], None]) -> None:
        """Send questions to shards of the process at `place`; `done` gets as many answers, or the reason without them."""

    def probe(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        """Ask whether the process answers at all."""


@dataclass(slots=True)
class _Asked:
    """An unfinished query: the shards that it waits for, and the parts so far.

    The shards were asked with `arguments` about `span`, by the leases `epochs`, for an answer until `until` (monotonic, s). A
    view may ask them again, by the parts. `asked_at` and `came_at` are when a shard was asked last, and when its part came.

    Any thread appends to `came`. The gatherer has taken the first `taken` of these parts. It gets a message once there are
    `enough` of them, and not for each: to wake its thread costs more than to take a part.
    """

    query: Query
    arguments: Any
    span: Span
    until: float
    waiting: set[int] = field(default_factory=set)
    epochs: dict[int, int] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    asked_at: dict[int, float] = field(default_factory=dict)
    came_at: dict[int, float] = field(default_factory=dict)
    came: list["_Came"] = field(default_factory=list)
    taken: int = 0
    enough: int = 0
    timers: list[Timer] = field(default_factory=list)


class _Came(NamedTuple):
    """The part of a shard that was asked by the lease `epoch`, or the reason without one, and when it came (monotonic, s).

    Of a joint reply all parts count, or none: the first one says how many are `together`, and follow each other.
    """

    shard: int
    epoch: int
    part: Part | Busy
    at: float
    together: int = 1


@dataclass(slots=True)
class _Counting:
    """An unfinished request for statistics."""

    reply_to: ReplyTo[Stats]
    waiting: set[int]
    found: dict[int, Stats] = field(default_factory=dict)


class Gatherer(Actor[GathererMessage]):
    """Answers for the stream `stream` of the view `view`, called `name`, with `shards` shards. Statistics are of this process.

    `doubtful` returns whether the leases of this process may have passed to others; then its own shards give no part.
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
        shards: int,
        peers: Peers,
        doubtful: Callable[[], bool],
        budget_bytes: int,
    ) -> None:
        super().__init__(system, stream=stream)
        self._name = name
        self._view = view
        self._shards = shards
        self._peers = peers
        self._holders = Holders(self, probe=peers.probe, doubtful=doubtful)
        self._budget_bytes = budget_bytes
        self._parcel: Parcel = parcel_of(name)
        self._asked: dict[QueryId, _Asked] = {}
        self._counting: dict[int, _Counting] = {}
        self._ids = itertools.count(1)
        self._whole = self._part = 0
        self._output_problem: str | None = None

    @property
    def counted(self) -> dict[str, int]:
        """The numbers of answered queries, and of those without the part of some shard."""
        return {"answered": self._whole + self._part, "partial": self._part}

    def receive(self, message: GathererMessage) -> None:
        """Handle one message."""
        match message:
            case Query():
                self._scatter(message)
            case Ask():
                self._ask_for_peer(message)
            case Arrived(query_id):
                self._go_on(query_id)
            case Late(query_id):
                self._take(query_id)
                self._answer(query_id)
            case Doubt(query_id):
                if (asked := self._take(query_id)) is not None:
                    self._holders.doubt(asked.waiting)
            case Probe():
                self._holders.probe(message)
            case Probed(shard):
                if self._holders.probed(message):
                    self._lost(shard)
            case Check():
                self._holders.check(message)
            case Checked():
                if (hold := self._holders.checked(message)) is not None:
                    self._take_over(hold)
            case Hold():
                if self._holders.hold(message):
                    self._take_over(message)
            case Release(shard):
                self._holders.release(shard)
            case Locate():
                self._locate(message)
            case GetStats(reply_to):
                self._count(reply_to)
            case Counted():
                self._add(message)
            case GetShards(reply_to):
                reply_to(tuple(map(self._holders.state_of, range(self._shards))))
            case Delayed(problem):
                self._output_problem = problem
            case Reconfigure():
                message.reply_to(Reconfigured(0))
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Reply `Busy` to a failed request, and to a query whose parts could not be joined."""
        super().failed(message, error)
        of = getattr(message, "query_id", None)
        for query_id in [each for each, asked in self._asked.items() if each == of or asked.query is message]:
            query = self._end(query_id)
            if query is not message:
                query.reply_to(Busy(f"the request failed: {type(error).__name__}"))

    # Queries ---------------------------------------------------------------------------------------------------------

    def _scatter(self, query: Query) -> None:
        """Ask every shard that the query is for, if it may answer."""
        query_id = QueryId(next(self._ids))
        until = self.system.dispatcher.now() + query.deadline_s * _SHARE
        asked = self._asked[query_id] = _Asked(query, *self._parcel.first(query.arguments, query.span), until)
        asked.timers.append(self.later(query.deadline_s, self.address, Late(query_id)))
        self._put(query_id, asked, self._parcel.asks(query.arguments, self._shards))
        if not asked.waiting.isdisjoint(self._holders.elsewhere):
            asked.timers.append(self.later(_DOUBT_S, self.address, Doubt(query_id)))

    def _put(self, query_id: QueryId, asked: _Asked, shards: Iterable[int]) -> None:
        """Ask those of `shards` that may answer."""
        asked.parts, asked.waiting, asked.epochs = {}, set(), {}
        self._put_each(query_id, asked, shards)
        self._go_on(query_id)

    def _put_each(self, query_id: QueryId, asked: _Asked, shards: Iterable[int]) -> None:
        """Ask those of `shards` that may answer: each one here, and each other process once for all that it has."""
        elsewhere: dict[tuple[str, int], dict[int, Place]] = {}
        now = self.system.dispatcher.now()
        deadline_s = max(0.0, asked.until - now)
        for shard in shards:
            asked.asked_at[shard] = now
            who = self._holders.who(shard)
            if who is None:
                continue
            asked.waiting.add(shard)
            asked.epochs[shard] = who.epoch
            if isinstance(who, Hold):
                done = self._arriving(query_id, asked, shard, who.epoch)
                self._ask(who, Ask(shard, who.epoch, asked.span, asked.arguments, deadline_s, done, asked.query.admit))
            else:
                elsewhere.setdefault((who.host, who.port), {})[shard] = who
        for places in elsewhere.values():
            bodies = [
                question_bytes(
                    self.stream,
                    shard,
                    place.epoch,
                    span=asked.span,
                    arguments=asked.arguments,
                    deadline_s=deadline_s * _THERE,
                    joint=len(places) > 1,
                )
                for shard, place in places.items()
            ]
            self._peers.ask(next(iter(places.values())), bodies, deadline_s, self._unpacking(query_id, asked, places))

    def _take_over(self, hold: Hold) -> None:
        """Let a shard here answer from now on, in place of the process that had it before."""
        if self._holders.begin(hold.shard):
            self._moved(hold.shard, hold.epoch)
        hold.on_ready()

    def _locate(self, message: Locate) -> None:
        if self._holders.locate(message) and message.place is not None:
            self._moved(message.shard, message.place.epoch)

    def _moved(self, shard: int, epoch: int) -> None:
        """Ask the new holder of a shard in place of the earlier one, whose part may be out of date."""
        for query_id in list(self._asked):
            asked = self._take(query_id)
            if asked is not None and shard in asked.waiting and asked.epochs[shard] != epoch:
                asked.waiting.discard(shard)
                self._put_each(query_id, asked, (shard,))
                self._go_on(query_id)

    def _lost(self, shard: int) -> None:
        """Do not wait for a shard whose process does not answer."""
        for query_id in list(self._asked):
            asked = self._take(query_id)
            if asked is not None and shard in asked.waiting:
                asked.waiting.discard(shard)
                self._go_on(query_id)

    def _take(self, query_id: QueryId) -> _Asked | None:
        """Take the parts that have come, and return the query; None if it has its reply by now."""
        asked = self._asked.get(query_id)
        if asked is None:
            return None
        again: list[int] = []
        while asked.taken < len(asked.came):
            count = asked.came[asked.taken].together
            found = asked.came[asked.taken : asked.taken + count]
            asked.taken += count
            wanted = [each for each in found if each.shard in asked.waiting and asked.epochs[each.shard] == each.epoch]
            if len(wanted) < count:  # a shard of a joint reply has moved meanwhile: what it had cannot be taken out
                again += [each.shard for each in wanted]
                continue
            for shard, _, told, at, _ in wanted:
                if isinstance(told, Moved) and self._follow(query_id, asked, shard, told.place):
                    continue
                refused = None
                if isinstance(told, Part) and told.nbytes and asked.query.admit is not None:
                    refused = asked.query.admit(_COPIES * told.nbytes, 0)
                part = refused if refused is not None else told
                asked.waiting.discard(shard)
                if isinstance(part, Part):
                    asked.parts[shard], asked.came_at[shard] = part, at
                elif isinstance(part, TooMuch):  # there is too little memory for the answer
                    self._end(query_id)
                    asked.query.reply_to(part)
                    return None
        if again:
            asked.waiting.difference_update(again)
            self._put_each(query_id, asked, again)
        return asked

    def _follow(self, query_id: QueryId, asked: _Asked, shard: int, place: Place) -> bool:
        """Ask a shard where it answers by now, before its announcement comes here. Return whether it is asked."""
        self._holders.locate(Locate(shard, place))
        who = self._holders.who(shard)
        if who is None or who.epoch < place.epoch:
            return False
        asked.waiting.discard(shard)
        self._put_each(query_id, asked, (shard,))
        return shard in asked.waiting

    def _go_on(self, query_id: QueryId) -> None:
        """Go on with a query once it waits for no part; until then have this actor told when the last of them has come."""
        asked = self._take(query_id)
        if asked is None:
            return
        if not asked.waiting:
            self._gathered(query_id)
            return
        asked.enough = asked.taken + len(asked.waiting)
        if len(asked.came) >= asked.enough:  # the last one came before it was known to be the last
            self.send(self.address, Arrived(query_id))

    def _gathered(self, query_id: QueryId) -> None:
        """Ask the same shards again if the view needs more of them; else reply."""
        asked = self._asked[query_id]
        partials = [part.partial for part in asked.parts.values() if part.partial is not CARRIED]
        clock = self._standing(asked).clock
        further = self._parcel.further(asked.query.arguments, asked.arguments, partials, clock=clock) if partials else None
        if further is None:
            self._answer(query_id)
        else:
            asked.arguments = further
            self._put(query_id, asked, sorted(asked.parts))

    def _ask(self, hold: Hold, message: Ask) -> None:
        """Ask a shard of this process, and by the same message whether it has read all there is.

        If the part must be `whole`, and a slice has not replied, there is no part. Such a query is of the service itself.
        """
        whole, done = bool(getattr(message.arguments, "whole", False)), message.reply_to
        told: list[tuple[Known, float | None]] = []

        def note(known: Known) -> None:
            whole_at = hold.reading.whole_at(known.progress.taken_at) if is_idle(known.progress) else None
            told.append((known, whole_at))

        def take(found: Answer | Busy) -> None:
            if isinstance(found, Busy):
                done(found)
            elif whole and len(found.coverage.missing) != told[0][0].missing:
                done(Busy("a slice did not reply"))
            else:
                done(_part(found, *told[0], hold, self.system.dispatcher.now()))

        given = (message.span, message.arguments, message.deadline_s, take, message.admit)
        self.send(hold.manager, Consult(*given, counts=not whole, known=note))

    def _ask_for_peer(self, message: Ask) -> None:
        """Ask a shard of this process for another one, which must know its present lease."""
        hold = self._holders.by_lease(message.shard, message.epoch)
        if isinstance(hold, Busy):
            message.reply_to(hold)
        else:
            self._ask(hold, message)

    def _arriving(self, query_id: QueryId, asked: _Asked, shard: int, epoch: int) -> ReplyTo[Part]:
        """Return what takes the part of a shard here, on the thread of its manager."""
        return lambda part: self._come(query_id, asked, [(shard, epoch, part)])

    def _unpacking(self, query_id: QueryId, asked: _Asked, places: Mapping[int, Place]) -> Callable[[Told], None]:
        """Return what takes the answers of another process for its shards, on a thread of `peers`."""

        def done(told: Told) -> None:
            if isinstance(told, OSError):
                for shard, place in places.items():
                    self.send(self.address, Probed(shard, place.epoch, alive=False))
                lost = Busy("the process does not answer")
                self._come(query_id, asked, [(shard, place.epoch, lost) for shard, place in places.items()])
                return
            found = [
                (shard, place.epoch, part)
                for (shard, place), part in zip(places.items(), parts_of(self._name, self._view, told), strict=True)
            ]
            joint = any(isinstance(part, Part) and part.partial is CARRIED for _, _, part in found)
            self._come(query_id, asked, found, together=sum(isinstance(part, Part) for _, _, part in found) if joint else 1)

        return done

    def _come(
        self, query_id: QueryId, asked: _Asked, parts: Sequence[tuple[int, int, Part | Busy]], *, together: int = 1
    ) -> None:
        """Add parts to a query, on any thread. Tells the gatherer if it may have all of them, or must ask again for some.

        If several are `together`, they are all that are no `Busy`.
        """
        now = self.system.dispatcher.now()
        came = [_Came(shard, epoch, part, now) for shard, epoch, part in parts]
        if together > 1:
            came.sort(key=lambda each: isinstance(each.part, Busy))
            came[0] = came[0]._replace(together=together)
        asked.came.extend(came)
        moved = together > 1 and any(asked.epochs.get(shard) != epoch for shard, epoch, _ in parts)
        if moved or len(asked.came) >= asked.enough:
            self.send(self.address, Arrived(query_id))

    def _answer(self, query_id: QueryId) -> None:
        """Reply with the parts so far, if not done before. The other shards are named."""
        asked = self._asked.get(query_id)
        if asked is None:
            return
        query, parts = asked.query, dict(sorted(asked.parts.items()))
        standing = self._standing(asked)
        absent, until = standing.coverage.absent, None if standing.coverage.absent else standing.coverage.complete_to
        partials = [part.partial for part in parts.values() if part.partial is not CARRIED]
        if (refused := self._parcel.refusal(partials)) is not None:
            self._end(query_id)
            query.reply_to(Unanswerable(refused))
            return
        joined = self._parcel.joined(
            self._view,
            partials,
            until=until,
            idle=standing.idle,
            clock=standing.clock,
            span=query.span,
            arguments=query.arguments,
        )
        self._whole += query.counts and not absent
        self._part += query.counts and bool(absent)
        steady = not absent and self._parcel.steady(self._view, joined, query.arguments)
        origin = origin_of(parts) if steady else None
        self._end(query_id)
        query.reply_to(Answer(self._view, joined, query.span, query.arguments, standing.coverage, origin))

    def _end(self, query_id: QueryId) -> Query:
        """Forget a query, which gets its reply now."""
        asked = self._asked.pop(query_id)
        for timer in asked.timers:
            timer.cancel()
        return asked.query

    def _standing(self, asked: _Asked) -> Standing:
        """Return where the stream stands by the parts so far."""
        heard = [Heard(part, asked.asked_at[shard], asked.came_at[shard]) for shard, part in sorted(asked.parts.items())]
        shards = self._parcel.asks(asked.query.arguments, self._shards)
        return standing_of(heard, [f"{self.stream} {shard}" for shard in shards if shard not in asked.parts])

    # Statistics ------------------------------------------------------------------------------------------------------

    def _count(self, reply_to: ReplyTo[Stats]) -> None:
        """Ask the shards of this process for their statistics."""
        number = next(self._ids)
        here = self._holders.here
        self._counting[number] = _Counting(reply_to, set(here))
        for shard, hold in here.items():
            self.send(hold.manager, GetStats(self._counted(number, shard)))
        if not here:
            self._sum(number)

    def _counted(self, number: int, shard: int) -> ReplyTo[Stats]:
        return lambda stats: self.send(self.address, Counted(number, shard, stats))

    def _add(self, message: Counted) -> None:
        counting = self._counting.get(message.number)
        if counting is None:
            return
        counting.waiting.discard(message.shard)
        if isinstance(message.stats, Stats):
            counting.found[message.shard] = message.stats
        if not counting.waiting:
            self._sum(message.number)

    def _sum(self, number: int) -> None:
        counting = self._counting.pop(number)
        found = dict(sorted(counting.found.items()))
        counting.reply_to(stats_of(found, self._view, self._budget_bytes, self._output_problem))


def _part(found: Answer, known: Known, whole_at: float | None, hold: Hold, now: float) -> Part:
    """Return the part of a shard, made `now`. `known` is of just before; it is idle if it had read all until `whole_at`."""
    whole_s, news_s = (None if at is None or at == -math.inf else now - at for at in (whole_at, hold.reading.news_at))
    unit = known.progress.unit
    return Part(
        found.partial,
        found.coverage,
        found.origin,
        idle=whole_at is not None,
        epoch=hold.epoch,
        silence=known.progress.silence,
        per_s=1_000 if unit is None else UNITS[unit.name],
        whole_s=whole_s,
        news_s=news_s,
        past=tuple((now - at, watermark) for at, watermark in known.past),
    )
