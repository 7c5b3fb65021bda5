"""The route of figures: how many answers a stream has in a bucket of time, at what rate, and how long they took."""

from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import available_timezones

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.timeline.grid import LENGTH, Grid
from actors.timeline.unit import UNITS
from actors.views.kinds import VIEWS
from gateway.answer import RANGE, asked, range_header, rendered
from gateway.api import params
from gateway.api.errors import bad
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.schemas import Count, CoverageReport
from gateway.stream import Served

_Meta = msgspec.Meta
_Duration = Annotated[int, _Meta(description="In the stream's unit.")]

BY = params.Text(
    name="by",
    description="The length of a bucket: a number of s, m, h or d, such as 1s, 5m, 1h or 1d. Default: one bucket for all.",
    pattern=LENGTH,
    read=str,
    expected="a length such as 1s, 5m, 1h or 1d",
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


class Figures(msgspec.Struct, frozen=True):
    """Figures of the answers in one bucket: of a whole answer, or of one of its steps."""

    start: Annotated[int, _Meta(description="The beginning of the bucket within the range, in the stream's unit.")]
    end: Annotated[int, _Meta(description="The end of the bucket within the range. Without `by`: after the last answer.")]
    step: Annotated[str, _Meta(description="`whole`: from the first event to the last; a step: from the event before it.")]
    count: Annotated[Count, _Meta(description="Answers whose first event is in the bucket.")]
    rate: Annotated[float, _Meta(description="Answers a second, from `start` to `end`.")]
    p50: _Duration
    p95: _Duration
    max: _Duration


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """Figures by bucket, in order of time. Buckets without an answer are left out."""

    summary: list[Figures]
    next: (
        Annotated[int, _Meta(description="The start of the first bucket that is left out; absent at the end.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    coverage: CoverageReport | msgspec.UnsetType = msgspec.UNSET


class SummaryRoutes:
    """Endpoint of one stream whose view has figures; other streams have none."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._start, self._end = params.range_of(stream.unit_of, "Answers")

    def operations(self) -> list[Operation]:
        """Return the table of operations: two paths with the same answer, the second one with the name of the view."""
        if VIEWS[self._stream.view].figures(None, 1, 1) is None:
            return []
        return [
            Operation(
                method="GET",
                path=path,
                endpoint=self.summary,
                tag=self._stream.name,
                answer=Summary,
                parameters=(self._start, self._end, BY, ZONE, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("figures of a bucket a line", Figures),
                statuses=STATUSES,
                headers={**COVERAGE, **RANGE, **CACHING},
            )
            for path in (f"/{self._stream.name}/summary", f"/{self._stream.name}/{self._stream.view}/summary")
        ]

    async def summary(self, request: Request) -> Response:
        """Return count, rate, median, p95 and maximum of the answers in [startTime, endTime), by bucket of time.

        All figures are exact. A percentile is one of the values: the smallest one that this percentage does not exceed.
        """
        span, by = params.between(request, self._start, self._end), BY.of(request)
        grid = Grid.of(by, ZONE.of(request)) if by is not None else None
        most = self._asker.allowance.now.max_rows
        arguments = VIEWS[self._stream.view].figures(grid, UNITS.get(self._stream.time_unit, 1), most)
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, arguments, hold)
            members: dict[str, object] = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            headers = range_header(span)
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, headers=headers, heavy=True)
