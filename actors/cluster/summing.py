"""The statistics of several shards as those of one process, and whether a shard has read all. Decides only."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from actors.cluster.joining import coverage_of
from actors.replies import Coverage, Durability, Memory, Progress, Stats
from actors.views.view import Meta, View


def stats_of(by_shard: Mapping[int, Stats], view: View, budget_bytes: int, output_problem: str | None = None) -> Stats:
    """Return the statistics of the shards of this process together; those of a stream without records if it has none.

    `output_problem` is that of the results of all shards, which the process that has shard 0 publishes.
    """
    if 0 in by_shard:
        by_shard = {**by_shard, 0: replace(by_shard[0], output_problem=output_problem)}
    if by_shard:
        return replace(summed(list(by_shard.values())), by_shard=by_shard)
    return Stats(
        view=view,
        gone=view.nothing(),
        aged=(),
        active=Meta(None, 0, 0, 0, None, view.nothing()),
        memory=Memory(budget_bytes, 0, 0, 0, 0),
        coverage=Coverage(None, None, None),
        progress=Progress(state="has no shard"),
        dropped={},
        dropped_generations={},
        missed={},
        missing=(),
        last_batch_at=None,
        durability=None,
        starting=False,
        numbers=(1,),
        by_shard={},
    )


def summed(found: Sequence[Stats]) -> Stats:
    """Return the statistics of several shards as one. All but the last one's active slices count as aged."""
    aged = tuple(meta for each in found for meta in each.aged) + tuple(each.active for each in found[:-1])
    progress = [each.progress for each in found]
    idle = list(map(is_idle, progress))
    coverage = coverage_of([each.coverage for each in found], idle, ())
    memory = [each.memory for each in found]
    gone = found[0].gone
    for each in found[1:]:
        gone = gone.then(each.gone)
    return replace(
        found[-1],
        gone=gone,
        aged=aged,
        memory=Memory(
            sum(each.budget_bytes for each in memory),
            sum(each.accounted_bytes for each in memory),
            sum(each.baseline_bytes for each in memory),
            max(each.rss_bytes for each in memory),
            sum(each.emergencies for each in memory),
        ),
        coverage=coverage,
        progress=replace(
            progress[-1],
            state=next((each.state for each, sleeps in zip(progress, idle, strict=True) if not sleeps), progress[-1].state),
            records=sum(each.records for each in progress),
            events=sum(each.events for each in progress),
            other=sum(each.other for each in progress),
            rejects=_summed([each.rejects for each in progress]),
            refused=tuple(refused for each in progress for refused in each.refused),
            late=sum(each.late for each in progress),
            late_by_silence=sum(each.late_by_silence for each in progress),
            ahead=sum(each.ahead for each in progress),
            apart=sum(each.apart for each in progress),
            buffered=sum(each.buffered for each in progress),
            in_flight=sum(each.in_flight for each in progress),
            credits=sum(each.credits for each in progress),
            buffered_bytes=sum(each.buffered_bytes for each in progress),
            watermark=coverage.complete_to,
            held_back_by=next((each.held_back_by for each in progress if each.watermark == coverage.complete_to), None),
            transactions={number: offset for each in progress for number, offset in each.transactions.items()},
            offsets={number: offset for each in progress for number, offset in each.offsets.items()},
            lag={number: lag for each in progress for number, lag in each.lag.items()},
            first_record_at=min((each.first_record_at for each in progress if each.first_record_at), default=None),
            last_record_at=max((each.last_record_at for each in progress if each.last_record_at), default=None),
            trouble=next((each.trouble for each in progress if each.trouble is not None), None),
            since_start=_summed([each.since_start for each in progress]),
        ),
        dropped=_summed([each.dropped for each in found]),
        dropped_generations=_summed([each.dropped_generations for each in found]),
        missed=_summed([each.missed for each in found]),
        missing=tuple(missing for each in found for missing in each.missing),
        last_batch_at=max((each.last_batch_at for each in found if each.last_batch_at), default=None),
        starting=any(each.starting for each in found),
        numbers=tuple(range(1, len(aged) + 2)),
        durability=_durability([each.durability for each in found if each.durability is not None]),
        output_problem=_first(each.output_problem for each in found),
        pruned=tuple(pruned for each in found for pruned in each.pruned),
        since_start=_summed([each.since_start for each in found]),
    )


def _durability(found: Sequence[Durability]) -> Durability | None:
    """Return the checkpoints of several shards as one: that of the shard whose newest one is the oldest, and all problems."""
    if not found:
        return None
    loading = [each.loading for each in found if each.loading is not None]
    return replace(
        min(found, key=lambda each: each.at or 0.0),
        saved=sum(each.saved for each in found),
        failed=sum(each.failed for each in found),
        problem=_first(each.problem for each in found),
        loading=(sum(read for read, _ in loading), sum(total for _, total in loading)) if loading else None,
        lost=tuple(lost for each in found for lost in each.lost),
        failures=sum(each.failures for each in found),
        seconds_in_all=sum(each.seconds_in_all for each in found),
        doubt=_first(each.doubt for each in found),
        refused=_first(each.refused for each in found),
        copy_problem=_first(each.copy_problem for each in found),
    )


def _first(texts: Iterable[str | None]) -> str | None:
    return next((text for text in texts if text is not None), None)


def is_idle(progress: Progress) -> bool:
    """Return whether a shard has all there is in its slices, which is so if it has no partition.

    A shard that starts, or goes back to its checkpoint after a failure, has reported nothing yet.
    """
    nothing = progress.state != "starting" and not progress.lag
    return nothing or (progress.state == "at the end" and not progress.in_flight)


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
