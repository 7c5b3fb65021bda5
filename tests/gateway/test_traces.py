"""Traces: if they are on, a collector gets a span for each request and each question to an actor. By default they are off."""

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conftest import Send
from tests.support.running import records
from tests.support.service import ROOT, service
from tests.support.waiting import until

wire = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

EVENTS = [(1_685_695_916_000 + 10 * number, number % 3) for number in range(30)]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """A small OTLP receiver with the decoded requests."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.requests: list[Any] = []

    def spans(self) -> list[Any]:
        """Return all spans so far."""
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Any]:
        """Return the spans of a name."""
        return [span for span in self.spans() if span.name == name]


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    own = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            own.paths.append(self.path)
            own.requests.append(wire.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield own, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_collector_gets_spans_of_requests_questions_and_checkpoints(embedded: str, mock_topic: str, send: Send):
    send(embedded, mock_topic, records(EVENTS), [0] * len(EVENTS))
    with (
        collector() as (own, url),
        service(embedded, mock_topic, f"log.traces={url}", "checkpoint.every_ms=50", OTEL_BSP_SCHEDULE_DELAY="200") as running,
    ):
        running.settled(len(EVENTS))
        assert running.request("/events/get-sets?startTime=0&endTime=9", traceparent=PARENT)[0] == 200
        assert running.request("/metrics")[0] == 200
        (request,) = until(lambda: own.named("GET /events/get-sets"))
        until(lambda: own.named("write a checkpoint of events"))
        assert running.stop()[0] == 0
    assert set(own.paths) == {"/v1/traces"}
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    parts = [span for span in own.spans() if span.parent_span_id == request.span_id]
    assert "ask Query" in {span.name for span in parts}
    for span in parts:
        assert span.trace_id == request.trace_id
        assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    attributes = {attribute.key: attribute.value for attribute in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert own.named("read the checkpoint of events")
    assert not [span for span in own.spans() if span.name.endswith(("/metrics", "/livez"))], "probes and metrics are not traced"
    (resource, *_) = own.requests[0].resource_spans
    named = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert named["service.name"] == "firnline"


SERVED = """
import sys
{block}
from gateway.watch.traces import traces_to
import scripts.service.serve
try:
    traces_to({endpoint!r}, version="1")
except ValueError as error:
    print(error)
print([name for name in sys.modules if name.startswith("opentelemetry") and sys.modules[name]])
"""


def printed(block: str, endpoint: str | None) -> list[str]:
    code = SERVED.format(block=block, endpoint=endpoint)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_without_traces_no_library_is_imported():
    assert printed("", None) == ["[]"]


def test_without_the_extra_the_error_names_the_package():
    error, _ = printed('sys.modules["opentelemetry.sdk.trace"] = None', "http://127.0.0.1:4318")
    assert error.startswith("log.traces: expected the extra tracing (pip install 'firnline[tracing]'), got ")


def test_an_unreachable_collector_delays_no_answer(embedded: str, mock_topic: str, send: Send):
    send(embedded, mock_topic, records(EVENTS), [0] * len(EVENTS))
    with service(embedded, mock_topic, "log.traces=http://127.0.0.1:1") as running:
        running.settled(len(EVENTS))
        assert running.request("/events/get-sets?startTime=0&endTime=9")[0] == 200
        assert running.stop()[0] == 0
