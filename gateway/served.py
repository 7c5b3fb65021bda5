"""One stream as the gateway knows it, and what the routes of all views share: asking, coverage, streaming."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from actors.messages import Address, Answer, Coverage, Query
from actors.timeline.span import Span
from gateway.ask import Asker

NDJSON = "application/x-ndjson"
JSON = "application/json"
_AT_ONCE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Served:
    """A stream: its name, its view's, whom to ask, and how long a request's body may be.

    `steps` is how many a set has, 0 where there are no sets.
    """

    name: str
    view: str
    manager: Address
    publisher: Address | None = None
    writer: Address | None = None
    steps: int = 0
    max_body_bytes: int = 8 << 20


async def asked(asker: Asker, stream: Served, span: Span, arguments: Any) -> Answer:
    """Return the answer to a query. Raises Problem 503 where there is none in time."""
    answer: Answer = await asker.ask(stream.manager, lambda reply_to: Query(span, arguments, asker.deadline_s, reply_to))
    return answer


def form_of(request: Request) -> str:
    """Return the form that the client accepts: ndjson where it says so, else json."""
    return "ndjson" if NDJSON in request.headers.get("accept", "") else "json"


async def rendered(
    answer: Answer,
    form: str,
    *,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    heavy: bool = False,
) -> Response:
    """Respond with an answer: at once where it is short, else as it is made, with room for others in between.

    Where it is `heavy`, a sort or a union before the first byte, it is made in a thread. Coverage goes into a header.
    """
    pieces = answer.view.render(answer.partial, answer.span, answer.arguments, form, members or {})
    media_type = NDJSON if form == "ndjson" else JSON
    told = {"Firnline-Coverage": json(coverage_of(answer.coverage)).decode(), **(headers or {})}
    first = await asyncio.to_thread(_gather, pieces) if heavy else _gather(pieces)
    if len(first) < _AT_ONCE_BYTES:
        return Response(first, headers=told, media_type=media_type)

    async def body() -> AsyncIterator[bytes]:
        block = first
        while block:
            yield block
            await asyncio.sleep(0)
            block = await asyncio.to_thread(_gather, pieces) if heavy else _gather(pieces)

    return StreamingResponse(body(), headers=told, media_type=media_type)


def _gather(pieces: Iterator[bytes]) -> bytes:
    """Return the next 64 KiB of `pieces`, or what is left of them."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= _AT_ONCE_BYTES:
            break
    return bytes(block)


def json(body: object) -> bytes:
    """Write any JSON value."""
    return msgspec.json.encode(body)


def span_of(span: Span | None) -> list[int] | None:
    """Return a span as people see it."""
    return None if span is None else [span.start, span.end]


def coverage_of(coverage: Coverage) -> dict[str, object]:
    """Return the coverage as people see it."""
    return {
        "completeFrom": coverage.complete_from,
        "completeTo": coverage.complete_to,
        "finalUntil": coverage.final_until,
        "missing": [span_of(span) for span in coverage.missing],
    }
