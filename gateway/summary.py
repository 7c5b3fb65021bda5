"""The route of figures: how many answers a stream has in a bucket of time, at what rate, and percentiles of what they have."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from actors.timeline.grid import LENGTH, Grid
from actors.timeline.span import EVER
from actors.timeline.unit import UNITS
from actors.views.kinds import VIEWS
from actors.views.view import Shape, View
from gateway.answer import RANGE, asked, range_header, rendered
from gateway.api import params
from gateway.api.errors import bad
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.stream import Served

_AMPLE_BYTES = 32 << 20
"""Memory for answers with which views may keep something for the next summary. With less, they forget it after each one."""

BY = params.Text(
    name="by",
    description="The length of a bucket: in s, m, h or d, such as 1s, 5m, 1h30m or 1d; of uniques, whole minutes. "
    "Default: one bucket for all.",
    pattern=LENGTH,
    read=str,
    expected="a length in s, m, h or d, such as 1s, 5m, 1h30m or 1d",
)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


class Zone(params.Parameter[str]):
    """A time zone of this machine's database; UTC if absent."""

    def parse(self, request: Request) -> str:
        """Return the name of the zone."""
        text = request.query_params.get(self.name, "UTC")
        if text not in _zones():
            raise bad(self.name, "a time zone such as Europe/Berlin", repr(text))
        return text

    def schema(self) -> dict[str, Any]:
        """Return the schema of all names."""
        return {"type": "string", "enum": sorted(_zones()), "default": "UTC"}


ZONE = Zone(name="zone", description="The time zone in which hours begin at midnight, and days.", example="Europe/Berlin")


_TYPES = {"integer": "integer", "number": "number", "text": "string", "flag": "boolean", "integers": "array", "key": "string"}


def row_schema(shape: Shape) -> dict[str, Any]:
    """Return the JSON Schema of a row of figures."""
    properties = {
        field.name: {
            "type": [_TYPES[field.kind], "null"] if field.optional else _TYPES[field.kind],
            "description": field.meaning,
        }
        for field in shape.fields
    }
    return {
        "type": "object",
        "description": "Figures of the answers in one bucket. Buckets without an answer are left out.",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _answer(shape: Shape) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            shape.name: {"type": "array", "items": row_schema(shape)},
            "next": {"type": "integer", "description": "The start of the first bucket that is left out; absent at the end."},
            "coverage": {"$ref": "#/components/schemas/CoverageReport"},
        },
        "required": [shape.name],
        "additionalProperties": False,
    }


class SummaryRoutes:
    """Endpoint of one stream whose view has figures; other streams have none. `statuses` are those of its view's answers."""

    def __init__(self, asker: Asker, stream: Served, statuses: Mapping[int, str] = STATUSES) -> None:
        self._asker = asker
        self._stream = stream
        self._statuses = statuses
        self._start, self._end = params.range_of(stream.unit_of, "Answers")

    def operations(self) -> list[Operation]:
        """Return the table of operations: two paths with the same answer, the second one with the name of the view."""
        shape = self._view.summarised
        if shape is None or self._arguments(None) is None:
            return []
        chosen = (self._start, self._end, BY, ZONE) if self._view.timed else ()
        return [
            Operation(
                method="GET",
                path=path,
                endpoint=self.summary,
                tag=self._stream.name,
                answer=_answer(shape),
                parameters=(*chosen, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("figures of a bucket a line", row_schema(shape)),
                statuses=self._statuses,
                headers={**COVERAGE, **RANGE, **CACHING},
            )
            for path in (f"/{self._stream.name}/summary", f"/{self._stream.name}/{self._stream.view}/summary")
        ]

    async def summary(self, request: Request) -> Response:
        """Figures of the answers in [startTime, endTime), by bucket of time: how many there are, and percentiles.

        A percentile is one of the values: the smallest one that this percentage does not exceed. If there are more rows than
        http.max_rows, JSON has `next`.
        """
        span, grid = EVER, None
        if self._view.timed:
            span, by = params.between(request, self._start, self._end), BY.of(request)
            grid = Grid.of(by, ZONE.of(request)) if by is not None else None
        try:
            arguments = self._arguments(grid)
        except ValueError as error:
            raise bad(BY.name, str(error), request.query_params[BY.name]) from None
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, arguments, hold)
            members: dict[str, object] = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            headers = range_header(span)
            response = await rendered(
                answer, FORM.of(request), hold, request=request, members=members, headers=headers, heavy=True
            )
        if self._asker.room.nbytes < _AMPLE_BYTES:
            response.background = BackgroundTask(asyncio.to_thread, self._view.forget)  # on the thread that answers
        return response

    @property
    def _view(self) -> type[View]:
        return VIEWS[self._stream.view]

    def _arguments(self, grid: Grid | None) -> Any | None:
        """Return the arguments of the query. Raises ValueError for a length of buckets that the view does not have."""
        most = self._asker.allowance.now.max_rows
        return self._view.figures(grid, UNITS.get(self._stream.time_unit, 1), most, self._stream.granularities)
