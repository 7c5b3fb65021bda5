"""`GET /metrics`, in Prometheus' text format, or as OpenMetrics if the client asks for that."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from actors.protocol import Address
from actors.replies import GetHealth
from gateway.api.operation import Operation
from gateway.stream import Served
from gateway.watch.traffic import Traffic

if TYPE_CHECKING:
    from gateway.watch.scrape import Scrape

OPEN_METRICS = "application/openmetrics-text"


class MetricRoutes:
    """The endpoint over `streams` and the `guardian`. The middleware counts `traffic`."""

    def __init__(self, guardian: Address[GetHealth], streams: Sequence[Served], traffic: Traffic, *, version: str) -> None:
        self._guardian = guardian
        self._streams = streams
        self._traffic = traffic
        self._version = version

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
        as_open_metrics = OPEN_METRICS in request.headers.get("accept", "")
        text, media_type = await self._scrape.text(as_open_metrics=as_open_metrics)
        return Response(text, media_type=media_type)

    @cached_property
    def _scrape(self) -> "Scrape":
        from gateway.watch.scrape import Scrape  # noqa: PLC0415  # a service that is not scraped does not need it

        return Scrape(self._guardian, self._streams, self._traffic, version=self._version)
