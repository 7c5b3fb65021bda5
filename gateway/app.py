"""The ASGI application: the routes and the exceptions, as tables."""

from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from actors.messages import Address
from gateway.ask import Asker
from gateway.errors import handlers
from gateway.health import HealthRoutes
from gateway.segments import SegmentRoutes
from gateway.served import Served
from gateway.sets import SetRoutes
from gateway.streams import StreamRoutes
from gateway.top import TopRoutes
from gateway.uniques import UniqueRoutes
from gateway.words import WordRoutes


class Family(Protocol):
    """The routes of one stream."""

    def routes(self) -> Sequence[BaseRoute]:
        """Return the table of routes."""


FAMILIES: dict[str, Callable[[Asker, Served], Family]] = {
    "sets": SetRoutes,
    "top": TopRoutes,
    "segments": SegmentRoutes,
    "uniques": UniqueRoutes,
    "words": WordRoutes,
}
"""The routes of a stream by its view."""


def create_app(
    streams: Sequence[Served], guardian: Address, *, deadline_s: float, max_queries: int, reply_bytes: int
) -> Starlette:
    """Make the application over `streams` and the `guardian`, replies of `reply_bytes` at most; it starts and stops nothing."""
    asker = Asker(deadline_s=deadline_s, at_once=max_queries, reply_bytes=reply_bytes)
    of_streams: list[BaseRoute] = []
    for stream in streams:
        of_streams += [*StreamRoutes(asker, stream).routes(), *FAMILIES[stream.view](asker, stream).routes()]
    paths = ["/", *dict.fromkeys(str(getattr(route, "path", "")) for route in of_streams), "/livez", "/readyz", "/dead-letters"]
    health = HealthRoutes(asker, guardian, list(streams), paths)
    return Starlette(
        routes=[
            Route("/", health.about),
            Route("/livez", health.livez),
            Route("/readyz", health.readyz),
            Route("/dead-letters", health.dead_letters),
            *of_streams,
        ],
        exception_handlers=handlers("one of " + ", ".join(paths)),
    )
