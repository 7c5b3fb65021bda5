"""The route of the newest records of a stream, as it reads them."""

from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from actors.replies import GetStats, Sample, Stats
from gateway.api.forms import json_response
from gateway.api.operation import Operation
from gateway.api.params import Integer
from gateway.ask import Asker
from gateway.schemas import Answer, Count, RecordHeader, Text, WrittenAt, headers_of, text_of, written
from gateway.stream import Served

_Meta = msgspec.Meta
_MOST = 100

LIMIT = Integer(name="limit", description=f"Records at most. Default: {_MOST}, which is all that are kept.", low=1, high=_MOST)


class RecordReport(Answer, frozen=True):
    """A record that was read."""

    partition: int
    offset: int
    written_at: WrittenAt
    state: Annotated[
        Literal["event", "refused", "other"],
        _Meta(description="other: it is of no interest to the view, or was put aside, such as one with a time to come."),
    ]
    time: Annotated[int | None, _Meta(description="The time of its event, in the stream's unit; null without one.")]
    reason: Annotated[str | None, _Meta(description="Why it was refused.")]
    length: Annotated[Count | None, _Meta(description="Bytes of its value; null for a tombstone.")]
    value: Annotated[Text, _Meta(description="The first 512 bytes; bytes that are not UTF-8 are escaped.")]
    key: Text | None
    headers: Annotated[list[RecordHeader], _Meta(description="The first headers, within 512 bytes.")]


class RecordList(Answer, frozen=True):
    """The newest records of a stream, the newest first."""

    records: list[RecordReport]
    read: Annotated[Count, _Meta(description="Records that were read; it only grows, but for a return to a checkpoint.")]


class RecordRoutes:
    """Endpoint of one stream."""

    def __init__(self, asker: Asker, stream: Served) -> None:
        self._asker = asker
        self._stream = stream

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        name = self._stream.name
        return [
            Operation(
                method="GET",
                path=f"/{name}/records",
                endpoint=self.records,
                tag=name,
                answer=RecordList,
                parameters=(LIMIT,),
            )
        ]

    async def records(self, request: Request) -> Response:
        """Show the newest records that were read, and what the view made of each.

        The service keeps up to 100, and of each read at least the last one. Beyond 100 records a second most are left out.
        A start begins with none.
        """
        stats: Stats = await self._asker.ask(self._stream.manager, GetStats)
        progress = stats.progress
        reasons = {(each.partition, each.offset): each.reason for each in progress.refused}
        newest = progress.newest[: LIMIT.of(request) or _MOST]
        return json_response(RecordList([_report(each, reasons) for each in newest], progress.records))


def _report(sample: Sample, reasons: dict[tuple[int, int], str]) -> RecordReport:
    reason = None if sample.is_event else reasons.get((sample.partition, sample.offset))
    return RecordReport(
        partition=sample.partition,
        offset=sample.offset,
        written_at=written(sample.written_at),
        state="event" if sample.is_event else "other" if reason is None else "refused",
        time=sample.time,
        reason=reason,
        length=sample.length,
        value=text_of(sample.head),
        key=None if sample.key is None else text_of(sample.key),
        headers=headers_of(sample.headers),
    )
