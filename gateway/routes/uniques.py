"""The route of unique users: the periods of a granularity in a time range."""

from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.views.uniques.arguments import GRANULARITIES, Rows
from gateway.answer import RANGE, ROWS, asked, range_header, rendered, rows_header
from gateway.api import params
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.schemas import Count, CoverageReport
from gateway.stream import Served

_Meta = msgspec.Meta
_MOST = 10_000_000


class UniqueRow(msgspec.Struct, frozen=True):
    """Unique users of one period."""

    granularity: Literal["minute", "hour", "day", "week", "month", "year"]
    start: Annotated[int, _Meta(description="Seconds since 1970.")]
    end: Annotated[int, _Meta(description="Seconds since 1970; the first second after the period.")]
    unique: Annotated[Count, _Meta(description="Distinct users.")]
    frames: Annotated[Count, _Meta(description="Frames of these users.")]
    lower: Annotated[Count, _Meta(description="The lower bound of the number of users, with 95 % confidence.")]
    upper: Annotated[Count, _Meta(description="The upper bound of the number of users, with 95 % confidence.")]
    exact: Annotated[bool, _Meta(description="Whether the users were counted and not estimated.")]
    final: Annotated[bool, _Meta(description="Whether the period is over for the stream; late frames may still change it.")]
    revision: Annotated[int, _Meta(ge=1, description="1, and 1 more for each correction.")]


class Uniques(msgspec.Struct, frozen=True, omit_defaults=True):
    """Periods of one granularity, by time."""

    uniques: list[UniqueRow]
    coverage: CoverageReport | msgspec.UnsetType = msgspec.UNSET
    next: (
        Annotated[int, _Meta(description="The `start` of the first period that is left out; absent if none is.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


START = params.Moment(name="start", description="Periods that begin at or after this time. Default: from the first one.")
END = params.Moment(name="end", end=True, description="Periods that begin before this time. It must not be before `start`.")
LIMIT = params.Integer(name="limit", description="Return at most the first `limit` periods.", low=1, high=_MOST)


class Routes:
    """Endpoints of one stream of frames, under its own name."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        kept = stream.granularities or GRANULARITIES
        self._granularity = params.OneOf(
            name="granularity", description="The length of the periods, one that the stream keeps.", words=kept, default=kept[0]
        )

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        return [
            Operation(
                method="GET",
                path=f"/{self._stream.name}",
                endpoint=self.rows,
                tag=self._stream.name,
                answer=Uniques,
                parameters=(self._granularity, START, END, LIMIT, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("a period a line", UniqueRow),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **RANGE, **CACHING},
            )
        ]

    async def rows(self, request: Request) -> Response:
        """Users of each period of a `granularity` that begins in [start, end), each counted once.

        Hours and longer periods are those of the stream's time zone. An estimated number has bounds. JSON has `next` if there
        are more periods than `limit` or http.max_rows.
        """
        span, limit = params.between(request, START, END), min(LIMIT.of(request) or _MOST, self._asker.allowance.now.max_rows)
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, Rows(self._granularity.of(request), limit=limit), hold)
            members = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            headers = {**rows_header(limit), **range_header(span)}
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, headers=headers, heavy=True)
