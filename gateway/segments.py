"""The routes of merged segments: the finished batches, the pending ones, and a finished batch's line, from the output file."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import msgspec
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from actors.messages import Answer, GetPlace, Place
from actors.timeline.span import EVER, INT64_MAX, INT64_MIN, Span
from actors.views.segments.listing import Listing
from actors.views.view import Meta
from gateway import params
from gateway.ask import Asker
from gateway.errors import Problem
from gateway.served import SMALL_BYTES, Served, asked, form_of, json, rendered, responded, weighed

_BATCH = re.compile(r"[0-9]{1,19}")
_MOST = 1_000_000
_MOST_LINES = 1_000
_BLOCK = 1 << 18
_LONGEST_LINE = 1 << 20
"""Bytes of the longest line that a listing shows; a longer one is to be had alone."""

_ROW_BYTES = 64
_OPEN_ROWS = 65_536
"""Rows of finished batches that a listing has open at once."""


class SegmentRoutes:
    """Endpoints of one stream of segments."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def routes(self) -> list[Route]:
        """Return the table of routes."""
        path = f"/{self._stream.name}"
        return [
            Route(path, self.finished),
            Route(f"{path}/pending", self.pending),
            Route(f"{path}/{{batch}}", self.line),
        ]

    async def finished(self, request: Request) -> Response:
        """Finished batches by id, those above `after`; with `line=1` each with its line, where that is not too long."""
        params.known(request, ("after", "limit", "line"))
        after = params.integer(request, "after")
        if params.flag(request, "line"):
            lines = params.integer(request, "limit", low=1, high=_MOST_LINES) or _MOST_LINES
            return await self._with_lines(Listing(after, lines))
        limit = params.integer(request, "limit", low=1, high=_MOST)
        return await self._written(request, Listing(after, limit))

    async def pending(self, request: Request) -> Response:
        """Batches that are not complete, and which segments they lack."""
        params.known(request, ("after", "limit"))
        after, limit = params.integer(request, "after"), params.integer(request, "limit", low=1, high=_MOST)
        return await self._written(request, Listing(after, limit, pending=True))

    async def line(self, request: Request) -> Response:
        """Return the line of one finished batch, of the newest epoch that has it."""
        params.known(request, ())
        said = request.path_params["batch"]
        if not _BATCH.fullmatch(said) or (batch := int(said)) > INT64_MAX:
            raise Problem(404, where="path", expected="a finished batch", got=said[:100])
        answer = await asked(self._asker, self._stream, Span(batch, batch + 1), Listing())
        rows = _rows(answer)
        if not rows:
            raise Problem(404, where="path", expected="a finished batch", got=str(batch))
        place = await self._place(rows[-1]["order"])
        if place is None:
            raise Problem(404, where="path", expected="a batch whose line is in a file", got=str(batch))
        return StreamingResponse(iterate_in_threadpool(_read(place)), media_type="text/plain")

    async def _written(self, request: Request, listing: Listing) -> Response:
        with await weighed(self._asker, self._stream, EVER, _size) as hold:
            return await rendered(await self._listed(listing), form_of(request), hold, heavy=True)

    async def _listed(self, listing: Listing) -> Answer:
        span = EVER if listing.after is None else Span(max(INT64_MIN, min(listing.after + 1, INT64_MAX)), INT64_MAX + 1)
        return await asked(self._asker, self._stream, span, listing)

    async def _with_lines(self, listing: Listing) -> Response:
        """List batches with their lines, of which one is in memory at a time."""
        with self._asker.room.take(SMALL_BYTES + _ROW_BYTES * _OPEN_ROWS + 4 * _LONGEST_LINE) as hold:
            rows = _rows(await self._listed(listing))
            return await responded(self._lines(rows), hold, headers={})

    async def _lines(self, rows: list[dict[str, Any]]) -> AsyncGenerator[bytes]:
        lead = b'{"segments":['
        for row in rows:
            place = await self._place(row["order"])
            short = place is not None and place.length <= _LONGEST_LINE
            row["line"] = (await asyncio.to_thread(_text, place)) if place is not None and short else None
            yield lead + json(row)
            row["line"] = None
            lead = b","
        yield (b"" if lead == b"," else lead) + b"]}"

    async def _place(self, order: int) -> Place | None:
        if self._stream.publisher is None:
            return None
        place: Place | None = await self._asker.ask(self._stream.publisher, lambda reply_to: GetPlace(order, reply_to))
        return place


def _rows(answer: Answer) -> list[dict[str, Any]]:
    """Return the rows of a listing as objects: for a few of them."""
    written = b"".join(answer.view.render(answer.partial, answer.span, answer.arguments, "json", {}))
    rows: list[dict[str, Any]] = msgspec.json.decode(written)["segments"]
    return rows


def _read(place: Place) -> Iterator[bytes]:
    """Yield the bytes of a place, in blocks."""
    left = place.length
    with Path(place.path).open("rb") as file:
        file.seek(place.start)
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


def _text(place: Place) -> str:
    return b"".join(_read(place)).decode()


def _size(meta: Meta) -> int:
    """Return what a listing takes of a slice: batches that wait are copied, finished ones opened a piece at a time."""
    rows: int = meta.summary.pending + min(meta.summary.finished, _OPEN_ROWS)
    return _ROW_BYTES * rows
