"""All metrics of one moment, as text. Imported at the first scrape, because prometheus_client takes 10 ms to import.

Each scrape asks every stream and the guardian once, and stores nothing; there is no global registry. Scrapes have an asker of
their own, so that they get replies even if the queries use up theirs.
"""

import asyncio
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from prometheus_client import GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry

from actors.protocol import Address
from actors.replies import GetHealth, GetStats, Health, Stats
from gateway.api.errors import Problem
from gateway.ask import Asker
from gateway.stream import Served
from gateway.watch.minute import minute_of, of_minutes
from gateway.watch.readings import Reading, of_streams
from gateway.watch.traffic import BOUNDS_S, Traffic
from gateway.watch.workings import of_actors
from gateway.wire.limits import NOTHING, Allowance

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


class Scrape:
    """Makes the metrics of `streams`, of the `guardian` and of `traffic`, which the middleware counts."""

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

    async def text(self, *, as_open_metrics: bool) -> tuple[bytes, str]:
        """Return the metrics of this moment as text, and the text's media type."""
        page = _Page(await self._metrics())
        if as_open_metrics:
            text: bytes = openmetrics.generate_latest(page)  # type: ignore[no-untyped-call]  # the library has no types
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(page), CONTENT_TYPE_PLAIN_0_0_4

    async def _metrics(self) -> list[Metric]:
        """Ask all streams and the guardian at once."""
        asked = asyncio.gather(*(self._reading(stream) for stream in self._streams))
        health, readings = await asyncio.gather(self._health(), asked)
        names = [stream.name for stream in self._streams]
        minutes = await asyncio.gather(*(minute_of(self._asker, reading) for reading in readings))
        found = [self._build, *of_streams(readings), *of_minutes([each for each in minutes if each is not None])]
        if health is not None:
            found += of_actors(health, names, sharded=any(stream.shards is not None for stream in self._streams))
        found += of_traffic(self._traffic)
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


def of_traffic(traffic: Traffic) -> Iterator[Metric]:
    """Yield the metrics of requests and connections. Cost: O(routes)."""
    count = CounterMetricFamily(
        "firnline_http_requests", "Requests answered, or given up.", labels=("method", "route", "status")
    )
    for labels, number in traffic.count.items():
        count.add_metric(labels, number)
    yield count
    took = HistogramMetricFamily(
        "firnline_http_request_duration_seconds",
        "From a request's headers to the last byte of its answer; streams of events are left out.",
        labels=("method", "route"),
    )
    for key, buckets in traffic.buckets.items():
        so_far, rows = 0, []
        for bound, own in zip((*map(str, BOUNDS_S), "+Inf"), buckets, strict=True):
            so_far += own
            rows.append((bound, so_far))
        took.add_metric(key, rows, traffic.seconds[key])
    yield took
    yield GaugeMetricFamily("firnline_http_requests_in_progress", "Requests under way.", traffic.in_progress)
    if traffic.connections is not None:
        yield GaugeMetricFamily("firnline_http_connections", "Connections that are open.", len(traffic.connections.open))
        cut = CounterMetricFamily("firnline_http_cut_connections", "Connections that were cut.", labels=("reason",))
        for reason, number in traffic.connections.cut.items():
            cut.add_metric((reason,), number)
        yield cut
