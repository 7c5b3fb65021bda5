"""The routes of event counts: by type and by word."""

import asyncio
import time
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from actors.timeline.span import Span
from actors.views.words.arguments import Counting
from gateway.answer import RANGE, ROWS, asked, range_header, rendered, rows_header
from gateway.api import params
from gateway.api.errors import bad
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, coverage_of
from gateway.stream import Served

_MOST = 1_000_000
_LONGEST_S = 10**9

LAST = params.Integer(
    name="last",
    description="This many whole seconds before the present second, by this machine's clock; not together with `startTime` or "
    "`endTime`.",
    low=1,
    high=_LONGEST_S,
)
START = params.Moment(name="startTime", description="Events at or after this second. Default: from the first one.")
END = params.Moment(name="endTime", end=True, description="Events before this second. It must not be before `startTime`.")
LIMIT = params.Integer(name="limit", description="Names at most: those with the highest counts.", low=1, high=_MOST)
DETAIL = params.Flag(
    name="detail", description="1: the counts are the member `counts` of an object that also has `max_error` and `coverage`."
)

_COUNTS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_ANSWER = {
    "description": "The count of each name, the highest first; with detail=1, as `counts`.",
    "anyOf": [
        _COUNTS,
        {
            "type": "object",
            "properties": {
                "counts": _COUNTS,
                "max_error": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "The largest possible error of a count; counts are never too low.",
                },
                "coverage": {"$ref": "#/components/schemas/CoverageReport"},
            },
            "required": ["counts", "max_error", "coverage"],
        },
    ],
}
_LINE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer", "minimum": 0}},
    "required": ["name", "count"],
}
_MAX_ERROR = {"Firnline-Max-Error": "The largest possible error of a count: counts are never too low. 0: all are exact."}


class Routes:
    """Endpoints of one stream of counted events, under its own name and under `/events`."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        endpoints = {"CountByEventType": self.types, "CountWords": self.words}
        return [
            Operation(
                method="GET",
                path=f"/{name}/{path}",
                endpoint=endpoint,
                tag=self._stream.name,
                answer=_ANSWER,
                parameters=(LAST, START, END, LIMIT, DETAIL, FORM, IF_NONE_MATCH),
                forms=forms("a name and its count a line", _LINE),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **RANGE, **CACHING, **_MAX_ERROR},
                lenient=True,
            )
            for name in dict.fromkeys(("events", self._stream.name))
            for path, endpoint in endpoints.items()
        ]

    async def types(self, request: Request) -> Response:
        """Events by type.

        Without a time, all events since the start, also those whose collectors were dropped. A range is widened to whole
        seconds.
        """
        return await self._counted(request, "types")

    async def words(self, request: Request) -> Response:
        """Words of all events.

        Without a time, all events since the start, also those whose collectors were dropped. A range is widened to whole
        seconds.
        """
        return await self._counted(request, "words")

    async def _counted(self, request: Request, of: Literal["types", "words"]) -> Response:
        limit = min(LIMIT.of(request) or _MOST, self._asker.allowance.now.max_rows)
        counting, span = Counting(of, limit), _span(request)
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, counting, hold)
            remarks = await asyncio.to_thread(answer.view.remarks, answer.partial, counting)
            members = {**remarks, "coverage": coverage_of(answer.coverage)} if DETAIL.of(request) else {}
            headers = {"Firnline-Max-Error": str(remarks["max_error"]), **rows_header(limit), **range_header(span)}
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, headers=headers, heavy=True)


def _span(request: Request) -> Span:
    """Return the span of the request: the last seconds by the wall clock, a range, or all time.

    Counts are by second, so the last seconds end with the last one that is over. Events of the future are not in them.
    """
    last = LAST.of(request)
    if last is None:
        return params.between(request, START, END)
    for time_of in (START, END):
        if time_of.of(request) is not None:
            raise bad(time_of.name, "either last or a range", request.query_params[time_of.name])
    second = time.time_ns() // 10**9
    return Span(1_000 * (second - last), 1_000 * second)
