"""The route of a stream of sets: the sets of a time range."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.views.sets.page import Cursor, Page
from gateway import params
from gateway.ask import Asker
from gateway.served import Served, asked, coverage_of, form_of, rendered

MOST = 1_000_000


class SetRoutes:
    """Endpoints of one stream of sets."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        return [Route(f"/{self._stream.name}/get-sets", self.get_sets)]

    async def get_sets(self, request: Request) -> Response:
        """Complete sets whose first time lies in [startTime, endTime), by that time."""
        params.known(request, ("startTime", "endTime", "limit", "cursor", "coverage"))
        span, page = params.span(request), self._page(request)
        with_coverage = params.flag(request, "coverage")
        answer = await asked(self._asker, self._stream, span, page)
        members = {"coverage": coverage_of(answer.coverage)} if with_coverage else {}
        return await rendered(answer, form_of(request), members=members)

    def _page(self, request: Request) -> Page:
        limit = params.integer(request, "limit", low=1, high=MOST)
        text = request.query_params.get("cursor")
        if text is None:
            return Page(limit)
        try:
            return Page(limit, Cursor.parse(text, steps=self._stream.steps))
        except ValueError:
            raise params.bad("cursor", "the `next` of a page of this stream", repr(text)) from None
