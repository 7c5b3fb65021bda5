"""The route of unique users: the rows of a granularity, over a range of time."""

from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.views.uniques.periods import GRANULARITIES
from actors.views.uniques.slices import Rows
from actors.views.view import Meta
from gateway.answer import ROWS, asked, rendered, rows_header, weighed
from gateway.api import params
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.schemas import Count, CoverageSaid
from gateway.stream import Served

_Meta = msgspec.Meta
_MOST = 10_000_000


class UniqueRow(msgspec.Struct, frozen=True):
    """Unique users of one period."""

    granularity: Literal["minute", "hour", "day", "week", "month", "year"]
    start: Annotated[int, _Meta(description="Seconds since 1970.")]
    end: Annotated[int, _Meta(description="Seconds since 1970; not in it.")]
    unique: Annotated[Count, _Meta(description="Different users.")]
    frames: Annotated[Count, _Meta(description="Frames of them.")]
    lower: Annotated[Count, _Meta(description="With 95 %, there are no fewer users.")]
    upper: Annotated[Count, _Meta(description="With 95 %, there are no more users.")]
    exact: Annotated[bool, _Meta(description="Whether they were counted, and not estimated.")]
    final: Annotated[bool, _Meta(description="Whether the period is over for the stream; late frames may still change it.")]
    revision: Annotated[int, _Meta(ge=1, description="1, and 1 more for each time that it was corrected.")]


class Uniques(msgspec.Struct, frozen=True, omit_defaults=True):
    """Periods of one granularity, by time."""

    uniques: list[UniqueRow]
    coverage: CoverageSaid | msgspec.UnsetType = msgspec.UNSET
    next: Annotated[int, _Meta(description="There are more, and this is their `start`.")] | msgspec.UnsetType = msgspec.UNSET


GRANULARITY = params.OneOf(
    name="granularity", description="The length of the periods.", words=tuple(GRANULARITIES), default="minute"
)
START = params.Moment(name="start", description="Periods that begin at or after this time; absent: from the first.")
END = params.Moment(name="end", description="Periods that begin before this time, which must not be before `start`.")
LIMIT = params.Integer(name="limit", description="Periods at most, the first ones.", low=1, high=_MOST)


class UniqueRoutes:
    """Endpoints of one stream of frames, which is asked by its own name."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def operations(self) -> list[Operation]:
        """Return the table."""
        return [
            Operation(
                method="GET",
                path=f"/{self._stream.name}",
                endpoint=self.rows,
                tag=self._stream.name,
                answer=Uniques,
                parameters=(GRANULARITY, START, END, LIMIT, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("a period a line", UniqueRow),
                statuses=STATUSES,
                headers={**COVERAGE, **ROWS, **CACHING},
            )
        ]

    async def rows(self, request: Request) -> Response:
        """Users of each period of a `granularity` that begins in [start, end), each counted once.

        Hours and longer periods are those of the stream's time zone. An estimated number says its bounds. JSON has `next` where
        there are more than `limit`, or than http.max_rows.
        """
        span, limit = params.between(request, START, END), min(LIMIT.of(request) or _MOST, self._asker.allowance.now.max_rows)
        with await weighed(self._asker, self._stream, span, _size) as hold:
            answer = await asked(self._asker, self._stream, span, Rows(GRANULARITY.of(request), limit=limit))
            members = {"coverage": coverage_of(answer.coverage)} if WITH_COVERAGE.of(request) else {}
            told = rows_header(limit)
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, headers=told, heavy=True)


def _size(meta: Meta) -> int:
    """Return what an answer takes of a slice: the hashes as they are read, and their union."""
    return 2 * meta.nbytes
