"""The types of `get-stats`, made from the manager's reply. Only the rows and totals differ between views."""

import functools
from typing import Annotated, Any, Literal

import msgspec

from actors.replies import Durability, Memory, Progress
from actors.replies import Stats as Reply
from actors.views.kinds import VIEWS
from actors.views.view import Meta
from gateway.coverage import span_of
from gateway.schemas import Answer, AnswerSpan, Count, CoverageReport, Range, TroubleReport

_Meta = msgspec.Meta


class MemoryReport(Answer, frozen=True):
    """Memory, in bytes."""

    budget_bytes: Annotated[Count, _Meta(description="The bytes that this stream may use, with its share of the process.")]
    accounted_bytes: Annotated[Count, _Meta(description="The bytes in use that count against the budget.")]
    baseline_bytes: Annotated[Count, _Meta(description="Of these, the bytes of the process before its first event.")]
    rss_bytes: Annotated[Count, _Meta(description="The resident set of the process.")]
    emergencies: Annotated[
        Count, _Meta(description="Collectors dropped because the resident set was larger than the accounts.")
    ]


class CheckpointReport(Answer, frozen=True):
    """The state of checkpoints."""

    number: Annotated[Count, _Meta(description="The id of the newest checkpoint; 0 before the first one.")]
    saved_at: Annotated[float | None, _Meta(description="When it was saved: seconds since 1970.")]
    seconds: Annotated[float, _Meta(description="Seconds that it took to save.")]
    bytes: Annotated[Count, _Meta(description="Bytes of its own file.")]
    saved: Annotated[Count, _Meta(description="Checkpoints saved since the start.")]
    failed: Annotated[Count, _Meta(description="Failed checkpoints since the newest one was saved.")]
    problem: Annotated[str | None, _Meta(description="Why the last of these failed.")]
    recovered_from: Annotated[Count, _Meta(description="The checkpoint that this process restored at its start; 0 if none.")]
    unread: Annotated[list[str], _Meta(description="Its files that could not be read.")]
    results_in_doubt: Annotated[str | None, _Meta(description="Which results may have come twice, or may be missing.")]
    copy_problem: Annotated[str | None, _Meta(description="Why the newest one is not in the checkpoint topic of a cluster.")]


class Lost(Answer, frozen=True):
    """Events that an answer may lack."""

    reason: str
    span: Annotated[Range | None, _Meta(description="The event times of these events, in the stream's unit.")]
    count: Annotated[Count, _Meta(description="The number of events; 0 if it is unknown.")]


class PrunedReport(Answer, frozen=True):
    """A collector that was dropped."""

    span: AnswerSpan
    events: Annotated[int, _Meta(description="Events that it held.")]
    bytes: Annotated[Count, _Meta(description="Bytes that it took.")]
    reason: Annotated[str, _Meta(description="Why it was dropped.")]
    at: Annotated[float, _Meta(description="When it was dropped: seconds since 1970.")]


class Slice(Answer, frozen=True):
    """The members that the row of every collector has."""

    state: Annotated[Literal["aged", "active"], _Meta(description="The active one takes in events; aged ones are frozen.")]
    span: AnswerSpan
    events: Annotated[int, _Meta(description="Events that it holds, answered or waiting.")]
    bytes: Annotated[Count, _Meta(description="Bytes of memory.")]
    file_bytes: Annotated[Count, _Meta(description="Bytes that are in its file only.")]


class HeldBack(Answer, frozen=True):
    """The partition that holds the watermark back."""

    partition: int
    reason: Annotated[str, _Meta(description="Why, such as `an open transaction since offset 60`.")]


class UnitReport(Answer, frozen=True):
    """The unit of the event times, and how it came."""

    name: Annotated[str, _Meta(description="s, ms, us or ns.")]
    basis: Annotated[
        Literal["given", "assumed", "decided"],
        _Meta(
            description="`given`: by the settings. `decided`: by the first plausible time. `assumed`: no time was plausible."
        ),
    ]
    because: Annotated[str | None, _Meta(description="The time that has decided it, and where it was found.")]


class Stats(Answer, frozen=True, kw_only=True):
    """The state of a stream: a row for each collector, aged ones first, oldest first, the active one last; and totals."""

    data: Annotated[list[dict[str, Any]], _Meta(description="The collectors.")]
    total: Annotated[dict[str, Any], _Meta(description="All collectors together, with the dropped ones.")]
    coverage: CoverageReport
    memory: MemoryReport
    state: Annotated[str, _Meta(description="The state of its front end.")]
    trouble: Annotated[TroubleReport | None, _Meta(description="Why no records can be read; null if they can.")]
    records: Annotated[Count, _Meta(description="Records that were read.")]
    events: Annotated[Count, _Meta(description="Records that are events.")]
    other: Annotated[Count, _Meta(description="Records whose step is not one of the names: neither events nor refused.")]
    time_unit: Annotated[UnitReport | None, _Meta(description="null: its spans are no times, or the stream has not begun.")]
    rejects: Annotated[dict[str, Count], _Meta(description="Refused records, by reason.")]
    dropped: Annotated[dict[str, int], _Meta(description="Dropped events, by reason.")]
    dropped_generations: Annotated[dict[str, int], _Meta(description="Dropped collectors, by reason.")]
    missed: Annotated[dict[str, int], _Meta(description="Records that never came, by reason.")]
    missing: Annotated[list[Lost], _Meta(description="Events that answers may lack.")]
    checkpoint: Annotated[CheckpointReport | None, _Meta(description="null if no checkpoint outlasts the process.")]
    output_problem: Annotated[str | None, _Meta(description="Why results wait to be written.")]
    late: Annotated[Count, _Meta(description="Events that came after the watermark had passed them, and were taken in.")]
    late_by_silence: Annotated[
        Count, _Meta(description="Late events that only the clock had passed, while no record came: results were final.")
    ]
    ahead: Annotated[
        Count, _Meta(description="Events that came more than max_ahead_ms before their time by this machine's clock.")
    ]
    apart: Annotated[Count, _Meta(description="Of these, the events that wait for their time, and are in no answer yet.")]
    apart_from: Annotated[
        int | None, _Meta(description="The earliest time of the events that wait for it; in the stream's unit.")
    ]
    buffered: Annotated[Count, _Meta(description="Events that wait until the watermark passes them.")]
    in_flight: Annotated[int, _Meta(description="Events that were read and are in no collector yet.")]
    credits: Annotated[int, _Meta(description="The most events in flight; at this number the stream stops reading.")]
    watermark: Annotated[int | None, _Meta(description="No event before this time is expected any more; in the stream's unit.")]
    held_back_by: Annotated[HeldBack | None, _Meta(description="What holds the watermark back; null: nothing.")]
    open_transactions: Annotated[
        dict[str, Count], _Meta(description="The first offset of the open transaction of each partition that has one.")
    ]
    lag: Annotated[dict[str, int], _Meta(description="Records in Kafka that are not read yet, by partition.")]
    epoch: Annotated[int, _Meta(description="How often its topic was deleted and created again.")]
    first_record_at: Annotated[float | None, _Meta(description="When the first record was read: seconds since 1970.")]
    last_record_at: Annotated[float | None, _Meta(description="When the newest record was read: seconds since 1970.")]
    last_batch_at: Annotated[float | None, _Meta(description="When events were last taken in: seconds since 1970.")]
    pruned: Annotated[list[PrunedReport], _Meta(description="The last dropped collectors, the newest first.")]
    shards: Annotated[
        list[Count] | msgspec.UnsetType,
        _Meta(description="In a cluster: the shards of this process, whose sums these are. `/streams` lists all shards."),
    ] = msgspec.UNSET


@functools.cache
def stats_type(view: str) -> type[Stats]:
    """Return the type of the stats of a view, with its counts for each collector and for all of them."""
    total = VIEWS[view].counts
    name = total.__name__.removesuffix("Total")
    own = [(field.name, field.type) for field in msgspec.structs.fields(total)]
    row = msgspec.defstruct(
        f"{name}Slice", own, bases=(Slice,), namespace={"__doc__": f"One collector of the view {view}."}, frozen=True
    )
    rows = ("data", Annotated[list[row], _Meta(description="The collectors.")])  # type: ignore[valid-type]
    members, namespace = [rows, ("total", total)], {"__doc__": str(Stats.__doc__)}
    made: Any = msgspec.defstruct(f"{name}Stats", members, bases=(Stats,), namespace=namespace, frozen=True, kw_only=True)
    found: type[Stats] = made
    return found


def stats_of(reply: Reply) -> Stats:
    """Return the stats as JSON types. A row has the view's members of a slice, and the members that every slice has."""
    before = reply.gone
    data = []
    for meta in (*reply.aged, reply.active):
        state: Literal["aged", "active"] = "active" if meta is reply.active else "aged"
        own = Slice(state, span_of(meta.span), meta.events, meta.nbytes, meta.file_bytes)
        data.append({**msgspec.to_builtins(reply.view.describe(before, meta)), **msgspec.to_builtins(own)})
        before = before.then(meta.summary)
    progress = reply.progress
    return Stats(
        data=data,
        total=msgspec.to_builtins(reply.view.describe(reply.view.nothing(), Meta(None, 0, 0, 0, None, before))),
        coverage=CoverageReport.of(reply.coverage),
        memory=_memory(reply.memory),
        state=progress.state,
        trouble=TroubleReport.of(progress.trouble),
        records=progress.records,
        events=progress.events,
        other=progress.other,
        time_unit=UnitReport(*progress.unit) if progress.unit is not None else None,
        rejects=dict(progress.rejects),
        dropped=dict(reply.dropped),
        dropped_generations=dict(reply.dropped_generations),
        missed=dict(reply.missed),
        missing=[Lost(reason, span_of(span), count) for reason, span, count in reply.missing],
        checkpoint=_checkpoint(reply.durability),
        output_problem=reply.output_problem,
        late=progress.late,
        late_by_silence=progress.late_by_silence,
        ahead=progress.ahead,
        apart=progress.apart,
        apart_from=progress.apart_from,
        buffered=progress.buffered,
        in_flight=progress.in_flight,
        credits=progress.credits,
        watermark=progress.watermark,
        held_back_by=_held_back(progress),
        open_transactions={str(partition): offset for partition, offset in progress.transactions.items()},
        lag={str(partition): lag for partition, lag in progress.lag.items()},
        epoch=progress.epoch,
        first_record_at=progress.first_record_at,
        last_record_at=progress.last_record_at,
        last_batch_at=reply.last_batch_at,
        pruned=[PrunedReport(span_of(each.span), each.events, each.nbytes, each.reason, each.at) for each in reply.pruned],
        shards=list(reply.by_shard) if reply.by_shard is not None else msgspec.UNSET,
    )


def _held_back(progress: Progress) -> HeldBack | None:
    partition, reason = progress.held_back_by, progress.held_back_because
    return None if partition is None or reason is None else HeldBack(partition, reason)


def _memory(memory: Memory) -> MemoryReport:
    return MemoryReport(
        memory.budget_bytes, memory.accounted_bytes, memory.baseline_bytes, memory.rss_bytes, memory.emergencies
    )


def _checkpoint(durability: Durability | None) -> CheckpointReport | None:
    if durability is None:
        return None
    return CheckpointReport(
        number=durability.checkpoint,
        saved_at=durability.at,
        seconds=durability.seconds,
        bytes=durability.nbytes,
        saved=durability.saved,
        failed=durability.failed,
        problem=durability.problem,
        recovered_from=durability.recovered_from,
        unread=list(durability.lost),
        results_in_doubt=durability.doubt,
        copy_problem=durability.copy_problem,
    )
