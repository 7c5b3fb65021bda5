"""Live slices of batches. A batch is pending until all its segments have arrived. Then it is published at once and is a row."""

from array import array
from collections import OrderedDict

import numpy as np

from actors.columns import fields
from actors.columns.snapshot import State
from actors.timeline.span import Span
from actors.views.segments.arguments import Listing
from actors.views.segments.carry import RECENT, PendingBatch, SegmentsCarry
from actors.views.segments.decode import Segments
from actors.views.segments.finished import Finished
from actors.views.segments.frozen import FrozenSegments, SegmentsSummary
from actors.views.segments.id_set import IdSet
from actors.views.segments.runs.merging import Result
from actors.views.segments.runs.rows import PendingRows, Piece
from actors.views.segments.runs.run import Run
from actors.views.segments.runs.spool import Spool
from actors.views.view import Due, Live, Meta, Silence

_WAITING_BYTES = 320
"""Memory of a pending batch, beside its runs: the object and its entries in two mappings."""

_RECENT_BYTES = 330
"""Memory of the digests of a recent batch, beside `_DIGEST_BYTES` for each segment."""

_DIGEST_BYTES = 8


class LiveSegments(Live):
    """A slice that completes batches of `segments` segments. Not thread-safe: its collector owns it.

    It is full when it has at least `max_batches` finished batches. The last poll may bring more than that.

    The runs of pending batches take at most `spill_bytes` of memory, and one poll. If there are more, `add` moves the oldest
    batches to the spool.
    """

    def __init__(
        self, *, segments: int, max_batches: int, spool: Spool, spill_bytes: int, carry: SegmentsCarry | None = None
    ) -> None:
        carry = carry or SegmentsCarry()
        self._segments = segments
        self._max_batches = max_batches
        self._spool = spool
        self._spill_bytes = spill_bytes
        self._epoch = carry.epoch
        self._order = carry.order
        self._finished_ids = carry.finished_ids
        self._recent = carry.recent
        self._finished = Finished()
        self._results = carry.results
        self._result_bytes = sum(run.nbytes for result in self._results for run in result.runs)
        self._waiting: dict[int, PendingBatch] = {}
        self._forget()
        for batch_id, waiting in carry.waiting.items():
            self._waiting[batch_id] = waiting
            self._reach(batch_id)
            for run in waiting.present():
                self._account(batch_id, run)

    @staticmethod
    def of_state(state: State, *, segments: int, max_batches: int, spool: Spool, spill_bytes: int) -> "LiveSegments":
        """Return the slice that `state` describes. Pieces that lay in its spool are written to `spool`.

        Raises OSError if the spool has no room.
        """
        carry = SegmentsCarry.of_state(state["carry"], segments=segments, spool=spool)
        live = LiveSegments(segments=segments, max_batches=max_batches, spool=spool, spill_bytes=spill_bytes, carry=carry)
        live._finished = Finished.of_state(state["finished"])
        spillable = fields.column(state["spillable"], np.int64, len(live._spillable))
        for batch_id in spillable.tolist():
            live._spillable.move_to_end(batch_id)
        return live

    def state(self) -> State:
        """Return the state for `of_state`. Cost: about 3 us a run, 40 ns a finished batch."""
        return {
            "carry": self._carry().state(),
            "finished": self._finished.state(),
            "spillable": np.fromiter(self._spillable, np.int64, len(self._spillable)),
        }

    @property
    def full(self) -> bool:
        """Whether the slice holds `max_batches` finished batches."""
        return self._finished.count >= self._max_batches

    def add(self, batch: Segments, watermark: int | None) -> dict[str, int]:  # noqa: ARG002  # ids are no times
        """Add segments in any order. Cost: 2 us a segment, with a tenth of the cost to complete a batch.

        Reasons for a segment that is not kept:
        - `duplicate`: the segment has arrived before, with the same numbers.
        - `conflict`: the segment has arrived before, with other numbers. The first ones are kept.
        - `topic_recreated`: its epoch is older than the newest one. Batch ids start again in each epoch.

        Raises OSError if the spool has no room; then no segment is added.
        """
        assert not self.full, "a full slice is frozen before the next batch"
        if self._epoch is not None and batch.epoch < self._epoch:
            return {"topic_recreated": batch.count} if batch.count else {}
        over = self._spillable_bytes + batch.nbytes - self._spill_bytes
        if over > 0:
            self._spill(over)
        # So far runs have only moved to the spool. The rest cannot fail.
        lost: dict[str, int] = {}
        if batch.epoch != self._epoch:
            if self._held:
                lost["topic_recreated"] = self._held
            self._recreate(batch.epoch)
        for batch_id, place, run in zip(batch.batch_ids.tolist(), batch.segment_ids, batch.runs, strict=True):
            reason = self._take(batch_id, place, run)
            if reason is not None:
                lost[reason] = lost.get(reason, 0) + 1
        return lost

    def close(self, watermark: int | None, silence: Silence | None) -> Due | None:  # noqa: ARG002  # a batch is due when it is whole
        """Return the batches that were completed since the last call, in order of completion, or None."""
        if not self._results:
            return None
        partial = tuple(self._results)
        self._results = []
        self._result_bytes = 0
        ids = [result.batch_id for result in partial]
        return Due(Span(min(ids), max(ids) + 1), None, partial)

    def read(self, span: Span, arguments: Listing) -> tuple[Piece, ...]:
        """Return a copy of the rows in `span`, of finished or of pending batches. Cost: O(rows)."""
        if not arguments.pending:
            return self._finished.read(span)
        waiting = tuple(
            (batch_id, waiting.missing()) for batch_id, waiting in self._waiting.items() if span.start <= batch_id < span.end
        )
        return (PendingRows(self._epoch or 0, waiting),) if waiting else ()

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Move about `nbytes` of pending batches to the spool, the oldest first. No segment is lost.

        Raises OSError if the spool has no room.
        """
        self._spill(nbytes)
        return {}, None

    def freeze(self) -> tuple[FrozenSegments, SegmentsCarry]:
        """Return the finished batches, uncompressed, and all other state as carry. Cost: O(finished batches)."""
        summary = SegmentsSummary(self._finished.count, 0, self._finished.numbers, 0)
        frozen = FrozenSegments(self._finished.pieces(), summary, segments=self._segments, span=self._finished.span)
        return frozen, self._carry()

    def meta(self) -> Meta:
        """Describe the slice as it stands. Cost: O(1)."""
        span = self._finished.span
        if self._waiting:
            # A batch that is no longer pending is finished, so the hull of both spans is exact.
            reached = Span(self._low, self._high + 1)
            span = span.hull(reached) if span else reached
        summary = SegmentsSummary(self._finished.count, len(self._waiting), self._finished.numbers, self._spooled_bytes)
        return Meta(
            span=span,
            events=self._segments * self._finished.count + self._held,
            nbytes=self._waiting_bytes
            + len(self._waiting) * (_WAITING_BYTES + _DIGEST_BYTES * self._segments)
            + self._result_bytes
            + self._finished.nbytes
            + self._finished_ids.nbytes
            + len(self._recent) * (_RECENT_BYTES + _DIGEST_BYTES * self._segments),
            dead_bytes=0,
            final_until=None,
            summary=summary,
        )

    def _carry(self) -> SegmentsCarry:
        return SegmentsCarry(self._epoch, self._order, self._waiting, self._finished_ids, self._recent, self._results)

    def _take(self, batch_id: int, place: int, run: Run) -> str | None:
        """Add one segment; return the reason if it is not kept, else None."""
        waiting = self._waiting.get(batch_id)
        if waiting is None:
            if batch_id in self._finished_ids:
                known = self._recent.get(batch_id)
                return "duplicate" if known is None or known[place] == run.digest else "conflict"
            waiting = self._waiting[batch_id] = PendingBatch(self._segments)
            self._reach(batch_id)
        before = waiting.runs[place]
        if before is not None:
            return "duplicate" if before.digest == run.digest and before.count == run.count else "conflict"
        waiting.runs[place] = run
        waiting.held += 1
        self._account(batch_id, run)
        if waiting.held == self._segments:
            self._complete(batch_id)
        return None

    def _complete(self, batch_id: int) -> None:
        """Make a result and a row of a batch whose last segment has arrived."""
        assert self._epoch is not None, "a pending batch belongs to an epoch"
        runs = tuple(self._waiting.pop(batch_id).present())
        self._order += 1
        self._results.append(Result(self._epoch, batch_id, self._order, runs))
        nbytes = sum(run.nbytes for run in runs)
        self._result_bytes += nbytes
        self._waiting_bytes -= nbytes
        self._held -= len(runs)
        self._spillable_bytes -= self._spillable.pop(batch_id, 0)
        self._spooled_bytes -= sum(run.spooled_bytes for run in runs)
        first = min((run.first for run in runs if run.first is not None), default=None)
        last = max((run.last for run in runs if run.last is not None), default=None)
        self._finished.add(self._epoch, (batch_id, self._order, sum(run.count for run in runs), first or 0, last or 0))
        self._finished_ids.add(batch_id)
        self._recent[batch_id] = array("Q", [run.digest for run in runs])
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def _recreate(self, epoch: int) -> None:
        """Begin a new epoch: drop the pending batches, which cannot be completed any more; batch ids start again."""
        self._epoch = epoch
        self._waiting = {}
        self._finished_ids = IdSet()
        self._recent = OrderedDict()
        self._forget()

    def _forget(self) -> None:
        """Reset the sums over pending batches to zero."""
        self._held = 0
        self._low, self._high = 0, 0
        self._waiting_bytes = 0
        self._spooled_bytes = 0
        self._spillable_bytes = 0
        self._spillable: OrderedDict[int, int] = OrderedDict()

    def _reach(self, batch_id: int) -> None:
        """Extend the range of pending batch ids to `batch_id`."""
        self._low = min(self._low, batch_id) if self._held else batch_id
        self._high = max(self._high, batch_id) if self._held else batch_id

    def _account(self, batch_id: int, run: Run) -> None:
        """Add a run of a pending batch to the sums."""
        self._held += 1
        self._waiting_bytes += run.nbytes
        self._spooled_bytes += run.spooled_bytes
        if run.spillable_bytes:
            self._spillable_bytes += run.spillable_bytes
            self._spillable[batch_id] = self._spillable.get(batch_id, 0) + run.spillable_bytes

    def _spill(self, nbytes: int) -> None:
        """Move runs of the oldest batches to the spool until `nbytes` are freed or no more runs can be moved."""
        left = nbytes
        while left > 0 and self._spillable:
            batch_id = next(iter(self._spillable))
            runs = self._waiting[batch_id].runs
            for place, run in enumerate(runs):
                if run is None or not run.spillable_bytes:
                    continue
                moved = run.spilled(self._spool)
                runs[place] = moved
                left -= run.spillable_bytes
                self._waiting_bytes += moved.nbytes - run.nbytes
                self._spooled_bytes += moved.spooled_bytes - run.spooled_bytes
                self._spillable_bytes -= run.spillable_bytes
                self._spillable[batch_id] -= run.spillable_bytes
            del self._spillable[batch_id]

    def _check(self) -> None:
        """Assert the invariants: the sums are right, and no complete batch is pending."""
        runs = [run for waiting in self._waiting.values() for run in waiting.present()]
        assert self._held == len(runs)
        assert self._waiting_bytes == sum(run.nbytes for run in runs)
        assert self._spooled_bytes == sum(run.spooled_bytes for run in runs)
        assert self._spillable_bytes == sum(run.spillable_bytes for run in runs) == sum(self._spillable.values())
        assert self._result_bytes == sum(run.nbytes for result in self._results for run in result.runs)
        for batch_id, waiting in self._waiting.items():
            assert 0 < waiting.held == len(waiting.present()) < self._segments
            assert self._low <= batch_id <= self._high
            assert batch_id not in self._finished_ids
