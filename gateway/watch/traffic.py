"""Counts HTTP requests for `/metrics`: by method, route and status, with their durations and the number in progress.

Labels are bounded: `method` is one of the usual methods or `other`, and `route` is a route's template, never a path.
"""

import time
from collections.abc import Callable, Iterator

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.wire.connections import Connections
from gateway.wire.layer import Layer
from gateway.wire.request_id import request_id

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram's buckets; one more bucket has no bound."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
_UNROUTED = "none"
_LONGEST_PATH = 200

# Without this, each counter would have a second series with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not type it


class Traffic:
    """Counts requests, in a registry of its own. Thread-safe.

    >>> traffic = Traffic()
    >>> traffic.ended("GET", "/livez", 200, 0.002)
    >>> [sample.value for sample in next(iter(traffic.metrics())).samples]
    [1.0]
    """

    def __init__(self) -> None:
        self.connections: Connections | None = None
        """The server's connections. The server sets this when it is made."""
        self._registry = CollectorRegistry()
        self._count = Counter(
            "firnline_http_requests",
            "Requests answered, or given up.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "firnline_http_request_duration_seconds",
            "From a request's headers to the last byte of its answer; streams of events are left out.",
            ("method", "route"),
            buckets=BOUNDS_S,
            registry=self._registry,
        )
        self.in_progress = Gauge("firnline_http_requests_in_progress", "Requests under way.", registry=self._registry)

    def ended(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count one request. The histogram leaves out a request whose `seconds` are None. Cost: some microseconds."""
        method = method if method in _METHODS else "other"
        self._count.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method, route).observe(seconds)

    def metrics(self) -> Iterator[Metric]:
        """Yield all metrics. Cost: O(routes)."""
        yield from self._registry.collect()
        if self.connections is not None:
            yield GaugeMetricFamily("firnline_http_connections", "Connections that are open.", len(self.connections.open))
            cut = CounterMetricFamily("firnline_http_cut_connections", "Connections that were cut.", labels=("reason",))
            for reason, number in self.connections.cut.items():
                cut.add_metric((reason,), number)
            yield cut


class Counted(Layer):
    """Counts every HTTP request in `traffic` when its answer is sent, given up or failed.

    Calls `tell` for each request with its id, method, path without the query, status and seconds.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic, tell: Callable[..., object]) -> None:
        super().__init__(app)
        self._traffic = traffic
        self._tell = tell

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and measure its answer. A stream of events has no duration: it ends with its client."""
        status, endless = 500, False
        began = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status, endless
            if message["type"] == "http.response.start":
                status = message["status"]
                endless = any(
                    name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message.get("headers", ())
                )
            await send(message)

        try:
            with self._traffic.in_progress.track_inprogress():
                await self.app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            method, path = scope["method"], scope["path"][:_LONGEST_PATH]
            self._traffic.ended(method, template_of(scope), status, None if endless else seconds)
            self._tell("request", id=request_id(scope), method=method, path=path, status=status, seconds=round(seconds, 6))


def template_of(scope: Scope) -> str:
    """Return the template of the route that handled the request, or `none` if no route matched."""
    route = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return str(template) if template else _UNROUTED
