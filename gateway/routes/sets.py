"""The routes of a stream of sets: the sets of a time range, and in which set an event stands."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from actors.columns.times import INT64_MIN
from actors.replies import Answer, Coverage
from actors.timeline.span import Span
from actors.views.sets.arguments import NAMES, Cursor, Explain, Page
from actors.views.view import Block, listed
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

_WRITTEN_BYTES = 245_760
"""Bytes of a block of a long answer, about: a stalled client keeps two blocks, and the server's buffer.

Each block costs a turn of the event loop, a system call, and a wake of the client. A block of 1,536 sets of three steps has
215,040 bytes. Blocks of 2,048 sets would take 2 % less CPU, but 39 clients that never read then hold 66 MiB instead of 57.
"""

_EVENT_BYTES = len(',"r":{"name":"","timestamp":1685695916000}')
"""Bytes of an event of a set as JSON, without the name of its step, about."""

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

        self._step = params.Choice(
            name="step",
            description="The step of the event.",
            words=stream.steps,
            required=True,
            example="".join(stream.steps[:1]),
        )
        self._time = params.Time(
            name="time",
            description="The time of the event: a number in the stream's unit, or a date.",
            required=True,
            unit_of=stream.unit_of,
            example="2023-06-02T08:51:56Z",
        )

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        path, item = f"/{self._stream.name}/get-sets", set_schema(self._stream.steps)
        told = explained_schema(self._stream.steps)
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
            ),
            Operation(
                method="GET",
                path=f"/{self._stream.name}/explain",
                endpoint=self.explain,
                tag=self._stream.name,
                answer={
                    "type": "object",
                    "properties": {
                        "events": {"type": "array", "items": told},
                        "coverage": {"$ref": "#/components/schemas/CoverageReport"},
                    },
                    "required": ["events"],
                },
                parameters=(self._step, self._time, WITH_COVERAGE, FORM),
                forms=forms("a set or a reason a line", told),
                statuses={status: about for status, about in STATUSES.items() if status != 304},
                headers={**COVERAGE, **ROWS},
            ),
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
            opened = _opened(answer, first)
            pages, whole = self._blocks(answer, span, wanted, opened), opened is not None and _whole(opened)
            return await rendered(
                answer, form, hold, request=request, members=members, headers=headers, pages=pages, whole=whole
            )

    async def explain(self, request: Request) -> Response:
        """Events of a step at a time: in which sets they stand, and why others stand in none.

        A row has the number of events that it holds for. If no such event is known, there is one row with the count 0.
        """
        time, step = self._time.of(request), self._step.of(request)
        assert time is not None and step is not None, "required"  # noqa: PT018
        most = min(self._asker.allowance.now.max_rows, MOST)
        wanted = Explain(limit=most, step=self._stream.steps.index(step), time=time)
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, Span(time, time + 1), wanted, hold)
            found = await asyncio.to_thread(list, answer.view.blocks(answer.partial, answer.span, wanted))
            told = list(_with_reasons(found, answer.coverage, time))
            members = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            return await rendered(
                answer,
                FORM.of(request),
                hold,
                request=request,
                members=members,
                headers=rows_header(most),
                pages=_each(told),
                whole=False,
            )

    async def _blocks(
        self, answer: Answer, span: Span, wanted: Page, opened: deque[Block] | None = None
    ) -> AsyncGenerator[Block]:
        """Yield sets in short blocks, page by page. The last block says what follows, if the limit has cut the answer off.

        `opened` are the blocks of the first page, if they are read already; each is removed when it is yielded.
        """
        left, place = wanted.limit, wanted.after
        most = _sets_of_a_block(self._stream.steps)
        found = answer.view.blocks(answer.partial, span, Page(_at_once(left), place)) if opened is None else _drained(opened)
        while True:
            following: Any = None
            for block in found:
                columns, following = block
                count = len(columns[0])
                if left is not None:
                    left -= count
                for low in range(0, count, most):
                    yield Block([column[low : low + most] for column in columns])
            if following is None:
                return
            if left == 0:
                yield Block([column[:0] for column in columns], following)
                return
            place = following
            answer = await self._next(span, Page(_at_once(left), place), answer)
            found = answer.view.blocks(answer.partial, span, Page(_at_once(left), place))

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


def _opened(answer: Answer, first: Page) -> deque[Block] | None:
    """Return the blocks of the first page. None if the answer can have no tag: then no block is needed before it is sent."""
    return None if answer.origin is None else deque(answer.view.blocks(answer.partial, answer.span, first))


def _whole(opened: Iterable[Block]) -> bool:
    """Whether the blocks of the first page are the whole answer."""
    return all(block.following is None for block in opened)


def _drained(opened: deque[Block]) -> Iterator[Block]:
    """Remove and yield each block."""
    while opened:
        yield opened.popleft()


def _with_reasons(found: Sequence[Block], coverage: Coverage, time: int) -> Iterator[Block]:
    """Yield the rows of an explanation with what the coverage tells: why no event is known, or that it may have come late."""
    late = coverage.final_until is not None and time < coverage.final_until
    for block in found:
        counts, states, reasons, *times = map(listed, block.columns)
        if late:
            reasons = [each and f"{each}; or it came when the sets of its time were final" for each in reasons]
        yield Block([counts, states, reasons, *times])
    if not any(len(block.columns[0]) for block in found):
        yield Block([[0], ["unknown"], [_unknown(coverage, time)], *([None] for _ in found[0].columns[3:])])


def _unknown(coverage: Coverage, time: int) -> str:
    if coverage.complete_from is not None and time < coverage.complete_from:
        return f"dropped, or it never came: answers begin at {coverage.complete_from}"
    if coverage.complete_to is None or time >= coverage.complete_to:
        return f"not yet: answers are complete to {'no time yet' if coverage.complete_to is None else coverage.complete_to}"
    if any(span.start <= time for span in coverage.missing):
        return "a part of the answer is missing: see coverage"
    return "no such event came, or it was refused"


async def _each(blocks: Sequence[Block]) -> AsyncGenerator[Block]:
    for block in blocks:
        yield block


def explained_schema(steps: Sequence[str]) -> dict[str, Any]:
    """Return the JSON Schema of one row of an explanation of a stream with these steps."""
    time = {"type": ["integer", "null"]}
    return {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 0, "description": "The number of events for which this holds."},
            "state": {
                "enum": ["set", "waiting", "unmatched", "unknown"],
                "description": "set: in this set; waiting: it may still be in one; unmatched: only with a late event; "
                "unknown: there is no such event.",
            },
            "reason": {"type": ["string", "null"], "description": "Why it stands in no set."},
            "set": {
                "type": "object",
                "description": "The time of each event of the set, in the stream's unit; null without a set.",
                "properties": {step.lower(): time for step in steps},
                "required": [step.lower() for step in steps],
                "additionalProperties": False,
            },
        },
        "required": ["count", "state", "reason", "set"],
        "additionalProperties": False,
    }


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


def _sets_of_a_block(steps: Sequence[str]) -> int:
    """Return how many sets of a stream with these steps a block of a long answer has."""
    return max(1, _WRITTEN_BYTES // sum(_EVENT_BYTES + len(NAMES.get(step, step)) for step in steps))


def _at_once(limit: int | None) -> int:
    return _AT_ONCE if limit is None else min(limit, _AT_ONCE)
