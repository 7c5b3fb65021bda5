"""The routes about the service itself: what it is, whether it lives and is ready, and what came to nothing."""

from importlib.metadata import PackageNotFoundError, version

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.messages import Address, GetHealth, GetStats, Health, Stats
from gateway.ask import Asker
from gateway.errors import Problem
from gateway.served import Served


def product_version() -> str:
    """Return the version of the installed package, or that it runs from a checkout."""
    try:
        return version("firnline")
    except PackageNotFoundError:
        return "checkout"


class HealthRoutes:
    """Endpoints that ask the guardian and the streams; `paths` is the list that `GET /` shows."""

    def __init__(self, asker: Asker, guardian: Address, streams: list[Served], paths: list[str]) -> None:
        self._asker = asker
        self._guardian = guardian
        self._streams = streams
        self._paths = paths

    async def about(self, request: Request) -> Response:  # noqa: ARG002  # Starlette hands it in
        """Say what this is, and what can be asked of it."""
        return _json({"service": "firnline", "version": product_version(), "paths": self._paths})

    async def livez(self, request: Request) -> Response:  # noqa: ARG002
        """Say that the process answers."""
        return _json({"live": True})

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        """Ready once every stream has read its checkpoint, unless one was given up; else 503 with the reason.

        How far each stream is: while `lag` is above nought, it catches up, and coverage says how far answers go.
        """
        health = await self._health()
        streams = {stream.name: await self._readiness(stream) for stream in self._streams}
        ready = not health.degraded and all(each["ready"] for each in streams.values())
        return _json({"ready": ready, "degraded": health.degraded, "streams": streams}, 200 if ready else 503)

    async def dead_letters(self, request: Request) -> Response:  # noqa: ARG002
        """Messages that came to nothing: how many, and the newest; and restarts by stream."""
        health = await self._health()
        return _json({"count": health.dead_letters, "restarts": health.restarts, "newest": health.newest})

    async def _readiness(self, stream: Served) -> dict[str, object]:
        """Return how far one stream is."""
        try:
            stats: Stats = await self._asker.ask(stream.manager, GetStats)
        except Problem as problem:
            return {"ready": False, "state": problem.expected}
        durability = stats.durability
        said: dict[str, object] = {
            "ready": not stats.starting,
            "state": "reading its checkpoint" if stats.starting else stats.progress.state,
            "lag": sum(stats.progress.lag.values()),
        }
        if durability is not None:
            said["checkpoint"] = durability.checkpoint or durability.recovered_from
            said["generationsRead"] = durability.loading
            said["unread"] = durability.lost
            said["checkpointProblem"] = durability.problem
        return said

    async def _health(self) -> Health:
        health: Health = await self._asker.ask(self._guardian, GetHealth)
        return health


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
