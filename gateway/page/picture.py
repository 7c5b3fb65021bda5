"""One stream in the page's form: its stats as small JSON values of bounded size, however much the stream holds.

The ticker makes it once a tick for all clients. `now` always changes; `memory`, the frozen and dropped generations, changes
when a generation retires, spills or is dropped.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from actors.replies import Durability, Progress, Stats
from actors.views.view import Meta, View
from gateway.coverage import coverage_of
from gateway.page.forecast import forecast
from gateway.schemas import bounds_of
from gateway.stream import Served

MOST_BARS = 300
"""Bars of a stream. With more generations, neighbours share a bar."""

Bar = list[Any]
"""Number, state, start, end, answers, events, bytes in memory, bytes on disk alone, and the number of generations."""

_MOST_PARTITIONS = 64
_MOST_MISSING = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """Both parts, as JSON values."""

    now: dict[str, Any]
    memory: dict[str, Any]


def picture(stream: Served, stats: Stats) -> Picture:
    """Return the picture of a stream. Cost: O(generations), about 2 us each."""
    bars = [
        _bar(stats.view, number, meta, "spilled" if meta.file_bytes else "aged")
        for number, meta in zip(stats.numbers, stats.aged, strict=False)
        if meta.span is not None
    ]
    memory = {
        "bars": merged(bars, MOST_BARS),
        "generations": len(stats.aged),
        "gone": [
            [each.number, *bounds_of(each.span), each.events, each.nbytes, each.reason, each.at]
            for each in reversed(stats.pruned)
            if each.span is not None
        ],
    }
    return Picture(_now(stream, stats, bars), memory)


def merged(bars: Sequence[Bar], most: int) -> list[Bar]:
    """Return at most `most` bars. Neighbours share one, which has their number; it is spilled if all of them are.

    Neighbours are grouped by their numbers, so that groups stay stable while generations come and go.

    >>> merged([[4, "aged", 0, 5, 1, 1, 8, 0, 1], [5, "spilled", 5, 9, 2, 2, 1, 8, 1], [6, "aged", 9, 12, 1, 1, 8, 0, 1]], 2)
    [[4, 'aged', 0, 9, 3, 3, 9, 8, 2], [6, 'aged', 9, 12, 1, 1, 8, 0, 1]]
    """
    if len(bars) <= most:
        return list(bars)
    each = 1
    while (bars[-1][0] // each) - (bars[0][0] // each) >= most:
        each *= 2
    return [_joined(list(group)) for _, group in groupby(bars, key=lambda bar: bar[0] // each)]


def _joined(bars: Sequence[Bar]) -> Bar:
    spilled = all(bar[1] == "spilled" for bar in bars)
    low, high = min(bar[2] for bar in bars), max(bar[3] for bar in bars)
    sums = (sum(bar[column] for bar in bars) for column in range(4, 9))
    return [bars[0][0], "spilled" if spilled else "aged", low, high, *sums]


def _bar(view: View, number: int, meta: Meta, state: str) -> Bar:
    span = meta.span
    start, end = (span.start, span.end) if span is not None else (None, None)
    return [number, state, start, end, _answers(view, meta.summary), meta.events, meta.nbytes, meta.file_bytes, 1]


def _answers(view: View, summary: Any) -> int:
    count: int = getattr(summary, view.answers)
    return count


def _now(stream: Served, stats: Stats, bars: Sequence[Bar]) -> dict[str, Any]:
    progress, memory, active = stats.progress, stats.memory, stats.active
    held = [sum(bar[column] for bar in bars) for column in range(4, 8)]
    spilled = sum(bar[1] == "spilled" for bar in bars)
    answers = held[0] + _answers(stats.view, active.summary)
    others = memory.accounted_bytes - active.nbytes - sum(meta.nbytes for meta in stats.aged)
    foreseen = forecast(stats.aged, memory.budget_bytes - others - active.nbytes)
    return {
        "name": stream.name,
        "view": stream.view,
        "source": stream.source,
        "steps": stream.steps,
        "granularities": stream.granularities,
        "unit": stream.time_unit,
        "unitBecause": progress.unit.because if progress.unit is not None else None,
        "state": "reading its checkpoint" if stats.starting else progress.state,
        "starting": stats.starting,
        "trouble": _trouble(progress),
        "lastRecordAt": progress.last_record_at,
        "active": _bar(stats.view, stats.numbers[-1] if stats.numbers else 0, active, "live"),
        "held": {
            "generations": len(stats.aged),
            "spilled": spilled,
            "answers": answers,
            "events": held[1] + active.events,
            "bytes": held[2] + active.nbytes,
            "fileBytes": held[3],
        },
        "made": answers + _answers(stats.view, stats.gone),
        "coverage": {**coverage_of(stats.coverage), "missing": []},
        "missing": [[reason, *bounds_of(span), count] for reason, span, count in stats.missing[:_MOST_MISSING]],
        "dropped": stats.dropped,
        "droppedGenerations": stats.dropped_generations,
        "missed": stats.missed,
        "memory": {
            "budget": memory.budget_bytes,
            "accounted": memory.accounted_bytes,
            "others": others,
            "rss": memory.rss_bytes,
            "emergencies": memory.emergencies,
        },
        "forecast": {
            "room": foreseen.room_bytes,
            "bytesPerTime": foreseen.bytes_per_time,
            "reach": foreseen.reach,
            "generations": foreseen.generations,
            "why": foreseen.why,
        },
        "records": progress.records,
        "events": progress.events,
        "other": progress.other,
        "rejects": progress.rejects,
        "late": progress.late,
        "ahead": progress.ahead,
        "apart": progress.apart,
        "apartFrom": progress.apart_from,
        "buffered": progress.buffered,
        "inFlight": progress.in_flight,
        "credits": progress.credits,
        "watermark": progress.watermark,
        "heldBackBy": progress.held_back_by,
        "heldBackBecause": progress.held_back_because,
        "openTransactions": len(progress.transactions),
        **_lag(progress.lag, progress.offsets),
        "lastBatchAt": stats.last_batch_at,
        "checkpoint": _checkpoint(stats.durability),
        "outputProblem": stats.output_problem,
    }


def _lag(lag: Mapping[int, int], offsets: Mapping[int, int]) -> dict[str, Any]:
    """Return the partitions with the largest lag, as (partition, lag, next offset), and the lag of all partitions together."""
    most = heapq.nlargest(_MOST_PARTITIONS, lag.items(), key=lambda each: each[1])
    return {
        "lag": sorted((number, count, offsets.get(number)) for number, count in most),
        "lagTotal": sum(lag.values()),
        "partitions": len(lag),
    }


def _trouble(progress: Progress) -> dict[str, Any] | None:
    """Return why no records come. A topic that never had a record is only awaited, as the state shows."""
    trouble = progress.trouble
    if trouble is None or (trouble.state == "absent" and progress.last_record_at is None):
        return None
    return {"state": trouble.state, "since": trouble.since, "reasons": trouble.reasons}


def _checkpoint(durability: Durability | None) -> dict[str, Any] | None:
    if durability is None:
        return None
    return {
        "number": durability.checkpoint,
        "at": durability.at,
        "seconds": durability.seconds,
        "bytes": durability.nbytes,
        "saved": durability.saved,
        "failed": durability.failed,
        "problem": durability.problem,
        "copyProblem": durability.copy_problem,
        "recoveredFrom": durability.recovered_from,
        "loading": durability.loading,
        "unread": durability.lost[:10],
    }
