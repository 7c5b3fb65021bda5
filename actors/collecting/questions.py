"""The unfinished queries of a manager: sends each to its collectors, merges the partials, and replies by the deadline."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from actors.collecting.collector import Collector
from actors.messages import ManagerMessage, Overdue, Partial, Read, Unread
from actors.protocol import CollectorId, QueryId
from actors.replies import Answer, Coverage, Query
from actors.runtime.actor import Actor
from actors.runtime.dispatcher import Timer
from actors.views.view import Meta, View


@dataclass(slots=True)
class _Asked:
    """An unfinished query: the collectors that have not replied (`waiting`), and the partials so far.

    `initial` are partials that need no collector. If the answer `publishes`, it must be complete.
    """

    query: Query
    waiting: dict[CollectorId, Meta]
    coverage: Coverage
    initial: list[Any]
    partials: dict[CollectorId, Partial]
    publishes: bool
    unread: list[Meta] = field(default_factory=list)
    deadline: Timer | None = None


class Questions:
    """Scatters queries and gathers partials. Belongs to `manager`, and runs on its thread. Never waits."""

    def __init__(self, manager: Actor[ManagerMessage], view: View) -> None:
        self._manager = manager
        self._view = view
        self._asked: dict[QueryId, _Asked] = {}
        self._ids = itertools.count(1)
        self.answered = self.late = 0
        """The number of answered queries of clients, and how many of these lack some collector's partial."""

    def put(
        self, query: Query, chosen: Sequence[Collector], initial: list[Any], coverage: Coverage, *, publishes: bool = False
    ) -> None:
        """Send `Read` to the `chosen` collectors; reply with their partials and `initial`, merged.

        With `publishes`, there is no deadline: the answer must be complete.
        """
        query_id = QueryId(next(self._ids))
        waiting = {collector.collector_id: collector.meta for collector in chosen}
        asked = self._asked[query_id] = _Asked(query, waiting, coverage, initial, {}, publishes)
        for collector in chosen:
            self._manager.send(collector.address, Read(query_id, query.span, query.arguments))
        if not publishes:
            asked.deadline = self._manager.later(query.deadline_s, self._manager.address, Overdue(query_id))
        if not waiting:
            self.answer(query_id)

    def gather(self, message: Partial) -> None:
        """Add one collector's partial; reply after the last one."""
        asked = self._asked.get(message.query_id)
        if asked is None:
            return
        asked.waiting.pop(message.collector_id, None)
        asked.partials[message.collector_id] = message
        if not asked.waiting:
            self.answer(message.query_id)

    def miss(self, message: Unread) -> None:
        """Continue without one collector's partial. Raises ValueError if the answer is to be published: it must be complete."""
        asked = self._asked.get(message.query_id)
        if asked is None or message.collector_id not in asked.waiting:
            return
        if asked.publishes:
            raise ValueError(f"generation {message.collector_id} cannot be read for what is to be published")
        asked.unread.append(asked.waiting.pop(message.collector_id))
        if not asked.waiting:
            self.answer(message.query_id)

    def answer(self, query_id: QueryId) -> None:
        """Reply with the partials so far, if not done before. The spans of silent collectors are reported as missing."""
        asked = self._asked.pop(query_id, None)
        if asked is None:
            return
        if asked.deadline is not None:
            asked.deadline.cancel()
        query, coverage = asked.query, asked.coverage
        silent = tuple(meta.span for meta in (*asked.waiting.values(), *asked.unread) if meta.span is not None)
        coverage = replace(coverage, missing=(*coverage.missing, *silent))
        partials = [
            asked.partials[collector] for collector in sorted(asked.partials)
        ]  # a fixed order, so that equal queries have equal estimates
        merged = self._view.merge([*asked.initial, *(each.partial for each in partials)])
        if query.counts and not asked.publishes:
            self.answered += 1
            self.late += bool(asked.waiting or asked.unread)
        query.reply_to(Answer(self._view, merged, query.span, query.arguments, coverage, self._origin(asked)))

    def _origin(self, asked: _Asked) -> tuple[tuple[int, int], ...] | None:
        """Return (collector id, revision) of the frozen slices behind an answer; None if other slices contribute, or may."""
        nothing = self._view.merge([])
        frozen = {collector: each.revision for collector, each in asked.partials.items() if each.revision is not None}
        live = [each.partial for collector, each in asked.partials.items() if collector not in frozen]
        if asked.waiting or asked.unread or any(partial != nothing for partial in (*asked.initial, *live)):
            return None
        return tuple(sorted(frozen.items()))

    def end(self) -> None:
        """Reply to every client with the partials so far; forget results to be published, which become due again."""
        for query_id in [query_id for query_id, asked in self._asked.items() if not asked.publishes]:
            self.answer(query_id)
        self._asked.clear()
