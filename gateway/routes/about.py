"""The routes about the service itself: its paths, and messages between actors that were not handled."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.protocol import Address
from actors.replies import GetHealth, Health
from gateway.api.forms import json_response
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.schemas import About, DeadLetterReport, DeadLetters

Page = tuple[Callable[[str], bool], Callable[[Request], Awaitable[Response]]]
"""Whether an Accept header prefers HTML, and the endpoint that sends the page."""


def product_version() -> str:
    """Return the version of the installed package, or a text for a checkout."""
    try:
        return version("firnline")
    except PackageNotFoundError:
        return "checkout"


class HealthRoutes:
    """Endpoints that ask the guardian. `page` is sent at `/` to clients that prefer HTML, as browsers do."""

    def __init__(self, asker: Asker, guardian: Address[GetHealth], page: Page) -> None:
        self._asker = asker
        self._guardian = guardian
        self._page = page
        self.paths: Sequence[str] = ()
        """The paths that `/` lists; set once all operations are registered."""

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        page = {"text/html": "The live page, for clients that prefer HTML to JSON, as browsers do."}
        return [
            Operation(
                method="GET",
                path="/",
                endpoint=self.about,
                tag="service",
                answer=About,
                forms=page,
                scope="open",
                lenient=True,
            ),
            Operation(method="GET", path="/dead-letters", endpoint=self.dead_letters, tag="service", answer=DeadLetters),
        ]

    async def about(self, request: Request) -> Response:
        """Show the service and the paths that it answers."""
        wants_page, page = self._page
        if wants_page(request.headers.get("accept", "")):
            return await page(request)
        about = About("firnline", product_version(), list(self.paths))
        return json_response(about, headers={"Vary": "Accept"})

    async def dead_letters(self, request: Request) -> Response:  # noqa: ARG002
        """Undelivered messages: their number, and the newest; and restarts by stream."""
        health = await self._health()
        newest = [msgspec.convert(each, DeadLetterReport, from_attributes=True) for each in health.newest]
        return json_response(DeadLetters(health.dead_letters, dict(health.restarts), newest))

    async def _health(self) -> Health:
        health: Health = await self._asker.ask(self._guardian, GetHealth)
        return health
