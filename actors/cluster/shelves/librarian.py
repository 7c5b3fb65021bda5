"""The actor in the gatherer's place for a stream with shelves: asks the matcher first, and then the shelves that have the rest.

It never waits. What no shelf has is missing in the answer's coverage, and a shelf without an answer is named there.
"""

import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never, cast

from msgspec.structs import replace

from actors.cluster.messages import GathererMessage
from actors.cluster.parcels import parcel_of
from actors.cluster.shelves.messages import Answered, Filled, LibrarianMessage, Listed, Located
from actors.protocol import Address, Busy, Message, QueryId
from actors.replies import Answer, GetShards, GetStats, Query, ShardState, Stats
from actors.runtime.actor import Actor, System
from actors.timeline.span import Span

_AWAY = {"nowhere", "catching up"}
"""The states of a shard that gives no part."""


class Missing(Protocol):
    """A generation that no shelf has: its span, and how many rows it would have in the whole span, at most."""

    span: Span
    count: int


class Fetching(Protocol):
    """What the module `parcel` of a view with shelves has beside the protocol of all parcels."""

    def fetching(self, partial: Any, arguments: Any, shards: int) -> Any | None:
        """Return what to ask the shelves by the matcher's part; None if nothing."""

    def filled(self, partial: Any, boxes: Any) -> tuple[Any, Sequence[Missing]]:
        """Return the matcher's part with what the shelves have, and what no shelf has."""

    def wider(self, arguments: Any, count: int) -> Any:
        """Return the arguments of an answer with `count` more rows than that to `arguments`, if this is limited."""

    def away(self, arguments: Any) -> Any | None:
        """Return the question for the slips of all that follows; None if the matcher's part has them all."""

    def spans_of(self, slips: Any, absent: Container[int], shards: int) -> Sequence[Span]:
        """Return the spans of the generations that the `absent` shards hold."""


@dataclass(slots=True)
class _Asked:
    """An unfinished query, until when (monotonic, s), the answer so far, and the names of the shelves that are absent.

    The matcher was asked for `more` rows than the client, because that many are missing.
    """

    query: Query
    until: float
    more: int = 0
    answer: Answer | None = None
    absent: tuple[str, ...] = ()


class Librarian(Actor[LibrarianMessage]):
    """Answers for the stream `stream` of the view `name` with `shards` shards, through `gatherer`."""

    def __init__(self, system: System, /, *, stream: str, name: str, shards: int, gatherer: Address[GathererMessage]) -> None:
        super().__init__(system, stream=stream)
        self._parcel = cast("Fetching", parcel_of(name))
        self._shards = shards
        self._gatherer = gatherer
        self._asked: dict[QueryId, _Asked] = {}
        self._ids = itertools.count(1)

    def receive(self, message: LibrarianMessage) -> None:
        """Handle one message."""
        match message:
            case Query():
                self._ask(message)
            case Answered():
                self._answered(message)
            case Filled():
                self._filled(message)
            case Located():
                self._located(message)
            case Listed():
                self._listed(message)
            case GetStats(reply_to):
                self.send(self._gatherer, GetStats(lambda stats: reply_to(_of_matcher(stats))))
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Reply `Busy` to a failed request, and to a query whose parts could not be put together."""
        super().failed(message, error)
        if (
            isinstance(message, Answered | Filled | Located | Listed)
            and (asked := self._asked.pop(message.query_id, None)) is not None
        ):
            asked.query.reply_to(Busy(f"the request failed: {type(error).__name__}"))

    def _ask(self, query: Query) -> None:
        """Ask the matcher."""
        query_id = QueryId(next(self._ids))
        asked = self._asked[query_id] = _Asked(query, self.system.dispatcher.now() + query.deadline_s)
        self._ask_matcher(query_id, asked)

    def _ask_matcher(self, query_id: QueryId, asked: _Asked) -> None:
        """Ask the matcher for what the client wants, and for as many rows more as are missing."""
        query = asked.query
        arguments = self._parcel.wider(query.arguments, asked.more) if asked.more else query.arguments

        def reply(answer: Answer | Busy) -> None:
            self.send(self.address, Answered(query_id, answer))

        again = asked.more > 0  # then the answer has no more rows, and its memory is taken already
        admit, counts = None if again else query.admit, query.counts and not again
        self.send(self._gatherer, Query(query.span, arguments, self._left_s(asked), reply, admit, counts=counts))

    def _answered(self, message: Answered) -> None:
        """Reply, or ask the shelves first."""
        asked, answer = self._asked[message.query_id], message.answer
        fetch = None
        if isinstance(answer, Answer):
            answer = replace(answer, arguments=asked.query.arguments)
            fetch = self._parcel.fetching(answer.partial, self._parcel.wider(answer.arguments, asked.more), self._shards)
        if fetch is None:
            self._end(message.query_id, answer)
            return
        assert isinstance(answer, Answer), "only an answer has slips"
        asked.answer = answer

        def reply(found: Answer | Busy) -> None:
            self.send(self.address, Filled(message.query_id, found))

        query = asked.query
        self.send(self._gatherer, Query(query.span, fetch, self._left_s(asked), reply, query.admit, counts=False))

    def _filled(self, message: Filled) -> None:
        """Put the parts together, and look who has the shelves: a long answer needs others of them later."""
        asked, found = self._asked[message.query_id], message.answer
        if isinstance(found, Busy) or asked.answer is None:
            self._end(message.query_id, found)
            return
        partial, lost = self._parcel.filled(asked.answer.partial, found.partial)
        more = sum(each.count for each in lost)
        if more > asked.more and self._parcel.wider(asked.query.arguments, more) != asked.query.arguments:
            asked.more = more  # a page must not end early because rows are missing that were counted
            self._ask_matcher(message.query_id, asked)
            return
        before, missing = asked.answer.coverage, [each.span for each in lost]
        absent = tuple(dict.fromkeys((*before.absent, *found.coverage.absent)))
        coverage = replace(before, missing=_together(before.missing, missing), absent=absent)
        origin = None if missing or absent else asked.answer.origin
        asked.answer = replace(asked.answer, partial=partial, coverage=coverage, origin=origin)

        def reply(states: tuple[ShardState, ...] | Busy) -> None:
            self.send(self.address, Located(message.query_id, states))

        self.send(self._gatherer, GetShards(reply))

    def _located(self, message: Located) -> None:
        """Reply; if shelves are absent, ask the matcher first what they hold of the whole range."""
        asked = self._asked[message.query_id]
        query, answer = asked.query, asked.answer
        assert answer is not None, "the parts are together"
        states = () if isinstance(message.states, Busy) else message.states
        # A process that does not answer for one shard does not for its others, which may not have been asked yet.
        dead = {(each.host, each.port) for each in states if each.state == "nowhere" and each.host is not None}
        gone = [each for each in states if each.state in _AWAY or (each.host, each.port) in dead]
        nowhere = {f"{self.stream} {each.shard}" for each in gone if each.shard}
        absent = sorted(nowhere.union(answer.coverage.absent), key=_number_in)
        away = self._parcel.away(query.arguments) if absent else None
        if away is None:
            self._end(message.query_id, answer)
            return
        asked.absent = tuple(absent)

        def reply(found: Answer | Busy) -> None:
            self.send(self.address, Listed(message.query_id, found))

        self.send(self._gatherer, Query(query.span, away, self._left_s(asked), reply, counts=False))

    def _listed(self, message: Listed) -> None:
        """Reply, and name what the absent shelves hold of the whole range, on whatever page it comes."""
        asked, found = self._asked[message.query_id], message.answer
        answer = asked.answer
        if isinstance(found, Busy) or answer is None:
            self._end(message.query_id, found)
            return
        absent = frozenset(map(_number_in, asked.absent))
        spans = self._parcel.spans_of(found.partial, absent, self._shards)
        if spans:
            coverage = replace(answer.coverage, missing=_together(answer.coverage.missing, spans), absent=asked.absent)
            answer = replace(answer, coverage=coverage, origin=None)
        self._end(message.query_id, answer)

    def _end(self, query_id: QueryId, answer: Answer | Busy) -> None:
        """Reply, and forget the query."""
        self._asked.pop(query_id).query.reply_to(answer)

    def _left_s(self, asked: _Asked) -> float:
        return max(0.0, asked.until - self.system.dispatcher.now())


def _together(one: Sequence[Span], other: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _number_in(name: str) -> int:
    """Return the shard in a name such as `events 3`."""
    return int(name.rpartition(" ")[2])


def _of_matcher(stats: Stats | Busy) -> Stats | Busy:
    """Return the statistics of the matcher if it is here: it knows all generations. The memory is that of all shards here."""
    if isinstance(stats, Busy) or not stats.by_shard or 0 not in stats.by_shard:
        return stats
    return replace(stats.by_shard[0], memory=stats.memory, by_shard=stats.by_shard)
