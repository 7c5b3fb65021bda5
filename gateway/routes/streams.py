"""The routes that every stream has, whatever its view: its entry in the list of streams, its stats, its refused records."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.columns.record_text import ADVICE
from actors.protocol import Address, Busy
from actors.replies import GetHealth, GetShards, GetStats, Health, ShardState, Stats
from actors.timeline.span import Span
from gateway.api.errors import Problem, near
from gateway.api.forms import json_response
from gateway.api.operation import Link, Operation
from gateway.api.params import InPath
from gateway.ask import Asker
from gateway.coverage import span_of
from gateway.routes.stats import stats_of, stats_type
from gateway.schemas import CoverageReport, Rejected, Rejects, ShardReport, StreamReport, Streams, TroubleReport
from gateway.stream import Served


class StreamRoutes:
    """Endpoints of one stream."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        name, stats = self._stream.name, stats_type(self._stream.view)
        return [
            Operation(method="GET", path=f"/{name}/get-stats", endpoint=self.get_stats, tag=name, answer=stats, lenient=True),
            Operation(method="GET", path=f"/{name}/rejects", endpoint=self.get_rejects, tag=name, answer=Rejects),
        ]

    async def get_stats(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        """Show every collector, aged ones first and oldest first, with memory, coverage, rejects, drops and lag."""
        stats: Stats = await self._asker.ask(self._stream.manager, GetStats)
        return json_response(stats_of(stats))

    async def get_rejects(self, request: Request) -> Response:  # noqa: ARG002
        """Show refused records: their counts by reason, and the newest ones."""
        progress = (await self._asker.ask(self._stream.manager, GetStats)).progress
        newest = [Rejected.of(kept) for kept in progress.refused]
        advice = {reason: ADVICE[reason] for reason in progress.rejects if reason in ADVICE}
        return json_response(Rejects(dict(progress.rejects), newest, advice))


class StreamList:
    """Endpoints that list the streams. `operations_of` has the operations of each stream, by its name."""

    def __init__(
        self,
        asker: Asker,
        guardian: Address[GetHealth],
        streams: Sequence[Served],
        operations_of: Mapping[str, Sequence[Operation]],
    ) -> None:
        self._asker = asker
        self._guardian = guardian
        self._streams = {stream.name: stream for stream in streams}
        self._operations_of = operations_of
        self._name = InPath(
            name="name",
            description="The name of a stream.",
            form={"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
            example=next(iter(self._streams), None),
        )

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        return [
            Operation(
                method="GET",
                path="/streams",
                endpoint=self.get_streams,
                tag="service",
                answer=Streams,
                links={
                    "stream": Link(
                        path="/streams/{name}",
                        parameters={"name": "$response.body#/streams/0/name"},
                        description="The first of them.",
                    )
                },
            ),
            Operation(
                method="GET",
                path="/streams/{name}",
                endpoint=self.get_stream,
                tag="service",
                parameters=(self._name,),
                answer=StreamReport,
                statuses={404: "There is no such stream."},
            ),
        ]

    async def get_streams(self, request: Request) -> Response:  # noqa: ARG002
        """Show all streams: view, source and paths, and how far back each is complete."""
        degraded = await self._degraded()
        streams = list(self._streams.values())
        replies = await self._stats(streams)
        return json_response(Streams([await self._entry(*each, degraded) for each in zip(streams, replies, strict=True)]))

    async def get_stream(self, request: Request) -> Response:
        """Show one stream."""
        name = self._name.of(request)
        stream = self._streams.get(name)
        if stream is None:
            expected = near(name, list(self._streams), "one of " + ", ".join(self._streams))
            raise Problem(404, where="path", expected=expected, got=name[:100])
        degraded = await self._degraded()
        (stats,) = await self._stats([stream])
        return json_response(await self._entry(stream, stats, degraded))

    async def _stats(self, streams: Sequence[Served]) -> list[Stats | None]:
        """Return the statistics of streams; None for one that does not reply."""
        replies: list[Stats | Busy] = await self._asker.ask_all([(stream.manager, GetStats) for stream in streams])
        return [None if isinstance(each, Busy) else each for each in replies]

    async def _degraded(self) -> Health:
        health: Health = await self._asker.ask(self._guardian, GetHealth)
        return health

    async def _entry(self, stream: Served, stats: Stats | None, health: Health) -> StreamReport:
        """Return one stream. A stream that was given up may not reply with its state: then `stats` is None."""
        metas = (*stats.aged, stats.active) if stats is not None else ()
        span: Span | None = None
        for meta in metas:
            if meta.span is not None:
                span = meta.span if span is None else span.hull(meta.span)
        state = stats.progress.state if stats is not None else "says nothing"
        return StreamReport(
            name=stream.name,
            view=stream.view,
            state="given up" if stream.name in health.degraded else state,
            trouble=TroubleReport.of(stats.progress.trouble) if stats is not None else None,
            source=stream.source,
            time_unit=stream.time_unit,
            paths=[f"{each.method} {each.path}" for each in self._operations_of[stream.name]],
            span=span_of(span),
            events=sum(meta.events for meta in metas),
            collectors=len(metas),
            coverage=CoverageReport.of(stats.coverage) if stats is not None else None,
            shards=await self._shards(stream),
        )

    async def _shards(self, stream: Served) -> list[ShardReport] | msgspec.UnsetType:
        """Return the shards of a stream in a cluster."""
        if stream.shards is None:
            return msgspec.UNSET
        states: tuple[ShardState, ...] = await self._asker.ask(stream.shards, GetShards)
        return list(map(ShardReport.of, states))
