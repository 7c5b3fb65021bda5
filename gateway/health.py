"""The routes about the service itself: what it is, whether it lives and is ready, and what came to nothing."""

from importlib.metadata import PackageNotFoundError, version

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.messages import Address, GetHealth, Health
from gateway.ask import Asker


def product_version() -> str:
    """Return the version of the installed package, or that it runs from a checkout."""
    try:
        return version("firnline")
    except PackageNotFoundError:
        return "checkout"


class HealthRoutes:
    """Endpoints that ask the guardian; `paths` is the list that `GET /` shows."""

    def __init__(self, asker: Asker, guardian: Address, paths: list[str]) -> None:
        self._asker = asker
        self._guardian = guardian
        self._paths = paths

    async def about(self, request: Request) -> Response:  # noqa: ARG002  # Starlette hands it in
        """Say what this is, and what can be asked of it."""
        return _json({"service": "firnline", "version": product_version(), "paths": self._paths})

    async def livez(self, request: Request) -> Response:  # noqa: ARG002
        """Say that the process answers."""
        return _json({"live": True})

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        """Ready unless a stream was given up; 503 with the reason then."""
        health = await self._health()
        return _json({"ready": not health.degraded, "degraded": health.degraded}, 503 if health.degraded else 200)

    async def dead_letters(self, request: Request) -> Response:  # noqa: ARG002
        """Messages that came to nothing: how many, and the newest; and restarts by stream."""
        health = await self._health()
        return _json({"count": health.dead_letters, "restarts": health.restarts, "newest": health.newest})

    async def _health(self) -> Health:
        health: Health = await self._asker.ask(self._guardian, GetHealth)
        return health


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
