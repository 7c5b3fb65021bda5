"""The answer to a query, from the request to the response: ask the manager, take memory for the answer, and send it.

Used by the routes of every view. Runs on the event loop; work that takes long runs in a thread.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from actors.replies import Answer, Query
from actors.timeline.span import EVER, Span
from actors.views.view import Block, Shape
from gateway.admission import Hold
from gateway.api.caching import caching_headers, not_modified, tag_of
from gateway.api.formats import FORMATS, write
from gateway.api.forms import JSON
from gateway.api.writers import Writer
from gateway.ask import Asker
from gateway.coverage import coverage_header, coverage_within
from gateway.stream import Served

_NONE: Mapping[str, Any] = {}

_AT_ONCE_BYTES = 65_536


ROWS = {"Firnline-Rows": "The most rows of this answer. With fewer rows it is complete; with as many, more rows may follow."}
"""The header, with its description."""

RANGE = {"Firnline-Range": "The range of the answer as JSON: [start, end) in the stream's unit. null: no bound."}
"""The header, with its description."""


async def asked(asker: Asker, stream: Served, span: Span, arguments: Any, hold: Hold | None = None) -> Answer:
    """Return the answer to a query. With `hold`, the manager takes the memory for it before any slice is read.

    Raises Problem 503 if there is no answer in time, and Problem 429 if `hold` finds too little memory.
    """
    admit = hold.admit if hold is not None else None
    answer: Answer = await asker.ask(stream.manager, lambda reply_to: Query(span, arguments, asker.deadline_s, reply_to, admit))
    return answer


class CutError(Exception):
    """The rest of an answer cannot be read, and its beginning is sent: the client must notice that it is not whole."""


class Streamed(StreamingResponse):
    """An answer that is sent block by block. It keeps its hold on memory until it is sent, or its client is gone or stalls.

    A block is made when the client has received the block before it, apart from the bytes in the server's buffers.
    """

    def __init__(self, blocks: AsyncGenerator[bytes], hold: Hold, *, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(blocks, headers=headers, media_type=media_type)
        self._blocks = blocks
        self._hold = hold.pass_on()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # Starlette's signature
        """Send the answer. After CutError, the connection is closed in the middle; the server disconnects a stalled client."""
        try:
            with contextlib.suppress(CutError):
                await self._sent(receive, send)
        finally:
            await self._blocks.aclose()
            self._hold.give_back()

    async def _sent(self, receive: Receive, send: Send) -> None:
        """Send the answer, or stop when the client is gone.

        Starlette has a task group for that, which costs a tenth of a millisecond: a cancelled one writes the task as text.
        """
        sending, gone = asyncio.current_task(), False
        assert sending is not None, "a response is sent by a task"

        async def listen() -> None:
            nonlocal gone
            await self.listen_for_disconnect(receive)
            gone = True
            sending.cancel()

        listening = asyncio.ensure_future(listen())
        try:
            await self.stream_response(send)
        except asyncio.CancelledError:
            if not gone or sending.uncancel():
                raise
        finally:
            listening.cancel()

    async def stream_response(self, send: Send) -> None:
        """Send the blocks. If it is cancelled, the traceback, which Python frees late, refers to no block."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        message: dict[str, Any] = {}
        try:
            async for block in self._blocks:
                message.update(type="http.response.body", body=block, more_body=True)
                del block
                await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            message.clear()


async def rendered(
    answer: Answer,
    form: str,
    hold: Hold,
    *,
    request: Request,
    members: Mapping[str, object] = _NONE,
    headers: Mapping[str, str] = _NONE,
    heavy: bool = False,
    pages: AsyncGenerator[Block] | None = None,
    whole: bool = True,
) -> Response:
    """Respond with an answer in the format `form`, or with 304 if the client of `request` has it already, by its tag.

    A short answer is sent at once. A long one is sent while it is made; it keeps `hold` until then, and lets other requests run
    between its blocks. A `heavy` one, which needs a sort or a union before the first byte, is made in a thread. `members` are
    those of the JSON object beside the rows. If `answer` is the first of several pages, `pages` has the blocks of all of them.
    It has a tag only if it is the `whole`, because its tag does not cover the other pages.
    """
    table = FORMATS[form].table
    metadata = coverage_within(answer.coverage, answer.span) if table else _NONE
    tag = tag_of(answer, form, {**members, **metadata}) if whole else None
    all_headers = {**coverage_header(answer.coverage), **headers, **caching_headers(tag)}
    unchanged = not_modified(request.headers, tag, all_headers)
    if unchanged is not None:
        return unchanged
    media_type = FORMATS[form].content_type
    if pages is not None:
        writer = await writer_of(answer.view.shape(answer.arguments), answer, form, members)
        return await responded(written(pages, writer), hold, headers=all_headers, media_type=media_type)
    pieces, in_thread = write(answer, form, members, metadata), heavy or table
    first = await asyncio.to_thread(_gather, pieces) if in_thread else _gather(pieces)
    if len(first) < _AT_ONCE_BYTES:
        return Response(first, headers=all_headers, media_type=media_type)

    async def blocks(block: bytes) -> AsyncGenerator[bytes]:
        while block:
            yield block
            block = await asyncio.to_thread(_gather, pieces) if in_thread else _gather(pieces)

    return await responded(blocks(first), hold, headers=all_headers, media_type=media_type)


async def writer_of(shape: Shape, answer: Answer, form: str, members: Mapping[str, object] = _NONE) -> Writer:
    """Return the writer of an answer whose blocks come one by one, of `shape`. Raises Problem 501 if a package is missing."""
    make = FORMATS[form].writer
    if not FORMATS[form].table:
        return make(shape, members, _NONE)
    return await asyncio.to_thread(make, shape, members, coverage_within(answer.coverage, answer.span))


async def written(given: AsyncGenerator[Block], writer: Writer) -> AsyncGenerator[bytes]:
    """Yield the bytes of an answer as its blocks come."""
    following: object = None
    yield writer.begin()
    async with contextlib.aclosing(given) as blocks:
        async for block in blocks:
            following = block.following
            if piece := writer.block(block.columns):
                yield piece
            del block, piece  # they may be large
    yield writer.end(following)


async def responded(
    blocks: AsyncGenerator[bytes], hold: Hold, *, headers: Mapping[str, str], media_type: str = JSON
) -> Response:
    """Respond with `blocks`: at once if they are short, else one after the other, keeping `hold` until they are sent.

    Other requests run between two blocks, because whoever sends a block gives the event loop a turn.
    """
    first: list[bytes] = []
    async for block in blocks:
        first.append(block)
        if sum(map(len, first)) >= _AT_ONCE_BYTES:
            break
    else:
        return Response(b"".join(first), headers=headers, media_type=media_type)

    async def body() -> AsyncGenerator[bytes]:
        async with contextlib.aclosing(blocks):
            while first:
                yield first.pop(0)
            async for block in blocks:
                yield block

    return Streamed(body(), hold, headers=headers, media_type=media_type)


def _gather(pieces: Iterator[bytes]) -> bytes:
    """Return the next pieces, of at least 64 KiB together unless they are the last ones."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= _AT_ONCE_BYTES:
            break
    return bytes(block)


def rows_header(most: int) -> dict[str, str]:
    """Return the header with the most rows of an answer."""
    return {"Firnline-Rows": str(most)}


def range_header(span: Span) -> dict[str, str]:
    """Return the header with the range that the request meant: two integers, or null for no bound."""
    start, end = (None if span.start == EVER.start else span.start), (None if span.end == EVER.end else span.end)
    return {"Firnline-Range": msgspec.json.encode((start, end)).decode()}
