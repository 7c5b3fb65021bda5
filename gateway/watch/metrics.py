"""`GET /metrics`, in Prometheus' text format, or as OpenMetrics if the client asks for that.

Each scrape asks every stream and the guardian once, and stores nothing; there is no global registry. Scrapes have an asker of
their own, so that they get replies even if the queries use up theirs.
"""

import asyncio
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from prometheus_client import GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from actors.protocol import Address
from actors.replies import GetHealth, GetStats, Health, Stats
from gateway.api.errors import Problem
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.stream import Served
from gateway.watch.readings import Reading, of_streams
from gateway.watch.traffic import Traffic
from gateway.watch.workings import of_actors
from gateway.wire.limits import NOTHING, Allowance

OPEN_METRICS = "application/openmetrics-text"

_PATIENCE_S = 2.0
_AT_ONCE = 64
"""Requests of all scrapes to actors that may be in progress at once."""


class _Page:
    """All metrics of one moment, in the form that prometheus_client collects."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._metrics


class MetricRoutes:
    """The endpoint over `streams` and the `guardian`. The middleware counts `traffic`."""

    def __init__(self, guardian: Address[GetHealth], streams: Sequence[Served], traffic: Traffic, *, version: str) -> None:
        self._asker = Asker(Allowance(replace(NOTHING, deadline_s=_PATIENCE_S, max_queries=_AT_ONCE)))
        self._guardian = guardian
        self._streams = streams
        self._traffic = traffic
        own = CollectorRegistry()
        self._process = (ProcessCollector(registry=own), GCCollector(registry=own))
        self._build = GaugeMetricFamily(
            "firnline_build_info", "Always 1; what is running.", labels=("version", "python_version")
        )
        self._build.add_metric((version, platform.python_version()), 1)

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        return [
            Operation(
                method="GET",
                path="/metrics",
                endpoint=self.metrics,
                tag="service",
                forms={
                    "text/plain": "Prometheus' text form, version 0.0.4.",
                    OPEN_METRICS: "OpenMetrics 1.0.0, where it is asked for by `Accept`.",
                },
            )
        ]

    async def metrics(self, request: Request) -> Response:
        """Show all metrics, by Prometheus' conventions.

        The metrics of a stream that does not reply in time are missing, and its `firnline_answers` is 0.
        """
        page = _Page(await self._metrics())
        if OPEN_METRICS in request.headers.get("accept", ""):
            text: bytes = openmetrics.generate_latest(page)  # type: ignore[no-untyped-call]  # the library has no types
            return Response(text, media_type=openmetrics.CONTENT_TYPE_LATEST)
        return Response(generate_latest(page), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def _metrics(self) -> list[Metric]:
        """Ask all streams and the guardian at once."""
        asked = asyncio.gather(*(self._reading(stream) for stream in self._streams))
        health, readings = await asyncio.gather(self._health(), asked)
        names = [stream.name for stream in self._streams]
        found = [self._build, *of_streams(readings)]
        if health is not None:
            found += of_actors(health, names)
        found += self._traffic.metrics()
        for collector in self._process:
            found += collector.collect()
        return found

    async def _health(self) -> Health | None:
        try:
            health: Health = await self._asker.ask(self._guardian, GetHealth)
        except Problem:
            return None
        return health

    async def _reading(self, stream: Served) -> Reading:
        try:
            stats: Stats | None = await self._asker.ask(stream.manager, GetStats)
        except Problem:
            stats = None
        return Reading(stream, stats, time.time())
