"""The routes of merged segments: the finished batches, the pending ones, and a finished batch's line, from the output file."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.replies import Answer, GetPlace, Place
from actors.timeline.span import EVER, Span
from actors.views.segments.listing import Listing
from actors.views.view import Field, Meta
from gateway.answer import ROWS, SMALL_BYTES, asked, rendered, responded, rows_header, weighed
from gateway.api import params
from gateway.api.errors import Problem
from gateway.api.formats import FORMATS, Writer
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Link, Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, coverage_header, coverage_within
from gateway.schemas import Count
from gateway.stream import Served

_BATCH = re.compile(r"[0-9]{1,19}")
_MOST = 1_000_000
_MOST_LINES = 1_000
_BLOCK = 1 << 18
_TEXT = "text/plain; charset=utf-8"
_Meta = msgspec.Meta
_LONGEST_LINE = 1 << 20
"""Bytes of the longest line that a listing shows; a longer one is to be had alone."""

_ROW_BYTES = 64
_OPEN_ROWS = 65_536
"""Rows of finished batches that a listing has open at once."""


class Finished(msgspec.Struct, frozen=True):
    """A finished batch."""

    batch: int
    epoch: Annotated[int, _Meta(description="How often the topic was created again before.")]
    order: Annotated[Count, _Meta(description="Its place in the order in which batches were finished.")]
    count: Annotated[Count, _Meta(description="Numbers in it.")]
    first: Annotated[int | None, _Meta(description="The least number; null where there is none.")]
    last: Annotated[int | None, _Meta(description="The greatest number.")]
    line: Annotated[
        str | msgspec.UnsetType | None,
        _Meta(description="With line=1: its numbers; null where they are in no file, or too long."),
    ] = msgspec.UNSET


class Batches(msgspec.Struct, frozen=True):
    """Finished batches by id."""

    segments: list[Finished]


class Waiting(msgspec.Struct, frozen=True):
    """A batch that waits for segments."""

    batch: int
    epoch: int
    missing: Annotated[list[int], _Meta(description="The segments that it lacks.")]


class Pending(msgspec.Struct, frozen=True):
    """Batches that wait, by id."""

    pending: list[Waiting]


AFTER = params.Integer(name="after", description="Batches of the newest epoch whose id is greater: the last one of a page.")
LIMIT = params.Integer(
    name="limit", description=f"Batches at most; with line=1, never more than {_MOST_LINES:,}.", low=1, high=_MOST
)
LINE = params.Flag(name="line", description="1: each batch with its line, where that is in a file and no longer than 1 MiB.")
BATCH = params.InPath(
    name="batch",
    description="The id of a batch.",
    form={"type": "integer", "minimum": 0, "maximum": INT64_MAX},
    example=1,
)


class SegmentRoutes:
    """Endpoints of one stream of segments."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def operations(self) -> list[Operation]:
        """Return the table."""
        name = self._stream.name
        return [
            Operation(
                method="GET",
                path=f"/{name}",
                endpoint=self.finished,
                tag=name,
                answer=Batches,
                parameters=(AFTER, LIMIT, LINE, FORM, IF_NONE_MATCH),
                forms=forms("a batch a line", Finished),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **CACHING},
                links={
                    "line": Link(
                        path=f"/{name}/{{batch}}",
                        parameters={"batch": "$response.body#/segments/0/batch"},
                        description="The numbers of the first batch.",
                    )
                },
            ),
            Operation(
                method="GET",
                path=f"/{name}/pending",
                endpoint=self.pending,
                tag=name,
                answer=Pending,
                parameters=(AFTER, LIMIT, FORM, IF_NONE_MATCH),
                forms=forms("a batch a line", Waiting),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **CACHING},
            ),
            Operation(
                method="GET",
                path=f"/{name}/{{batch}}",
                endpoint=self.line,
                tag=name,
                parameters=(BATCH,),
                forms={_TEXT: "The numbers of the batch, ascending, with a comma and a space between."},
                statuses={404: "The batch is not finished, or its line is in no file.", 429: STATUSES[429]},
            ),
        ]

    async def finished(self, request: Request) -> Response:
        """Finished batches by id, those above `after`.

        With `line=1` each with its line, where that is in a file and not too long.
        """
        limit = self._limit(request)
        if LINE.of(request):
            return await self._with_lines(Listing(AFTER.of(request), min(limit, _MOST_LINES)), FORM.of(request))
        return await self._written(request, Listing(AFTER.of(request), limit))

    async def pending(self, request: Request) -> Response:
        """Batches that are not complete, and which segments they lack."""
        return await self._written(request, Listing(AFTER.of(request), self._limit(request), pending=True))

    def _limit(self, request: Request) -> int:
        return min(LIMIT.of(request) or _MOST, self._asker.allowance.now.max_rows)

    async def line(self, request: Request) -> Response:
        """Return the line of one finished batch, of the newest epoch that has it."""
        said = BATCH.of(request)
        if not _BATCH.fullmatch(said) or (batch := int(said)) > INT64_MAX:
            raise Problem(404, where="path", expected="a finished batch", got=said[:100])
        answer = await asked(self._asker, self._stream, Span(batch, batch + 1), Listing())
        rows = _rows(answer)
        if not rows:
            raise Problem(404, where="path", expected="a finished batch", got=str(batch))
        place = await self._place(rows[-1]["order"])
        if place is not None:
            with contextlib.suppress(FileNotFoundError), self._asker.room.take(SMALL_BYTES) as hold:
                return await responded(_blocks(place), hold, headers={}, media_type=_TEXT)
        raise Problem(404, where="path", expected="a batch whose line is in a file", got=str(batch))

    async def _written(self, request: Request, listing: Listing) -> Response:
        with await weighed(self._asker, self._stream, EVER, _size) as hold:
            answer, headers = await self._listed(listing), rows_header(listing.limit or _MOST)
            return await rendered(answer, FORM.of(request), hold, request=request, headers=headers, heavy=True)

    async def _listed(self, listing: Listing) -> Answer:
        span = EVER if listing.after is None else Span(max(INT64_MIN, min(listing.after + 1, INT64_MAX)), INT64_MAX + 1)
        return await asked(self._asker, self._stream, span, listing)

    async def _with_lines(self, listing: Listing, form: str) -> Response:
        """List batches with their lines, of which one is in memory at a time."""
        with self._asker.room.take(SMALL_BYTES + _ROW_BYTES * _OPEN_ROWS + 4 * _LONGEST_LINE) as hold:
            answer = await self._listed(listing)
            rows = self._lined(_rows(answer))
            if form == "json":
                blocks = _object(rows)
            elif form == "ndjson":
                blocks = _lines(rows)
            else:
                fields = (*answer.view.fields(listing), Field("line", "text", optional=True))
                within = coverage_within(answer.coverage, answer.span)
                blocks = _table(rows, await asyncio.to_thread(FORMATS[form].writer, fields, within))
            told = {**coverage_header(answer.coverage), **rows_header(listing.limit or _MOST_LINES)}
            return await responded(blocks, hold, headers=told, media_type=FORMATS[form].content_type)

    async def _lined(self, rows: list[dict[str, Any]]) -> AsyncGenerator[dict[str, Any]]:
        """Yield rows, each with its line while it is looked at."""
        for row in rows:
            place = await self._place(row["order"])
            short = place is not None and place.length <= _LONGEST_LINE
            row["line"] = (await asyncio.to_thread(_text, place)) if place is not None and short else None
            yield row
            row["line"] = None

    async def _place(self, order: int) -> Place | None:
        if self._stream.publisher is None:
            return None
        place: Place | None = await self._asker.ask(self._stream.publisher, lambda reply_to: GetPlace(order, reply_to))
        return place


async def _object(given: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    lead = b'{"segments":['
    async with contextlib.aclosing(given) as rows:
        async for row in rows:
            yield lead + msgspec.json.encode(row)
            lead = b","
    yield (b"" if lead == b"," else lead) + b"]}"


async def _lines(given: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(given) as rows:
        async for row in rows:
            yield msgspec.json.encode(row) + b"\n"


async def _table(given: AsyncGenerator[dict[str, Any]], writer: Writer) -> AsyncGenerator[bytes]:
    yield writer.begin()
    async with contextlib.aclosing(given) as rows:
        async for row in rows:
            if piece := writer.block({name: [value] for name, value in row.items()}):
                yield piece
    yield writer.end()


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


async def _blocks(place: Place) -> AsyncGenerator[bytes]:
    """Yield the same, read in a thread. Raises FileNotFoundError at the first where the file was taken away meanwhile."""
    blocks = _read(place)
    while block := await asyncio.to_thread(next, blocks, b""):
        yield block


def _text(place: Place) -> str | None:
    try:
        return b"".join(_read(place)).decode()
    except FileNotFoundError:  # taken away meanwhile
        return None


def _size(meta: Meta) -> int:
    """Return what a listing takes of a slice: batches that wait are copied, finished ones opened a piece at a time."""
    rows: int = meta.summary.pending + min(meta.summary.finished, _OPEN_ROWS)
    return _ROW_BYTES * rows
