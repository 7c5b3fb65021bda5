"""Figures of the last whole minute of each stream, for `/metrics`: how many answers, how long they took, how many users.

The minute is one of event time, before the watermark. So its figures change only if late events come.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from actors.replies import Answer, Query
from actors.timeline.span import Span
from actors.timeline.unit import UNITS
from actors.views.kinds import VIEWS
from actors.views.view import listed
from gateway.api.errors import Problem
from gateway.ask import Asker
from gateway.watch.readings import Reading

_MINUTE_S = 60
_MOST = 100
_WHOLE = "whole"
_TOOK = ("p50", "p95", "max")

Rows = list[dict[str, Any]]


class Minute(NamedTuple):
    """The last whole minute of a stream: when it began, in seconds since 1970, and its figures."""

    stream: str
    began_s: int
    rows: Rows
    per_s: int


async def minute_of(asker: Asker, reading: Reading) -> Minute | None:
    """Ask for the figures of the last whole minute before the watermark; None if the stream has no minute. Cost: a query."""
    stream, stats = reading.stream, reading.stats
    per_s = UNITS.get(stream.time_unit)
    if stats is None or stats.progress.watermark is None or per_s is None:
        return None
    view = VIEWS[stream.view]
    minute = _MINUTE_S * per_s
    end = stats.progress.watermark // minute * minute
    arguments = view.figures(None, per_s, _MOST, stream.granularities) if view.metered and view.timed else None
    if arguments is None:
        return None
    span, deadline_s = Span(end - minute, end), asker.deadline_s
    try:
        answer: Answer = await asker.ask(
            stream.manager, lambda reply_to: Query(span, arguments, deadline_s, reply_to, counts=False)
        )
    except Problem:
        return None
    return Minute(stream.name, span.start // per_s, await asyncio.to_thread(_rows, answer), per_s)


def _rows(answer: Answer) -> Rows:
    names = [field.name for field in answer.view.shape(answer.arguments).fields]
    return [
        dict(zip(names, row, strict=True))
        for block in answer.view.blocks(answer.partial, answer.span, answer.arguments)
        for row in zip(*map(listed, block.columns), strict=True)
    ]


def of_minutes(minutes: Sequence[Minute]) -> Iterator[Metric]:
    """Yield the metrics of minutes. A stream without answers in its minute has a count of 0, and no durations."""
    began = GaugeMetricFamily(
        "firnline_minute_timestamp_seconds", "When the last whole minute before the watermark began.", labels=("stream",)
    )
    answers = GaugeMetricFamily("firnline_minute_answers", "Answers that begin in that minute.", labels=("stream",))
    users = GaugeMetricFamily("firnline_minute_users", "Unique users of that minute.", labels=("stream",))
    took = GaugeMetricFamily(
        "firnline_minute_duration_seconds",
        "How long answers of that minute took: the whole, and each step.",
        labels=("stream", "step", "figure"),
    )
    for each in minutes:
        began.add_metric((each.stream,), each.began_s)
        answers.add_metric((each.stream,), sum(row["count"] for row in each.rows if row.get("step", _WHOLE) == _WHOLE))
        for row in each.rows:
            if "unique" in row:
                users.add_metric((each.stream,), row["unique"])
            for figure, value in _durations(row):
                took.add_metric((each.stream, row["step"], figure), value / each.per_s)
    yield from (began, answers, users, took)


def _durations(row: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    if "step" in row:
        yield from ((figure, row[figure]) for figure in _TOOK if row[figure] is not None)
