"""The questions under way at a manager: whom each was put to, what came so far, and when it must be answered."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors.collecting.collector import Collector
from actors.messages import ManagerMessage, Overdue, Partial, Read, Unread
from actors.protocol import CollectorId, QueryId
from actors.replies import Answer, Coverage, Query
from actors.runtime.actor import Actor
from actors.views.view import Meta, View


@dataclass(slots=True)
class _Asked:
    """A query under way: who has still to answer, and what came so far."""

    query: Query
    waiting: dict[CollectorId, Meta]
    coverage: Coverage
    known: list[Any]
    partials: dict[CollectorId, Partial]
    publishes: bool
    unread: list[Meta] = field(default_factory=list)


class Questions:
    """Scatters queries for `manager`, which owns it, and gathers the answers. Never waits."""

    def __init__(self, manager: Actor[ManagerMessage], view: View) -> None:
        self._manager = manager
        self._view = view
        self._asked: dict[QueryId, _Asked] = {}
        self._ids = itertools.count(1)
        self.answered = self.late = 0
        """Clients' queries that were answered, and those of them for which some collector was too late."""

    def put(
        self, query: Query, chosen: Sequence[Collector], known: list[Any], coverage: Coverage, *, publishes: bool = False
    ) -> None:
        """Ask the `chosen` collectors; what is `known` joins their answers. Where it `publishes`, no half answer will do."""
        query_id = QueryId(next(self._ids))
        waiting = {collector.collector_id: collector.meta for collector in chosen}
        self._asked[query_id] = _Asked(query, waiting, coverage, known, {}, publishes)
        for collector in chosen:
            self._manager.send(collector.address, Read(query_id, query.span, query.arguments))
        if not publishes:
            self._manager.later(query.deadline_s, self._manager.address, Overdue(query_id))
        if not waiting:
            self.answer(query_id)

    def gather(self, message: Partial) -> None:
        """Take one collector's answer; the last one completes the reply."""
        asked = self._asked.get(message.query_id)
        if asked is None:
            return
        asked.waiting.pop(message.collector_id, None)
        asked.partials[message.collector_id] = message
        if not asked.waiting:
            self.answer(message.query_id)

    def miss(self, message: Unread, *, whole: bool) -> None:
        """Go on without one collector's answer. Raises ValueError where it is to be published, and that only `whole`."""
        asked = self._asked.get(message.query_id)
        if asked is None or message.collector_id not in asked.waiting:
            return
        if asked.publishes and whole:
            raise ValueError(f"generation {message.collector_id} cannot be read for what is to be published")
        asked.unread.append(asked.waiting.pop(message.collector_id))
        if not asked.waiting:
            self.answer(message.query_id)

    def answer(self, query_id: QueryId) -> None:
        """Reply with what there is, where it is not done yet; the span of each collector that did not answer is missing."""
        asked = self._asked.pop(query_id, None)
        if asked is None:
            return
        query, coverage = asked.query, asked.coverage
        silent = tuple(meta.span for meta in (*asked.waiting.values(), *asked.unread) if meta.span is not None)
        coverage = replace(coverage, missing=(*coverage.missing, *silent))
        came = [asked.partials[collector] for collector in sorted(asked.partials)]  # so that estimates do not depend on chance
        merged = self._view.merge([*asked.known, *(each.partial for each in came)])
        if not asked.publishes:
            self.answered += 1
            self.late += bool(asked.waiting or asked.unread)
        query.reply_to(Answer(self._view, merged, query.span, query.arguments, coverage, self._origin(asked)))

    def _origin(self, asked: _Asked) -> tuple[tuple[int, int], ...] | None:
        """Return the frozen slices that alone have a part in an answer; None where something else has, or may have."""
        nothing = self._view.merge([])
        frozen = {number: each.revision for number, each in asked.partials.items() if each.revision is not None}
        live = [each.partial for number, each in asked.partials.items() if number not in frozen]
        if asked.waiting or asked.unread or any(partial != nothing for partial in (*asked.known, *live)):
            return None
        return tuple(sorted(frozen.items()))

    def end(self) -> None:
        """Reply to every client with what there is; what was to be published is forgotten, and will be due again."""
        for query_id in [query_id for query_id, asked in self._asked.items() if not asked.publishes]:
            self.answer(query_id)
        self._asked.clear()
