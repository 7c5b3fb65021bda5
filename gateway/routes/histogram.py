"""The route of the number of answers by event time, of each view that can count them so."""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.views.kinds import VIEWS
from gateway.answer import RANGE, asked, range_header, rendered
from gateway.api import params
from gateway.api.forms import CACHING, FORM, IF_NONE_MATCH, STATUSES, forms
from gateway.api.operation import Operation
from gateway.ask import Asker
from gateway.coverage import COVERAGE, WITH_COVERAGE, coverage_of
from gateway.schemas import Count, CoverageReport
from gateway.stream import Served

_Meta = msgspec.Meta
MOST = 10_000
"""Buckets of an answer."""


class Bucket(msgspec.Struct, frozen=True):
    """Answers whose time is in [start, start + width)."""

    start: Annotated[int, _Meta(description="The first time of the bucket, in the stream's unit.")]
    count: Annotated[Count, _Meta(description="Answers; buckets without any are left out.")]


class HistogramAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The number of answers by event time."""

    buckets: list[Bucket]
    width: Annotated[int, _Meta(description="The length of a bucket, in the stream's unit.")]
    coverage: CoverageReport | msgspec.UnsetType = msgspec.UNSET


class HistogramRoutes:
    """Endpoint of one stream whose view counts its answers by time; other streams have none."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream
        self._width = params.Length(
            name="width",
            description="The length of a bucket, such as 5m, or a number in the stream's unit; a bucket begins at a multiple "
            f"of it. A multiple is taken if the range had more than {MOST} buckets. Default: the shortest length that gives at "
            "most 200 buckets.",
            high=2**62,
            unit_of=stream.unit_of,
        )
        self._start, self._end = params.range_of(stream.unit_of, "Answers", required=True)

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        if VIEWS[self._stream.view].buckets(1) is None:
            return []
        return [
            Operation(
                method="GET",
                path=f"/{self._stream.name}/histogram",
                endpoint=self.histogram,
                tag=self._stream.name,
                answer=HistogramAnswer,
                parameters=(self._start, self._end, self._width, WITH_COVERAGE, FORM, IF_NONE_MATCH),
                forms=forms("a bucket a line", Bucket),
                statuses=STATUSES,
                headers={**COVERAGE, **RANGE, **CACHING},
            )
        ]

    async def histogram(self, request: Request) -> Response:
        """Count the answers in [startTime, endTime) by event time.

        Buckets begin at multiples of `width`, so they stay the same while the range moves. Empty ones are left out.
        """
        span = params.between(request, self._start, self._end)
        length = span.end - span.start
        width = self._width.of(request) or max(1, -(-length // 200))
        width *= max(1, -(-length // (width * MOST)))
        with self._asker.room.hold() as hold:
            answer = await asked(self._asker, self._stream, span, VIEWS[self._stream.view].buckets(width), hold)
            members: dict[str, object] = {"width": width}
            if WITH_COVERAGE.of(request):
                members["coverage"] = coverage_of(answer.coverage)
            headers = range_header(span)
            return await rendered(answer, FORM.of(request), hold, request=request, members=members, headers=headers, heavy=True)
