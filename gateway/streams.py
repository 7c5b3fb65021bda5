"""The routes that every stream has, whatever its view: its collectors' stats, and what it refused."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.messages import Durability, GetStats, Stats
from actors.views.view import Meta
from gateway import params
from gateway.ask import Asker
from gateway.served import JSON, Served, coverage_of, json, span_of


class StreamRoutes:
    """Endpoints of one stream."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        return [
            Route(f"/{self._stream.name}/get-stats", self.get_stats),
            Route(f"/{self._stream.name}/rejects", self.get_rejects),
        ]

    async def get_stats(self, request: Request) -> Response:
        """Every collector, the aged ones first, oldest first; and beside them memory, coverage, rejects, drops and lag."""
        params.known(request, ())
        stats: Stats = await self._asker.ask(self._stream.manager, GetStats)
        return Response(json(_stats(stats)), media_type=JSON)

    async def get_rejects(self, request: Request) -> Response:
        """Refused records: counted by reason, and the newest of them to look at."""
        params.known(request, ())
        progress = (await self._asker.ask(self._stream.manager, GetStats)).progress
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
        return Response(json({"rejects": progress.rejects, "newest": newest}), media_type=JSON)


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
        "coverage": coverage_of(stats.coverage),
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
        "missed": stats.missed,
        "missing": [{"reason": reason, "span": span_of(span), "count": count} for reason, span, count in stats.missing],
        "checkpoint": _checkpoint(stats.durability),
        "late": progress.late,
        "buffered": progress.buffered,
        "inFlight": progress.in_flight,
        "watermark": progress.watermark,
        "heldBackBy": progress.held_back_by,
        "lag": progress.lag,
        "epoch": progress.epoch,
        "firstRecordAt": progress.first_record_at,
        "lastBatchAt": stats.last_batch_at,
    }


def _checkpoint(durability: Durability | None) -> dict[str, object] | None:
    if durability is None:
        return None
    return {
        "number": durability.checkpoint,
        "savedAt": durability.at,
        "seconds": durability.seconds,
        "bytes": durability.nbytes,
        "saved": durability.saved,
        "failed": durability.failed,
        "problem": durability.problem,
        "recoveredFrom": durability.recovered_from,
        "unread": durability.lost,
    }


def _slice(meta: Meta, state: str) -> dict[str, object]:
    return {
        "state": state,
        "span": span_of(meta.span),
        "events": meta.events,
        "bytes": meta.nbytes,
        "fileBytes": meta.file_bytes,
    }
