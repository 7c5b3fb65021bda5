"""The route of a stream's history, which the live page draws and any program may read."""

import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.errors import Problem, near
from gateway.api.forms import json_response
from gateway.api.operation import Operation
from gateway.api.params import InPath, Integer
from gateway.page.history import KEPT_S, POINTS, Histories
from gateway.schemas import Answer

_Meta = msgspec.Meta
_DEFAULT_POINTS = 360
Values = list[float | None]

LAST = Integer(name="last", description=f"This many seconds before now. Default: {KEPT_S}.", low=1, high=KEPT_S)
MOST = Integer(
    name="points",
    description=f"Points at most; neighbours share a point if there are more. Default: {_DEFAULT_POINTS}.",
    low=1,
    high=POINTS,
)


class MarkReport(Answer, frozen=True):
    """What happened to a stream."""

    at: Annotated[float, _Meta(description="Seconds since 1970.")]
    kind: Annotated[
        str,
        _Meta(description="started, reloaded, restarted, retired, dropped, failed, given up, troubled or recovered."),
    ]
    text: Annotated[str, _Meta(description="What happened, for people.")]


class SavedReport(Answer, frozen=True):
    """A checkpoint that was saved."""

    number: Annotated[int, _Meta(description="Its id.")]
    at: Annotated[float, _Meta(description="When it was saved: seconds since 1970.")]
    seconds: Annotated[float, _Meta(description="Seconds that it took.")]
    bytes: Annotated[int, _Meta(description="Bytes of its own file.")]


class HistoryReport(Answer, frozen=True):
    """The history of a stream as columns of equal length. A value is null if the stream did not reply at that time."""

    stream: str
    began: Annotated[float, _Meta(description="When this process began to keep it: seconds since 1970.")]
    step_seconds: Annotated[float, _Meta(description="Seconds of a point.")]
    at: Annotated[list[float], _Meta(description="The end of each point: seconds since 1970, ascending.")]
    records: Annotated[Values, _Meta(description="Records read per second.")]
    answers: Annotated[Values, _Meta(description="Answers made per second, such as sets.")]
    refused: Annotated[Values, _Meta(description="Records refused per second.")]
    late: Annotated[Values, _Meta(description="Late events per second.")]
    lag: Annotated[Values, _Meta(description="Records in Kafka that are not read yet; null while the brokers do not answer.")]
    memory: Annotated[Values, _Meta(description="Bytes that count against the stream's budget.")]
    held: Annotated[Values, _Meta(description="Answers held.")]
    marks: Annotated[list[MarkReport], _Meta(description="What happened, the oldest first.")]
    checkpoints: Annotated[
        list[SavedReport], _Meta(description="The last 180 checkpoints, the oldest first. Of those within 10 s, the last.")
    ]


class HistoryRoutes:
    """The endpoint."""

    def __init__(self, histories: Histories, names: Sequence[str]) -> None:
        self._histories = histories
        self._names = list(names)
        self._name = InPath(
            name="name",
            description="The name of a stream.",
            form={"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
            example=next(iter(names), None),
        )

    def operations(self) -> list[Operation]:
        """Return the table of operations."""
        return [
            Operation(
                method="GET",
                path="/streams/{name}/history",
                endpoint=self.history,
                tag="service",
                parameters=(self._name, LAST, MOST),
                answer=HistoryReport,
                statuses={404: "There is no such stream."},
            )
        ]

    async def history(self, request: Request) -> Response:
        """Show rates, lag and memory of a stream over the last hours, and what happened to it.

        The service looks at each stream every ten seconds, and keeps 24 hours. The history begins with the process.
        """
        name = self._name.of(request)
        if name not in self._names:
            raise Problem(404, where="path", expected=near(name, self._names, "the name of a stream"), got=name[:100])
        last, points = LAST.of(request) or KEPT_S, MOST.of(request) or _DEFAULT_POINTS
        found = self._histories.of(name).since(time.time() - last, points)
        marks = [MarkReport(*mark) for mark in found.marks]
        values = {key: list(row) for key, row in found.values.items()}
        saved = [SavedReport(*each) for each in found.saved]
        began = self._histories.began
        return json_response(HistoryReport(name, began, found.step_s, found.at, **values, marks=marks, checkpoints=saved))
