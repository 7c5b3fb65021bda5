"""Traces for an OpenTelemetry collector: requests, what they ask the actors, and what is written of checkpoints.

The packages are the extra `tracing`, and are imported where `log.traces` says where to send to, never otherwise. Sent in the
background by a bounded queue: a collector that is away costs spans, nothing else.
"""

from contextlib import AbstractContextManager
from typing import Any, Self

from starlette.types import ASGIApp

_QUIET = (r"/livez($|\?)", r"/readyz($|\?)", r"/startupz($|\?)", r"/metrics($|\?)", r"/live($|\?)")
"""Of what is asked all the time, or for hours, there are no spans."""

_EXPORT_S = 2.0
_QUEUE = 1_024


class Traces:
    """Spans of this process, sent to `endpoint` (OTLP over HTTP, such as http://127.0.0.1:4318), to be closed at the end.

    The environment's OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS hold. Raises ValueError where the extra is missing.
    """

    def __init__(self, endpoint: str, *, version: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # an extra
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise ValueError(f"log.traces: expected the extra tracing (pip install 'firnline[tracing]'), got {error}") from None
        told = Resource.create({"service.name": "firnline", "service.version": version})
        self._provider = TracerProvider(resource=told, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=_EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))
        self._tracer = self._provider.get_tracer("firnline", version)

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Return what is a span as long as it is entered; within a request's, a part of that. Any thread may ask."""
        return self._tracer.start_as_current_span(name)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with a span for each request, named by its route; a client's `traceparent` is gone on from."""
        from starlette.middleware.opentelemetry import OpenTelemetryMiddleware  # noqa: PLC0415  # imports the extra

        return OpenTelemetryMiddleware(app, excluded_urls=_QUIET, tracer_provider=self._provider)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Send what waits; where the collector is away, some seconds are over before it is given up."""
        self._provider.shutdown()


def traces_to(endpoint: str | None, *, version: str) -> Traces | None:
    """Return traces that are sent to `endpoint`; None where there is none, and then nothing is imported."""
    return None if endpoint is None else Traces(endpoint, version=version)
