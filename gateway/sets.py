"""The routes of a stream of sets: the sets of a time range, and the collectors' stats."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from actors.messages import Address, Answer, Coverage, GetStats, Query, Stats
from actors.timeline.span import Span
from actors.views.sets.page import Cursor, Page
from actors.views.view import Meta
from gateway import params
from gateway.ask import Asker
from gateway.errors import Problem

MOST = 1_000_000
_AT_ONCE_BYTES = 65_536
_NDJSON = "application/x-ndjson"


class SetRoutes:
    """Endpoints for the streams of `managers`, by name; `steps` is how many a cursor of each has."""

    def __init__(self, asker: Asker, managers: dict[str, Address], steps: dict[str, int]) -> None:
        self._asker = asker
        self._managers = managers
        self._steps = steps

    async def get_sets(self, request: Request) -> Response:
        """Complete sets whose first time lies in [startTime, endTime), by that time."""
        manager = self._manager(request)
        params.known(request, ("startTime", "endTime", "limit", "cursor", "coverage"))
        span, page = params.span(request), self._page(request)
        with_coverage = params.flag(request, "coverage")
        deadline_s = self._asker.deadline_s
        answer: Answer = await self._asker.ask(manager, lambda reply_to: Query(span, page, deadline_s, reply_to))
        coverage = _coverage(answer.coverage)
        form = "ndjson" if _NDJSON in request.headers.get("accept", "") else "json"
        pieces = answer.view.render(answer.partial, span, page, form, {"coverage": coverage} if with_coverage else {})
        headers = {"Firnline-Coverage": msgspec.json.encode(coverage).decode()}
        return await _streamed(pieces, headers, _NDJSON if form == "ndjson" else "application/json")

    async def get_stats(self, request: Request) -> Response:
        """Every collector, the aged ones first, oldest first; and beside them memory, coverage, rejects, drops and lag."""
        manager = self._manager(request)
        params.known(request, ())
        stats: Stats = await self._asker.ask(manager, GetStats)
        return Response(msgspec.json.encode(_stats(stats)), media_type="application/json")

    async def get_rejects(self, request: Request) -> Response:
        """Refused records: counted by reason, and the newest of them to look at."""
        manager = self._manager(request)
        params.known(request, ())
        progress = (await self._asker.ask(manager, GetStats)).progress
        newest = [
            {
                "partition": kept.partition,
                "offset": kept.offset,
                "reason": kept.reason,
                "length": kept.length,
                "head": kept.head.decode("utf-8", "backslashreplace"),
            }
            for kept in progress.refused
        ]
        return Response(msgspec.json.encode({"rejects": progress.rejects, "newest": newest}), media_type="application/json")

    def _manager(self, request: Request) -> Address:
        name = request.path_params["stream"]
        if name not in self._managers:
            raise Problem(404, where="path", expected="a stream: " + ", ".join(sorted(self._managers)), got=name)
        return self._managers[name]

    def _page(self, request: Request) -> Page:
        limit = params.integer(request, "limit", low=1, high=MOST)
        text = request.query_params.get("cursor")
        if text is None:
            return Page(limit)
        try:
            return Page(limit, Cursor.parse(text, steps=self._steps[request.path_params["stream"]]))
        except ValueError:
            raise params.bad("cursor", "the `next` of a page of this stream", repr(text)) from None


async def _streamed(pieces: Iterator[bytes], headers: dict[str, str], media_type: str) -> Response:
    """Respond with `pieces`: at once where they are few, else as they are made, with room for others in between."""
    first = _gather(pieces)
    if len(first) < _AT_ONCE_BYTES:
        return Response(first, headers=headers, media_type=media_type)

    async def body() -> AsyncIterator[bytes]:
        block = first
        while block:
            yield block
            await asyncio.sleep(0)
            block = _gather(pieces)

    return StreamingResponse(body(), headers=headers, media_type=media_type)


def _gather(pieces: Iterator[bytes]) -> bytes:
    """Return the next 64 KiB of `pieces`, or what is left of them."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= _AT_ONCE_BYTES:
            break
    return bytes(block)


def _span(span: Span | None) -> list[int] | None:
    return None if span is None else [span.start, span.end]


def _coverage(coverage: Coverage) -> dict[str, object]:
    return {
        "completeFrom": coverage.complete_from,
        "completeTo": coverage.complete_to,
        "finalUntil": coverage.final_until,
        "missing": [_span(span) for span in coverage.missing],
    }


def _stats(stats: Stats) -> dict[str, object]:
    before = stats.gone
    data = []
    for meta, state in (*((meta, "aged") for meta in stats.aged), (stats.active, "active")):
        data.append({**stats.view.describe(before, meta), **_slice(meta, state)})
        before = before.then(meta.summary)
    progress, memory = stats.progress, stats.memory
    return {
        "data": data,
        "total": stats.view.describe(stats.view.nothing(), Meta(None, 0, 0, 0, None, before)),
        "coverage": _coverage(stats.coverage),
        "memory": {
            "budgetBytes": memory.budget_bytes,
            "accountedBytes": memory.accounted_bytes,
            "baselineBytes": memory.baseline_bytes,
            "rssBytes": memory.rss_bytes,
            "emergencies": memory.emergencies,
        },
        "state": progress.state,
        "records": progress.records,
        "events": progress.events,
        "rejects": progress.rejects,
        "dropped": stats.dropped,
        "droppedGenerations": stats.dropped_generations,
        "late": progress.late,
        "buffered": progress.buffered,
        "inFlight": progress.in_flight,
        "watermark": progress.watermark,
        "heldBackBy": progress.held_back_by,
        "lag": progress.lag,
        "firstRecordAt": progress.first_record_at,
        "lastBatchAt": stats.last_batch_at,
    }


def _slice(meta: Meta, state: str) -> dict[str, object]:
    return {"state": state, "span": _span(meta.span), "events": meta.events, "bytes": meta.nbytes}
