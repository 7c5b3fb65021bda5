"""The ASGI application: the routes and the exceptions, as tables."""

from starlette.applications import Starlette
from starlette.routing import Route

from actors.messages import Address
from gateway.ask import Asker
from gateway.errors import handlers
from gateway.health import HealthRoutes
from gateway.sets import SetRoutes


def create_app(
    managers: dict[str, Address], steps: dict[str, int], guardian: Address, *, deadline_s: float, max_queries: int
) -> Starlette:
    """Make the application over the streams' `managers` and the `guardian`; it starts and stops nothing."""
    asker = Asker(deadline_s=deadline_s, at_once=max_queries)
    of_sets = [f"/{name}/{leaf}" for name in sorted(managers) for leaf in ("get-sets", "get-stats", "rejects")]
    paths = ["/", *of_sets, "/livez", "/readyz", "/dead-letters"]
    sets = SetRoutes(asker, managers, steps)
    health = HealthRoutes(asker, guardian, paths)
    return Starlette(
        routes=[
            Route("/", health.about),
            Route("/livez", health.livez),
            Route("/readyz", health.readyz),
            Route("/dead-letters", health.dead_letters),
            Route("/{stream}/get-sets", sets.get_sets),
            Route("/{stream}/get-stats", sets.get_stats),
            Route("/{stream}/rejects", sets.get_rejects),
        ],
        exception_handlers=handlers("one of " + ", ".join(paths)),
    )
