"""The routes of event counts: by type and by word, and a page that shows both."""

import asyncio
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from actors.timeline.span import EVER, Span
from actors.views.view import Meta
from actors.views.words.slices import Counting
from actors.views.words.view import WordsView
from gateway import params
from gateway.ask import Asker
from gateway.served import Served, asked, coverage_of, form_of, rendered, weighed

_PAGES = Path(__file__).with_name("static")
_MOST = 1_000_000
_LONGEST_S = 10**9


class WordRoutes:
    """Endpoints of one stream of counted events; under `/events` too, where its clients look for them, and their page."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def routes(self) -> list[BaseRoute]:
        """Return the table of routes."""
        found: list[BaseRoute] = [Mount("/static", StaticFiles(directory=_PAGES))]
        for name in dict.fromkeys(("events", self._stream.name)):
            found.append(Route(f"/{name}/CountByEventType", self.types))
            found.append(Route(f"/{name}/CountWords", self.words))
        return found

    async def types(self, request: Request) -> Response:
        """Events by type."""
        return await self._counted(request, "types")

    async def words(self, request: Request) -> Response:
        """Words of all events."""
        return await self._counted(request, "words")

    async def _counted(self, request: Request, of: str) -> Response:
        params.known(request, ("last", "startTime", "endTime", "limit", "detail"))
        limit = params.integer(request, "limit", low=1, high=_MOST)
        counting = Counting("types" if of == "types" else "words", limit)
        span, detail = _span(request), params.flag(request, "detail")
        with await weighed(self._asker, self._stream, span, _size) as hold:
            answer = await asked(self._asker, self._stream, span, counting)
            view = answer.view
            assert isinstance(view, WordsView), "this stream's view"
            members = {"coverage": coverage_of(answer.coverage)} if detail else {}
            max_error = await asyncio.to_thread(view.max_error, answer.partial, counting)
            headers = {"Firnline-Max-Error": str(max_error)}
            return await rendered(answer, form_of(request), hold, members=members, headers=headers, heavy=True)


def _size(meta: Meta) -> int:
    """Return what an answer takes of a slice: the counts as they are read, opened, and added up by name."""
    pairs: int = meta.summary.pairs
    return meta.nbytes + 32 * pairs


def _span(request: Request) -> Span:
    """Return the last seconds by the wall clock, a range, or all time."""
    last = params.integer(request, "last", low=1, high=_LONGEST_S)
    if last is None:
        return params.moments(request, "startTime", "endTime")
    for name in ("startTime", "endTime"):
        if name in request.query_params:
            raise params.bad(name, "either last or a range", request.query_params[name])
    return Span(time.time_ns() // 10**6 - 1_000 * last, EVER.end)
