"""The types of `get-stats`, made from the manager's reply. Only the rows and totals differ between views."""

from typing import Annotated, Any, Literal

import msgspec

from actors.replies import Durability, Memory
from actors.replies import Stats as Reply
from actors.views.view import Meta
from gateway.coverage import span_of
from gateway.schemas import Answer, Count, CoverageSaid, Range

_Meta = msgspec.Meta


class MemorySaid(Answer, frozen=True):
    """Memory, in bytes."""

    budget_bytes: Annotated[Count, _Meta(description="The bytes that this stream may use, with its share of the process.")]
    accounted_bytes: Annotated[Count, _Meta(description="The bytes in use that count against the budget.")]
    baseline_bytes: Annotated[Count, _Meta(description="Of these, the bytes of the process before its first event.")]
    rss_bytes: Annotated[Count, _Meta(description="The resident set of the process.")]
    emergencies: Annotated[
        Count, _Meta(description="Collectors dropped because the resident set was larger than the accounts.")
    ]


class CheckpointSaid(Answer, frozen=True):
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


class Lost(Answer, frozen=True):
    """Events that an answer may lack."""

    reason: str
    span: Annotated[Range | None, _Meta(description="The event times of these events, in the stream's unit.")]
    count: Annotated[Count, _Meta(description="The number of events; 0 if it is unknown.")]


class PrunedSaid(Answer, frozen=True):
    """A collector that was dropped."""

    span: Annotated[Range | None, _Meta(description="The event times of its events.")]
    events: Annotated[int, _Meta(description="Events that it held.")]
    bytes: Annotated[Count, _Meta(description="Bytes that it took.")]
    reason: Annotated[str, _Meta(description="Why it was dropped.")]
    at: Annotated[float, _Meta(description="When it was dropped: seconds since 1970.")]


class Slice(Answer, frozen=True):
    """The members that the row of every collector has."""

    state: Annotated[Literal["aged", "active"], _Meta(description="The active one takes in events; aged ones are frozen.")]
    span: Annotated[Range | None, _Meta(description="The event times of its events; null if it has no events.")]
    events: Annotated[int, _Meta(description="Events that it holds, answered or waiting.")]
    bytes: Annotated[Count, _Meta(description="Bytes of memory.")]
    file_bytes: Annotated[Count, _Meta(description="Bytes that are in its file only.")]


class SetsTotal(Answer, frozen=True):
    """Sets of all collectors, since the start."""

    valid_set_count: Annotated[int, _Meta(description="Complete sets.")]
    out_of_order_messages_count: Annotated[int, _Meta(description="Events that wait for a match.")]
    set_size: Annotated[int, _Meta(description="Complete sets.")]
    bound: Annotated[int, _Meta(description="The proven maximum of sets (min-cut): no choice of sets has more.")]


class TopTotal(Answer, frozen=True):
    """Ids of all collectors."""

    ids: Annotated[int, _Meta(description="Ids with a value.")]
    superseded: Annotated[int, _Meta(description="Events replaced by a later value of their id or by a DELETE.")]
    forgotten_up_to: Annotated[int | None, _Meta(description="The highest value that was forgotten because memory was short.")]
    in_several_partitions: Annotated[int, _Meta(description="Ids whose records are in more than one partition.")]


class SegmentsTotal(Answer, frozen=True):
    """Batches of all collectors."""

    finished: Annotated[int, _Meta(description="Finished batches.")]
    pending: Annotated[int, _Meta(description="Batches that wait for a segment.")]
    numbers: Annotated[int, _Meta(description="Numbers in finished batches.")]
    spilled_bytes: Annotated[int, _Meta(description="Bytes of pending segments in the temporary file.")]


class UniquesTotal(Answer, frozen=True):
    """Periods of all collectors."""

    cells: Annotated[int, _Meta(description="Periods of any length.")]
    hashes: Annotated[int, _Meta(description="Users held in all of them.")]
    frames: Annotated[int, _Meta(description="Frames counted.")]


class WordsTotal(Answer, frozen=True):
    """Counts of all collectors."""

    types: Annotated[int, _Meta(description="Different types.")]
    words: Annotated[int, _Meta(description="Different words.")]
    pairs: Annotated[int, _Meta(description="Counts by second and name.")]


class Stats(Answer, frozen=True, kw_only=True):
    """The state of a stream: a row for each collector, aged ones first, oldest first, the active one last; and totals."""

    data: Annotated[list[dict[str, Any]], _Meta(description="The collectors.")]
    total: Annotated[dict[str, Any], _Meta(description="All collectors together, with the dropped ones.")]
    coverage: CoverageSaid
    memory: MemorySaid
    state: Annotated[str, _Meta(description="The state of its front end.")]
    records: Annotated[Count, _Meta(description="Records that were read.")]
    events: Annotated[Count, _Meta(description="Records that are events.")]
    rejects: Annotated[dict[str, Count], _Meta(description="Records that are not events, by reason.")]
    dropped: Annotated[dict[str, int], _Meta(description="Dropped events, by reason.")]
    dropped_generations: Annotated[dict[str, int], _Meta(description="Dropped collectors, by reason.")]
    missed: Annotated[dict[str, int], _Meta(description="Records that never came, by reason.")]
    missing: Annotated[list[Lost], _Meta(description="Events that answers may lack.")]
    checkpoint: Annotated[CheckpointSaid | None, _Meta(description="null if the stream writes no checkpoints.")]
    late: Annotated[Count, _Meta(description="Events that came after the watermark had passed them, and were taken in.")]
    buffered: Annotated[Count, _Meta(description="Events that wait until the watermark passes them.")]
    in_flight: Annotated[int, _Meta(description="Events that were read and are in no collector yet.")]
    credits: Annotated[int, _Meta(description="The most events in flight; at this number the stream stops reading.")]
    watermark: Annotated[int | None, _Meta(description="No event before this time is expected any more; in the stream's unit.")]
    held_back_by: Annotated[int | None, _Meta(description="The partition that holds the watermark back.")]
    lag: Annotated[dict[str, int], _Meta(description="Records in Kafka that are not read yet, by partition.")]
    epoch: Annotated[int, _Meta(description="How often its topic was deleted and created again.")]
    first_record_at: Annotated[float | None, _Meta(description="When the first record was read: seconds since 1970.")]
    last_batch_at: Annotated[float | None, _Meta(description="When events were last taken in: seconds since 1970.")]
    pruned: Annotated[list[PrunedSaid], _Meta(description="The last dropped collectors, the newest first.")]


def _type_of(total: type[msgspec.Struct]) -> Any:
    """Return the type of the stats of a view that has `total` for all collectors, and the same members for each one."""
    view = total.__name__.removesuffix("Total")
    own = [(field.name, field.type) for field in msgspec.structs.fields(total)]
    namespace = {"__doc__": f"One collector of the view {view.lower()}."}
    row = msgspec.defstruct(f"{view}Slice", own, bases=(Slice,), namespace=namespace, frozen=True)
    rows = ("data", Annotated[list[row], _Meta(description="The collectors.")])  # type: ignore[valid-type]
    return msgspec.defstruct(
        f"{view}Stats",
        [rows, ("total", total)],
        bases=(Stats,),
        namespace={"__doc__": Stats.__doc__},
        frozen=True,
        kw_only=True,
    )


STATS = {
    "sets": _type_of(SetsTotal),
    "top": _type_of(TopTotal),
    "segments": _type_of(SegmentsTotal),
    "uniques": _type_of(UniquesTotal),
    "words": _type_of(WordsTotal),
}
"""The type of a stream's stats, by the name of its view."""


def stats_of(reply: Reply) -> Stats:
    """Return the stats as JSON types. A row has the view's members of a slice, and the members that every slice has."""
    before = reply.gone
    data = []
    for meta in (*reply.aged, reply.active):
        state: Literal["aged", "active"] = "active" if meta is reply.active else "aged"
        own = Slice(state, span_of(meta.span), meta.events, meta.nbytes, meta.file_bytes)
        data.append({**reply.view.describe(before, meta), **msgspec.to_builtins(own)})
        before = before.then(meta.summary)
    progress = reply.progress
    return Stats(
        data=data,
        total=reply.view.describe(reply.view.nothing(), Meta(None, 0, 0, 0, None, before)),
        coverage=CoverageSaid.of(reply.coverage),
        memory=_memory(reply.memory),
        state=progress.state,
        records=progress.records,
        events=progress.events,
        rejects=dict(progress.rejects),
        dropped=dict(reply.dropped),
        dropped_generations=dict(reply.dropped_generations),
        missed=dict(reply.missed),
        missing=[Lost(reason, span_of(span), count) for reason, span, count in reply.missing],
        checkpoint=_checkpoint(reply.durability),
        late=progress.late,
        buffered=progress.buffered,
        in_flight=progress.in_flight,
        credits=progress.credits,
        watermark=progress.watermark,
        held_back_by=progress.held_back_by,
        lag={str(partition): lag for partition, lag in progress.lag.items()},
        epoch=progress.epoch,
        first_record_at=progress.first_record_at,
        last_batch_at=reply.last_batch_at,
        pruned=[PrunedSaid(span_of(each.span), each.events, each.nbytes, each.reason, each.at) for each in reply.pruned],
    )


def _memory(memory: Memory) -> MemorySaid:
    return MemorySaid(memory.budget_bytes, memory.accounted_bytes, memory.baseline_bytes, memory.rss_bytes, memory.emergencies)


def _checkpoint(durability: Durability | None) -> CheckpointSaid | None:
    if durability is None:
        return None
    return CheckpointSaid(
        number=durability.checkpoint,
        saved_at=durability.at,
        seconds=durability.seconds,
        bytes=durability.nbytes,
        saved=durability.saved,
        failed=durability.failed,
        problem=durability.problem,
        recovered_from=durability.recovered_from,
        unread=list(durability.lost),
    )
