"""The routes of merged segments: finished batches, pending batches, and the line of a finished batch in the output file."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.replies import Answer, GetPlace, Place
from actors.timeline.span import EVER, Span
from actors.views.segments.arguments import Listing
from actors.views.view import Block, Field, Shape, listed
from gateway.admission import SMALL_BYTES, Hold
from gateway.answer import ROWS, asked, rendered, responded, rows_header, writer_of, written
from gateway.api import params
from gateway.api.errors import Problem
from gateway.api.formats import FORMATS
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Link, Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, coverage_header
from gateway.schemas import Count
from gateway.stream import Served

_BATCH = re.compile(r"-?[0-9]{1,19}")
_MOST = 1_000_000
_MOST_LINES = 1_000
_BLOCK = 1 << 18
_TEXT = "text/plain; charset=utf-8"
_Meta = msgspec.Meta
_LONGEST_LINE = 1 << 20
"""Bytes of the longest line in a listing. A longer line has its own request."""

_LINES, _LINES_BYTES = 64, 65_536
"""Rows with lines that are written together, and bytes of their lines, as soon as one of the two is reached."""

_ROW_BYTES = 64
_OPEN_ROWS = 65_536
"""The most rows of finished batches that a listing decompresses at once."""


class Finished(msgspec.Struct, frozen=True):
    """A finished batch."""

    batch: int
    epoch: Annotated[int, _Meta(description="How often the topic had been recreated before.")]
    order: Annotated[Count, _Meta(description="Its position in the order of completion.")]
    count: Annotated[Count, _Meta(description="Numbers in the batch.")]
    first: Annotated[int | None, _Meta(description="The least number; null if the batch has no numbers.")]
    last: Annotated[int | None, _Meta(description="The greatest number; null if the batch has no numbers.")]
    line: Annotated[
        str | msgspec.UnsetType | None,
        _Meta(description="With line=1: its numbers as text; null if they are not in a file, or too long."),
    ] = msgspec.UNSET


class Batches(msgspec.Struct, frozen=True):
    """Finished batches by id."""

    segments: list[Finished]


class Waiting(msgspec.Struct, frozen=True):
    """A batch that is not complete."""

    batch: int
    epoch: int
    missing: Annotated[list[int], _Meta(description="The missing segments.")]


class Pending(msgspec.Struct, frozen=True):
    """Pending batches by id."""

    pending: list[Waiting]


AFTER = params.Integer(
    name="after", description="Batches of the newest epoch with a greater id. For the next page: the last id of this page."
)
LIMIT = params.Integer(
    name="limit", description=f"Batches at most; with line=1, never more than {_MOST_LINES:,}.", low=1, high=_MOST
)
LINE = params.Flag(name="line", description="1: each batch with its line, if the line is in a file and not longer than 1 MiB.")
BATCH = params.InPath(
    name="batch",
    description="The id of a batch.",
    form={"type": "integer", "minimum": INT64_MIN, "maximum": INT64_MAX},
    example=1,
)


class Routes:
    """Endpoints of one stream of segments."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
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
                forms={_TEXT: "The numbers of the batch, ascending, separated by a comma and a space."},
                statuses={404: "The batch is not finished, or its line is not in a file.", 429: STATUSES[429]},
            ),
        ]

    async def finished(self, request: Request) -> Response:
        """Finished batches by id, those above `after`.

        With `line=1`, each batch has its line, if the line is in a file and not too long.
        """
        limit = self._limit(request)
        if LINE.of(request):
            return await self._with_lines(Listing(AFTER.of(request), min(limit, _MOST_LINES)), FORM.of(request))
        return await self._written(request, Listing(AFTER.of(request), limit))

    async def pending(self, request: Request) -> Response:
        """Batches that are not complete, with their missing segments."""
        return await self._written(request, Listing(AFTER.of(request), self._limit(request), pending=True))

    def _limit(self, request: Request) -> int:
        return min(LIMIT.of(request) or _MOST, self._asker.allowance.now.max_rows)

    async def line(self, request: Request) -> Response:
        """Return the line of one finished batch, of the newest epoch that has it."""
        text = BATCH.of(request)
        if not _BATCH.fullmatch(text) or not INT64_MIN <= (batch := int(text)) <= INT64_MAX:
            raise Problem(404, where="path", expected="a finished batch", got=text[:100])
        answer = await asked(self._asker, self._stream, Span(batch, batch + 1), Listing())
        orders = [order for order, _ in _rows(answer)]
        if not orders:
            raise Problem(404, where="path", expected="a finished batch", got=str(batch))
        place = await self._place(orders[-1])
        if place is not None:
            with contextlib.suppress(FileNotFoundError), self._asker.room.take(SMALL_BYTES) as hold:
                return await responded(_blocks(place), hold, headers={}, media_type=_TEXT)
        raise Problem(404, where="path", expected="a batch whose line is in a file", got=str(batch))

    async def _written(self, request: Request, listing: Listing) -> Response:
        with self._asker.room.hold() as hold:
            answer, headers = await self._listed(listing, hold), rows_header(listing.limit or _MOST)
            return await rendered(answer, FORM.of(request), hold, request=request, headers=headers, heavy=True)

    async def _listed(self, listing: Listing, hold: Hold | None = None) -> Answer:
        span = EVER if listing.after is None else Span(max(INT64_MIN, min(listing.after + 1, INT64_MAX)), INT64_MAX + 1)
        return await asked(self._asker, self._stream, span, listing, hold)

    async def _with_lines(self, listing: Listing, form: str) -> Response:
        """List batches with their lines. Few lines are in memory at a time."""
        with self._asker.room.take(SMALL_BYTES + _ROW_BYTES * _OPEN_ROWS + 4 * _LONGEST_LINE) as hold:
            answer = await self._listed(listing)
            writer = await writer_of(_with_line(answer.view.shape(listing)), answer, form)
            headers = {**coverage_header(answer.coverage), **rows_header(listing.limit or _MOST_LINES)}
            blocks = written(self._lined(answer), writer)
            return await responded(blocks, hold, headers=headers, media_type=FORMATS[form].content_type)

    async def _lined(self, answer: Answer) -> AsyncGenerator[Block]:
        """Yield batches with their lines, in blocks of few rows or, if lines are long, of one."""
        rows: list[tuple[Any, ...]] = []
        nbytes = 0
        for order, values in _rows(answer):
            line = await self._line(order)
            rows.append((*values, line))
            nbytes += len(line or "")
            if nbytes >= _LINES_BYTES or len(rows) == _LINES:
                yield Block(list(map(list, zip(*rows, strict=True))))
                rows, nbytes = [], 0
        if rows:
            yield Block(list(map(list, zip(*rows, strict=True))))

    async def _line(self, order: int) -> str | None:
        place = await self._place(order)
        return await asyncio.to_thread(_text, place) if place is not None and place.length <= _LONGEST_LINE else None

    async def _place(self, order: int) -> Place | None:
        if self._stream.publisher is None:
            return None
        place: Place | None = await self._asker.ask(self._stream.publisher, lambda reply_to: GetPlace(order, reply_to))
        return place


@lru_cache
def _with_line(shape: Shape) -> Shape:
    """Return the shape with the field `line`: the same object at each call."""
    return replace(shape, fields=(*shape.fields, Field("line", "text", optional=True)))


def _rows(answer: Answer) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield each batch: its place in the order of completion, and the values of all fields."""
    place = answer.view.shape(answer.arguments).fields.index(Field("order"))
    for block in answer.view.blocks(answer.partial, answer.span, answer.arguments):
        for values in zip(*map(listed, block.columns), strict=True):
            yield values[place], values


def _read(place: Place) -> Iterator[bytes]:
    """Yield the bytes at a place of a file, in blocks."""
    left = place.length
    with Path(place.path).open("rb") as file:
        file.seek(place.start)
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


async def _blocks(place: Place) -> AsyncGenerator[bytes]:
    """Yield the same bytes, read in a thread. The first step raises FileNotFoundError if the file was removed."""
    blocks = _read(place)
    while block := await asyncio.to_thread(next, blocks, b""):
        yield block


def _text(place: Place) -> str | None:
    try:
        return b"".join(_read(place)).decode()
    except FileNotFoundError:  # removed since the publisher's reply
        return None
