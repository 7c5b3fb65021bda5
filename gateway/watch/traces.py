"""Traces for an OpenTelemetry collector: requests, their requests to actors, and the writing of checkpoints.

The packages are the extra `tracing`. They are imported only if `log.traces` names an endpoint. Spans are sent in the background
from a bounded queue: if the collector is away, spans are lost, and nothing else.
"""

from contextlib import AbstractContextManager
from typing import Any, Self

from starlette.types import ASGIApp

_QUIET = (r"/livez($|\?)", r"/readyz($|\?)", r"/startupz($|\?)", r"/metrics($|\?)", r"/live($|\?)")
"""Paths without spans, because they are requested all the time or last for hours."""

_EXPORT_S = 2.0
_QUEUE = 1_024


class Traces:
    """Sends the spans of this process to `endpoint` (OTLP over HTTP, such as http://127.0.0.1:4318). Close it at the end.

    The environment variables OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS apply. Raises ValueError without the extra.
    """

    def __init__(self, endpoint: str, *, version: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # an extra
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise ValueError(f"log.traces: expected the extra tracing (pip install 'firnline[tracing]'), got {error}") from None
        resource = Resource.create({"service.name": "firnline", "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=_EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))
        self._tracer = self._provider.get_tracer("firnline", version)

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Return a context manager that is a span, within the span of the current request if there is one. For any thread."""
        return self._tracer.start_as_current_span(name)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with a span for each request, named by its route. A client's `traceparent` is continued."""
        from starlette.middleware.opentelemetry import OpenTelemetryMiddleware  # noqa: PLC0415  # imports the extra

        return OpenTelemetryMiddleware(app, excluded_urls=_QUIET, tracer_provider=self._provider)

    def __enter__(self) -> Self:
        """Return the traces."""
        return self

    def __exit__(self, *_: object) -> None:
        """Send the spans that wait. If the collector is away, this takes some seconds."""
        self._provider.shutdown()


def traces_to(endpoint: str | None, *, version: str) -> Traces | None:
    """Return traces that are sent to `endpoint`; None if it is None, and then nothing is imported."""
    return None if endpoint is None else Traces(endpoint, version=version)
