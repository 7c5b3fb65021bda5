"""What is probably wrong with a stream that reads records and has no answers: for the log. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from actors.replies import Stats
from gateway.stream import Served

_FEW = 20
_MANY = 1_000
_NEXT = "correct view, record or steps (docs/views/{}.md has its records): `firnline config try` shows how records are read"


class Doubt(NamedTuple):
    """Why a stream has no answers, and what to do."""

    reason: str
    next: str


def doubt_of(stream: Served, stats: Stats) -> Doubt | None:
    """Return why the stream has no answers; None if it has some, if few records came, or if the reason is not known."""
    progress, advice = stats.progress, _NEXT.format(stream.view)
    if progress.records >= _FEW and not progress.events:
        kinds = sorted(progress.rejects.items(), key=lambda each: -each[1])
        found = [f"{count:,} refused: {reason}" for reason, count in kinds[:3]]
        if progress.other:
            found.append(f"{progress.other:,} other, which have no step of the configuration")
        return Doubt(f"none of {progress.records:,} records is an event ({'; '.join(found)})", advice) if found else None
    waiting: Sequence[int] = getattr(stats.active.summary, "waiting", ())  # of each step, if the view makes rows of steps
    if progress.events < _MANY or not waiting:
        return None
    summaries = (stats.gone, stats.active.summary, *(meta.summary for meta in stats.aged))
    if any(getattr(summary, stats.view.answers) for summary in summaries):
        return None
    absent = [step for step, count in zip(stream.steps, waiting, strict=True) if not count]
    reason = f"no set after {progress.events:,} events: no event of step {', '.join(absent)} waits"
    return Doubt(reason, advice) if absent else None
