"""The ASGI application: routes and exception handlers, as tables."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module

from starlette.applications import Starlette
from starlette.middleware import Middleware

from actors.protocol import Address
from actors.replies import GetHealth
from gateway.api.docs import DocsRoutes
from gateway.api.errors import handlers
from gateway.api.forms import STATUSES
from gateway.api.openapi import DescriptionRoutes
from gateway.api.operation import Family, Operation, routes
from gateway.api.params import Time
from gateway.ask import Asker, Trace
from gateway.kept import KeptRoutes
from gateway.page.files import Pages, wants_page
from gateway.page.history import Histories
from gateway.page.live import LiveRoutes, Ticker
from gateway.routes.about import HealthRoutes, product_version
from gateway.routes.histogram import HistogramRoutes
from gateway.routes.history import HistoryRoutes
from gateway.routes.records.letters import LetterRoutes
from gateway.routes.records.newest import RecordRoutes
from gateway.routes.reload import ConfigRoutes, Reload
from gateway.routes.streams import StreamList, StreamRoutes
from gateway.stream import ORIGIN, STREAM, VIEW, Served
from gateway.summary import SummaryRoutes
from gateway.watch.metrics import MetricRoutes
from gateway.watch.probes import Probes
from gateway.watch.traffic import Traffic
from gateway.wire.compression import Compression
from gateway.wire.limits import Allowance
from gateway.wire.request_id import RequestIds


def create_app(
    streams: Sequence[Served],
    guardian: Address[GetHealth],
    allowance: Allowance,
    *,
    reload: Reload | None = None,
    traffic: Traffic | None = None,
    trace: Trace = nullcontext,
    more: Sequence[Family] = (),
) -> Starlette:
    """Return the application over `streams` and the `guardian`, within `allowance`. It starts and stops nothing.

    With `reload`, a route reads the configuration again. `traffic` has the counts of requests for `/metrics`. `trace` is
    entered around each request to an actor. `more` are further routes of the service.
    """
    asker = Asker(allowance, trace)
    pages = Pages()
    of_streams = operations_of(asker, streams)
    health = HealthRoutes(asker, guardian, (wants_page, pages.page))
    metrics = MetricRoutes(guardian, streams, traffic or Traffic(), version=product_version())
    histories = Histories(asker, guardian, streams)
    of_history = HistoryRoutes(histories, [stream.name for stream in streams])
    stream_list = StreamList(asker, guardian, streams, of_streams)
    families: list[Family] = [health, Probes(guardian, streams), metrics, stream_list, of_history, *more]
    if reload is not None:
        families.append(ConfigRoutes(reload))
    description = DescriptionRoutes()
    families += [description, DocsRoutes(description), KeptRoutes(asker)]
    of_service = [operation for family in families for operation in family.operations()]
    of_all = [*of_service, *(operation for own in of_streams.values() for operation in own)]
    operations = sorted(distinct(of_all), key=lambda each: "{" in each.path)  # a path without parameters comes first
    health.paths = list(dict.fromkeys(operation.path for operation in operations))

    def tags() -> dict[str, str]:
        return {**{stream.name: about(stream, of_streams[stream.name]) for stream in streams}, "service": "The service itself."}

    units = partial(_units, streams)
    description.know(operations, version=product_version(), tags=tags, units=units)
    ticker = Ticker(asker, guardian, streams)
    app = Starlette(
        routes=[*routes(operations), *LiveRoutes(ticker, allowance).routes(), *pages.routes()],
        middleware=[Middleware(RequestIds), Middleware(Compression)],
        exception_handlers=handlers(health.paths, (wants_page, pages.missing)),
    )
    app.state.ticker, app.state.histories = ticker, histories
    return app


def _units(streams: Sequence[Served]) -> tuple[str, ...]:
    return tuple(stream.time_unit for stream in streams)


def operations_of(asker: Asker, streams: Sequence[Served]) -> dict[str, list[Operation]]:
    """Return the operations of each stream, by its name. Each answer names its stream and its view in two headers.

    A path under a stream's own name belongs to this stream. Of several streams of words, the first one has `/events/…`, unless
    one of them is called `events`.
    """
    every = [
        from_stream(operation, stream)
        for stream in streams
        for family in of_stream(asker, stream)
        for operation in family.operations()
    ]
    kept = distinct(sorted(every, key=lambda each: each.path.split("/")[1] != each.tag))
    return {stream.name: [each for each in every if each.tag == stream.name and each in kept] for stream in streams}


def of_stream(asker: Asker, stream: Served) -> list[Family]:
    """Return the families of one stream: those of all views, and those of its own."""
    own = routes_of(asker, stream)
    summary = SummaryRoutes(asker, stream, getattr(own, "statuses", STATUSES))
    general: list[Family] = [StreamRoutes(asker, stream), HistogramRoutes(asker, stream), summary]
    return [*general, RecordRoutes(asker, stream), LetterRoutes(asker, stream), own]


def from_stream(operation: Operation, stream: Served) -> Operation:
    """Return an operation whose answers name the stream and its view."""
    headers = {**(operation.headers or {}), **ORIGIN}
    return replace(operation, headers=headers, constant={STREAM: stream.name, VIEW: stream.view})


def routes_of(asker: Asker, stream: Served) -> Family:
    """Return the routes of a stream: of the class `Routes` in the file of `gateway.routes` that is called as its view."""
    family: Family = import_module(f"gateway.routes.{stream.view}").Routes(asker, stream)
    return family


def about(stream: Served, operations: Iterable[Operation]) -> str:
    """Return a line that describes a stream with these operations."""
    read = f", read from {stream.source}" if stream.source else ""
    timed = any(isinstance(parameter, Time) for operation in operations for parameter in operation.parameters)
    unit = f" Its times are integers in {stream.time_unit} since 1970." if timed else ""
    return f"A stream of the view {stream.view}{read}.{unit}"


def distinct(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations without repeated pairs of method and path, as two streams of words have them for `/events/…`."""
    found: dict[tuple[str, str], Operation] = {}
    for operation in operations:
        found.setdefault((operation.method, operation.path), operation)
    return list(found.values())
