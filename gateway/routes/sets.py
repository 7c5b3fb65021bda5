"""The route of a stream of sets: the sets of a time range."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from actors.columns.times import INT64_MIN
from actors.replies import Answer
from actors.timeline.span import Span
from actors.views.sets.arguments import NAMES, Cursor, Page
from actors.views.view import Block
from gateway.admission import RETRY_AFTER_S
from gateway.answer import RANGE, ROWS, CutError, asked, range_header, rendered, rows_header
from gateway.api import params
from gateway.api.errors import Problem
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Link, Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.stream import Served

MOST = 1_000_000

_AT_ONCE = 16_384
"""Sets of a page. A longer answer is read page by page: it copies no more than a page, and keeps no dropped slice in memory.
"""

_WRITTEN = 256
"""Sets of a block of a long answer. It is smaller than the server's buffer: a stalled client keeps a block and a buffer."""

_TRIES = 5

LIMIT = params.Integer(name="limit", description="Sets at most. If more follow, the answer has their cursor.", low=1, high=MOST)


class Routes:
    """Endpoints of one stream of sets."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._start, self._end = params.range_of(stream.unit_of, "Sets whose first event is", required=True)
        self._cursor = params.Text(
            name="cursor",
            description="The `next` of a page: returns the sets after that page. A cursor never expires.",
            pattern=rf"[0-9]{{1,19}}(\.[0-9]{{1,19}}){{{len(stream.steps)}}}",
            read=lambda text: Cursor.parse(text, steps=len(stream.steps)),
            expected="the `next` of a page of this stream",
        )

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
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
                        "next": {"type": "string", "description": "The cursor of the sets that follow; absent at the end."},
                        "coverage": {"$ref": "#/components/schemas/CoverageReport"},
                    },
                    "required": ["sets"],
                },
                parameters=(self._start, self._end, LIMIT, self._cursor, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("a set a line", item),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **RANGE, **CACHING},
                lenient=True,
                links={"next": Link(path=path, parameters=following, description="The next page, if there is one.")},
            )
        ]

    async def get_sets(self, request: Request) -> Response:
        """Complete sets whose first time lies in [startTime, endTime), by that time.

        JSON has `next` if there are more sets than `limit` or http.max_rows. The other formats have no place for it. If such an
        answer has as many rows as the header `Firnline-Rows` allows, more sets may follow. Their cursor is made of the times of
        the last set and the number of equal sets at the end, joined by dots, such as `10.20.30.1`.
        """
        span, wanted, form = params.between(request, self._start, self._end), self._page(request), FORM.of(request)
        first = Page(_at_once(wanted.limit), wanted.after)
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, first, hold)
            members: dict[str, object] = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            headers = {**rows_header(wanted.limit or MOST), **range_header(span)}
            if first == wanted:
                return await rendered(answer, form, hold, request=request, members=members, headers=headers)
            pages, whole = self._blocks(answer, span, wanted), _whole(answer, first)
            return await rendered(
                answer, form, hold, request=request, members=members, headers=headers, pages=pages, whole=whole
            )

    async def _blocks(self, answer: Answer, span: Span, wanted: Page) -> AsyncGenerator[Block]:
        """Yield sets in short blocks, page by page. The last block says what follows, if the limit has cut the answer off."""
        left, place = wanted.limit, wanted.after
        while True:
            following: Any = None
            for block in answer.view.blocks(answer.partial, span, Page(_at_once(left), place)):
                columns, following = block
                count = len(columns[0])
                if left is not None:
                    left -= count
                for low in range(0, count, _WRITTEN):
                    yield Block([column[low : low + _WRITTEN] for column in columns])
            if following is None:
                return
            if left == 0:
                yield Block([column[:0] for column in columns], following)
                return
            place = following
            answer = await self._next(span, Page(_at_once(left), place), answer)

    async def _next(self, span: Span, wanted: Page, before: Answer) -> Answer:
        """Return the next page. Raises CutError if sets after the page `before` were dropped, or if no reply comes in time."""
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


def _whole(answer: Answer, first: Page) -> bool:
    """Whether the first page is the whole answer. Not examined if the answer can have no tag."""
    if answer.origin is None:
        return False
    return all(block.following is None for block in answer.view.blocks(answer.partial, answer.span, first))


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
