"""The ASGI application: routes and exception handlers, as tables."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

from starlette.applications import Starlette
from starlette.middleware import Middleware

from actors.protocol import Address
from actors.replies import GetHealth
from gateway.api.docs import DocsRoutes
from gateway.api.errors import handlers
from gateway.api.openapi import DescriptionRoutes
from gateway.api.operation import Family, Operation, routes
from gateway.ask import Asker, Trace
from gateway.page.files import Pages, wants_page
from gateway.page.live import LiveRoutes, Ticker
from gateway.routes.about import HealthRoutes, product_version
from gateway.routes.reload import ConfigRoutes, Reload
from gateway.routes.segments import SegmentRoutes
from gateway.routes.sets import SetRoutes
from gateway.routes.streams import StreamList, StreamRoutes
from gateway.routes.top import TopRoutes
from gateway.routes.uniques import UniqueRoutes
from gateway.routes.words import WordRoutes
from gateway.stream import Served
from gateway.watch.metrics import MetricRoutes
from gateway.watch.probes import Probes
from gateway.watch.traffic import Traffic
from gateway.wire.compression import Compression
from gateway.wire.limits import Allowance
from gateway.wire.request_id import RequestIds

FAMILIES: dict[str, Callable[[Asker, Served], Family]] = {
    "sets": SetRoutes,
    "top": TopRoutes,
    "segments": SegmentRoutes,
    "uniques": UniqueRoutes,
    "words": WordRoutes,
}
"""The class of a stream's routes, by the name of its view."""


def create_app(
    streams: Sequence[Served],
    guardian: Address[GetHealth],
    allowance: Allowance,
    *,
    reload: Reload | None = None,
    traffic: Traffic | None = None,
    trace: Trace = nullcontext,
) -> Starlette:
    """Return the application over `streams` and the `guardian`, within `allowance`. It starts and stops nothing.

    With `reload`, a route reads the configuration again. `traffic` has the counts of requests for `/metrics`. `trace` is
    entered around each request to an actor.
    """
    asker = Asker(allowance, trace)
    pages = Pages()
    of_streams = {
        stream.name: distinct([*StreamRoutes(asker, stream).operations(), *FAMILIES[stream.view](asker, stream).operations()])
        for stream in streams
    }
    health = HealthRoutes(asker, guardian, (wants_page, pages.page))
    metrics = MetricRoutes(guardian, streams, traffic or Traffic(), version=product_version())
    families: list[Family] = [health, Probes(guardian, streams), metrics, StreamList(asker, guardian, streams, of_streams)]
    if reload is not None:
        families.append(ConfigRoutes(reload))
    description = DescriptionRoutes()
    families += [description, DocsRoutes(description)]
    of_service = [operation for family in families for operation in family.operations()]
    operations = distinct([*of_service, *(operation for own in of_streams.values() for operation in own)])
    health.paths = list(dict.fromkeys(operation.path for operation in operations))
    tags = {**{stream.name: about(stream) for stream in streams}, "service": "The service itself."}
    description.know(operations, version=product_version(), tags=tags)
    ticker = Ticker(asker, guardian, streams)
    app = Starlette(
        routes=[*routes(operations), *LiveRoutes(ticker, allowance).routes(), *pages.routes()],
        middleware=[Middleware(RequestIds), Middleware(Compression)],
        exception_handlers=handlers(health.paths),
    )
    app.state.ticker = ticker
    return app


def about(stream: Served) -> str:
    """Return a line that describes a stream."""
    read = f", read from {stream.source}" if stream.source else ""
    unit = f" Its times are integers in {stream.time_unit} since 1970, or RFC 3339." if stream.view == "sets" else ""
    return f"A stream of the view {stream.view}{read}.{unit}"


def distinct(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations without repeated pairs of method and path, as two streams of words have them for `/events/…`."""
    found: dict[tuple[str, str], Operation] = {}
    for operation in operations:
        found.setdefault((operation.method, operation.path), operation)
    return list(found.values())
