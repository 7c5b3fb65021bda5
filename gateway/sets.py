"""The route of a stream of sets: the sets of a time range."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.messages import Answer
from actors.timeline.sealed import CHUNK
from actors.timeline.span import INT64_MIN, Span
from actors.views.sets.page import Cursor, Page
from actors.views.sets.render import page, template, write
from actors.views.sets.slices import OPEN_SETS
from actors.views.sets.view import SetsView
from gateway import params
from gateway.ask import Asker
from gateway.errors import Problem
from gateway.room import RETRY_AFTER_S
from gateway.served import (
    JSON,
    NDJSON,
    SMALL_BYTES,
    CutError,
    Served,
    asked,
    coverage_header,
    coverage_of,
    form_of,
    json,
    rendered,
    responded,
)

MOST = 1_000_000

_AT_ONCE = 16_384
"""Sets that are asked for at once. More of them are asked for page by page, so that an answer of any length copies no more
than a page, and holds on to no slice that is dropped meanwhile.
"""

_SHORT_SETS = 1_024
"""Sets whose text is written at once, so that nothing is open when it is sent."""

_WRITTEN = 256
"""Sets whose text is sent at once: less than the server's buffer, as a client that does not read keeps one of each."""

_TRIES = 5

_TIME_BYTES = 8
_LIVE_SETS = OPEN_SETS + 2 * CHUNK
"""Sets that a live slice has in the open, at most."""

_OPENED_SETS = 32_768
"""Sets that are open at once while they are written: the piece at hand, and what is left of the one before."""


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
        span, wanted = params.span(request), self._page(request)
        with_coverage = params.flag(request, "coverage")
        first = Page(_at_once(wanted.limit), wanted.after)
        with self._asker.room.take(self._weight(first)) as hold:
            answer = await asked(self._asker, self._stream, span, first)
            members: dict[str, object] = {"coverage": coverage_of(answer.coverage)} if with_coverage else {}
            if first == wanted:
                return await rendered(answer, form_of(request), hold, members=members)
            if form_of(request) == "ndjson":
                blocks, media_type = self._lines(answer, span, wanted), NDJSON
            else:
                blocks, media_type = self._object(answer, span, wanted, members), JSON
            return await responded(blocks, hold, headers=coverage_header(answer.coverage), media_type=media_type)

    def _weight(self, asked_for: Page) -> int:
        """Return the bytes of a page: sets of the live slice are copied, and where it is not short, pieces are open."""
        copied = min(asked_for.needed or 0, _LIVE_SETS)
        opened = _OPENED_SETS if copied > _SHORT_SETS else 0
        return SMALL_BYTES + _TIME_BYTES * self._stream.steps * (copied + opened)

    async def _lines(self, answer: Answer, span: Span, wanted: Page) -> AsyncGenerator[bytes]:
        async with contextlib.aclosing(self._blocks(answer, span, wanted, b"\n")) as blocks:
            async for text, _ in blocks:
                yield text

    async def _object(self, answer: Answer, span: Span, wanted: Page, members: dict[str, object]) -> AsyncGenerator[bytes]:
        lead, end = b'{"sets":[', members
        async with contextlib.aclosing(self._blocks(answer, span, wanted, b",")) as blocks:
            async for text, following in blocks:
                if following is not None:
                    end = {"next": str(following), **members}
                if text:
                    text = lead + text[:-1]  # noqa: PLW2901  # one of them is in memory, however long the client takes
                    yield text
                    lead = b","
        yield (b"" if lead == b"," else lead) + b"]" + (b"," if end else b"") + json(end)[1:]

    async def _blocks(
        self, answer: Answer, span: Span, wanted: Page, between: bytes
    ) -> AsyncGenerator[tuple[bytes, Cursor | None]]:
        """Yield sets as text, `between` after each, page by page; at the end of what is wanted, the place of what follows."""
        view = answer.view
        assert isinstance(view, SetsView), "this stream's view"
        form = template(view.steps) + between
        left, place = wanted.limit, wanted.after
        while True:
            following: Cursor | None = None
            for block, end in page(answer.partial, span, Page(_at_once(left), place)):
                following = end
                if left is not None:
                    left -= block[0].size
                for low in range(0, block[0].size, _WRITTEN):
                    yield write(tuple(column[low : low + _WRITTEN] for column in block), form), None
            if following is None:
                return
            if left == 0:
                yield b"", following
                return
            place = following
            answer = await self._next(span, Page(_at_once(left), place), answer)

    async def _next(self, span: Span, wanted: Page, before: Answer) -> Answer:
        """Return the next page. Raises CutError where something between it and the page `before` is gone, or none answers."""
        assert wanted.after is not None, "there was a page before"
        for _ in range(_TRIES):
            with contextlib.suppress(Problem):
                answer = await asked(self._asker, self._stream, span, wanted)
                break
            await asyncio.sleep(RETRY_AFTER_S)
        else:
            raise CutError("no next page in time")
        known, now = before.coverage, answer.coverage
        known_from = wanted.after.times[0] if known.complete_from is None else max(known.complete_from, wanted.after.times[0])
        if (now.complete_from or INT64_MIN) > known_from or set(now.missing) - set(known.missing):
            raise CutError("sets were dropped between two pages")
        return answer

    def _page(self, request: Request) -> Page:
        limit = params.integer(request, "limit", low=1, high=MOST)
        text = request.query_params.get("cursor")
        if text is None:
            return Page(limit)
        try:
            return Page(limit, Cursor.parse(text, steps=self._stream.steps))
        except ValueError:
            raise params.bad("cursor", "the `next` of a page of this stream", repr(text)) from None


def _at_once(limit: int | None) -> int:
    return _AT_ONCE if limit is None else min(limit, _AT_ONCE)
