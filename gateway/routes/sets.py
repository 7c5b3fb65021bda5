"""The route of a stream of sets: the sets of a time range."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.columns.sealed import CHUNK
from actors.columns.times import INT64_MIN
from actors.replies import Answer
from actors.timeline.span import Span
from actors.views.sets.page import Cursor, Page
from actors.views.sets.pieces import Rows
from actors.views.sets.render import NAMES, page, template, write
from actors.views.sets.slices import OPEN_SETS
from actors.views.sets.view import SetsView
from gateway.admission import RETRY_AFTER_S
from gateway.answer import ROWS, SMALL_BYTES, CutError, asked, rendered, responded, rows_header
from gateway.api import params
from gateway.api.caching import caching_headers, not_modified, tag_of
from gateway.api.errors import Problem
from gateway.api.formats import FORMATS, Writer
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Link, Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_header, coverage_of, coverage_within
from gateway.stream import Served

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


Blocks = AsyncGenerator[tuple[Rows | None, Cursor | None]]

LIMIT = params.Integer(name="limit", description="Sets at most; what follows has a cursor.", low=1, high=MOST)


class SetRoutes:
    """Endpoints of one stream of sets."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._start = params.Time(
            name="startTime",
            description=f"Sets whose first event is at or after this time: {stream.time_unit} since 1970, or RFC 3339.",
            required=True,
            unit=stream.time_unit,
            example="2023-06-02T08:51:56Z",
        )
        self._end = params.Time(
            name="endTime",
            description="Sets whose first event is before this time, said likewise; it must not be before `startTime`.",
            required=True,
            unit=stream.time_unit,
            example="2023-06-02T08:52:56Z",
        )
        self._cursor = params.Text(
            name="cursor",
            description="The `next` of a page: what follows it. Good as long as the stream is.",
            pattern=rf"[0-9]{{1,19}}(\.[0-9]{{1,19}}){{{len(stream.steps)}}}",
            read=lambda text: Cursor.parse(text, steps=len(stream.steps)),
            expected="the `next` of a page of this stream",
        )

    def operations(self) -> list[Operation]:
        """Return the table."""
        path, item = f"/{self._stream.name}/get-sets", set_schema(self._stream.steps)
        following = {
            "startTime": "$request.query.startTime",
            "endTime": "$request.query.endTime",
            "cursor": "$response.body#/next",
        }
        return [
            Operation(
                method="GET",
                path=path,
                endpoint=self.get_sets,
                tag=self._stream.name,
                answer={
                    "type": "object",
                    "properties": {
                        "sets": {"type": "array", "items": item},
                        "next": {"type": "string", "description": "The cursor of what follows; absent at the end."},
                        "coverage": {"$ref": "#/components/schemas/CoverageSaid"},
                    },
                    "required": ["sets"],
                },
                parameters=(self._start, self._end, LIMIT, self._cursor, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("a set a line", item),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **CACHING},
                links={"next": Link(path=path, parameters=following, description="The next page, where there is one.")},
            )
        ]

    async def get_sets(self, request: Request) -> Response:
        """Complete sets whose first time lies in [startTime, endTime), by that time.

        JSON has `next` where there is more than `limit`, or than http.max_rows. The other forms have no place for it, as they
        are sent while they are made. Where so many rows came as the header `Firnline-Rows` says, the cursor of what follows is
        the times of the last set and how many sets like it stand at the end, with dots between, such as `10.20.30.1`.
        """
        span, wanted, form = params.between(request, self._start, self._end), self._page(request), FORM.of(request)
        first = Page(_at_once(wanted.limit), wanted.after)
        with self._asker.room.take(self._weight(first)) as hold:
            answer = await asked(self._asker, self._stream, span, first)
            members: dict[str, object] = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            headers = rows_header(wanted.limit or MOST)
            if first == wanted:
                return await rendered(answer, form, hold, request=request, members=members, headers=headers)
            within = {} if FORMATS[form].of is None else coverage_within(answer.coverage, span)
            tag = tag_of(answer, form, {**members, **within}) if _whole(answer, first) else None
            told = {**coverage_header(answer.coverage), **headers, **caching_headers(tag)}
            known = not_modified(request.headers, tag, told)
            if known is not None:
                return known
            blocks = await self._written(form, answer, span, wanted, members)
            return await responded(blocks, hold, headers=told, media_type=FORMATS[form].content_type)

    def _weight(self, asked_for: Page) -> int:
        """Return the bytes of a page: sets of the live slice are copied, and where it is not short, pieces are open."""
        copied = min(asked_for.needed or 0, _LIVE_SETS)
        opened = _OPENED_SETS if copied > _SHORT_SETS else 0
        return SMALL_BYTES + _TIME_BYTES * len(self._stream.steps) * (copied + opened)

    async def _written(
        self, form: str, answer: Answer, span: Span, wanted: Page, members: dict[str, object]
    ) -> AsyncGenerator[bytes]:
        """Return a long answer as it is made, page by page."""
        blocks = self._blocks(answer, span, wanted)
        match form:
            case "json":
                return self._object(blocks, members)
            case "ndjson":
                return self._lines(blocks)
            case _:
                view = answer.view
                assert isinstance(view, SetsView), "this stream's view"
                within = coverage_within(answer.coverage, span)
                writer = await asyncio.to_thread(FORMATS[form].writer, view.fields(), within)  # which may load a package
                return _table(blocks, view, writer)

    async def _lines(self, given: Blocks) -> AsyncGenerator[bytes]:
        form = template(self._stream.steps) + b"\n"
        async with contextlib.aclosing(given) as blocks:
            async for block, _ in blocks:
                if block is not None:
                    yield write(block, form)

    async def _object(self, given: Blocks, members: dict[str, object]) -> AsyncGenerator[bytes]:
        form = template(self._stream.steps) + b","
        lead, end = b'{"sets":[', members
        async with contextlib.aclosing(given) as blocks:
            async for block, following in blocks:
                if following is not None:
                    end = {"next": str(following), **members}
                if block is not None and block[0].size:
                    yield lead + write(block, form)[:-1]
                    lead = b","
        yield (b"" if lead == b"," else lead) + b"]" + (b"," if end else b"") + msgspec.json.encode(end)[1:]

    async def _blocks(self, answer: Answer, span: Span, wanted: Page) -> Blocks:
        """Yield sets in short blocks, page by page; at the end of what is wanted, the place of what follows."""
        left, place = wanted.limit, wanted.after
        while True:
            following: Cursor | None = None
            for block, end in page(answer.partial, span, Page(_at_once(left), place)):
                following = end
                if left is not None:
                    left -= block[0].size
                for low in range(0, block[0].size, _WRITTEN):
                    yield tuple(column[low : low + _WRITTEN] for column in block), None
            if following is None:
                return
            if left == 0:
                yield None, following
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
        most = self._asker.allowance.now.max_rows
        return Page(min(LIMIT.of(request) or most, most), self._cursor.of(request))


async def _table(given: Blocks, view: SetsView, writer: Writer) -> AsyncGenerator[bytes]:
    yield writer.begin()
    async with contextlib.aclosing(given) as blocks:
        async for block, _ in blocks:
            if block is not None and (piece := writer.block(view.named(block))):
                yield piece
    yield writer.end()


def _whole(answer: Answer, first: Page) -> bool:
    """Whether the first page has all. Looked at where the answer may have a tag, as that of a page is none of what follows."""
    return answer.origin is not None and all(following is None for _, following in page(answer.partial, answer.span, first))


def set_schema(steps: Sequence[str]) -> dict[str, Any]:
    """Return the JSON Schema of one set of a stream with these steps."""

    def event(name: str) -> dict[str, Any]:
        members = {"name": {"const": name}, "timestamp": {"type": "integer"}}
        return {"type": "object", "properties": members, "required": ["name", "timestamp"], "additionalProperties": False}

    names = {step.lower(): NAMES.get(step, step) for step in steps}
    return {
        "type": "object",
        "description": "One event of each step, times ascending, in the stream's unit.",
        "properties": {step: event(name) for step, name in names.items()},
        "required": list(names),
        "additionalProperties": False,
    }


def _at_once(limit: int | None) -> int:
    return _AT_ONCE if limit is None else min(limit, _AT_ONCE)
