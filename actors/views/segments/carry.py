"""The state that a live slice hands to the next one, and to checkpoints: all but the rows of finished batches."""

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from actors.columns import fields
from actors.columns.snapshot import State
from actors.views.segments.id_set import IdSet
from actors.views.segments.runs.merging import Result
from actors.views.segments.runs.run import Run
from actors.views.segments.runs.run_columns import runs_of, state_of
from actors.views.segments.runs.spool import Spool

RECENT = 4_096
"""Number of finished batches whose digests are kept. They distinguish a duplicate segment from a conflicting one."""


class PendingBatch:
    """The segments of an incomplete batch that have arrived, by segment id."""

    __slots__ = ("held", "runs")

    def __init__(self, segments: int) -> None:
        self.runs: list[Run | None] = [None] * segments
        self.held = 0

    def present(self) -> list[Run]:
        """Return the runs that have arrived."""
        return [run for run in self.runs if run is not None]

    def missing(self) -> int:
        """Return the missing segments as a bit mask."""
        return sum(1 << place for place, run in enumerate(self.runs) if run is None)


@dataclass(slots=True)
class SegmentsCarry:
    """The state that a frozen slice hands to its successor: pending batches, unpublished results, ids of finished batches."""

    epoch: int | None = None
    order: int = 0
    """Number of batches completed so far."""
    waiting: dict[int, PendingBatch] = field(default_factory=dict)
    finished_ids: IdSet = field(default_factory=IdSet)
    recent: "OrderedDict[int, array[int]]" = field(default_factory=OrderedDict)
    """The digests of the last `RECENT` finished batches, by segment id."""
    results: list[Result] = field(default_factory=list)

    @staticmethod
    def of_state(state: State, *, segments: int, spool: Spool) -> "SegmentsCarry":
        """Return the carry that `state` describes. Pieces that lay in a spool are written to `spool`.

        Raises OSError if the spool has no room.
        """
        runs = iter(runs_of(state["runs"], spool))
        carry = SegmentsCarry(
            epoch=None if state["epoch"] is None else fields.integer(state["epoch"]),
            order=fields.integer(state["order"], 0),
            finished_ids=IdSet.of_state(state["finished_ids"]),
            recent=_recent_of(state["recent"], segments),
            waiting=_waiting_of(state, segments, runs),
        )
        carry.results = _results_of(state["results"], segments, runs)
        if next(runs, None) is not None:
            raise ValueError("one run for each segment was expected, there are more")
        if carry.waiting and carry.epoch is None:
            raise ValueError("an epoch of the pending batches was expected")
        if any(batch_id in carry.finished_ids for batch_id in carry.waiting):
            raise ValueError("unfinished pending batches were expected, one is finished")
        return carry

    def state(self) -> dict[str, State]:
        """Return the state for `of_state`. Cost: about 3 us a run."""
        places = [[place for place, run in enumerate(each.runs) if run is not None] for each in self.waiting.values()]
        present = [run for each in self.waiting.values() for run in each.runs if run is not None]
        names = [(result.epoch, result.batch_id, result.order) for result in self.results]
        return {
            "epoch": self.epoch,
            "order": self.order,
            "finished_ids": self.finished_ids.state(),
            "recent": (
                np.fromiter(self.recent, np.int64, len(self.recent)),
                np.frombuffer(b"".join(self.recent.values()), np.uint64),
            ),
            "waiting": np.fromiter(self.waiting, np.int64, len(places)),
            "held": np.fromiter(map(len, places), np.int64, len(places)),
            "places": np.fromiter(chain.from_iterable(places), np.int64, len(present)),
            "results": np.fromiter(chain.from_iterable(names), np.int64, 3 * len(names)),
            "runs": state_of([*present, *chain.from_iterable(result.runs for result in self.results)]),
        }


def _waiting_of(state: State, segments: int, runs: Iterator[Run]) -> dict[int, PendingBatch]:
    """Return the pending batches. Takes their runs from `runs`."""
    batch_ids = fields.column(state["waiting"], np.int64)
    places = fields.column(state["places"], np.int64).tolist()
    cuts = fields.bounds(fields.column(state["held"], np.int64, batch_ids.size), len(places))
    found: dict[int, PendingBatch] = {}
    for batch_id, low, high in zip(batch_ids.tolist(), cuts, cuts[1:], strict=False):
        waiting = found[batch_id] = PendingBatch(segments)
        for place in places[low:high]:
            waiting.runs[fields.integer(place, 0, segments - 1)] = _following(runs)
        waiting.held = len(waiting.present())
        if not 0 < waiting.held == high - low < segments:
            raise ValueError(f"1 to {segments - 1} different segments of a pending batch were expected, got {high - low}")
    if len(found) != batch_ids.size:
        raise ValueError("different pending batches were expected, one occurs twice")
    return found


def _recent_of(state: State, segments: int) -> "OrderedDict[int, array[int]]":
    """Return the digests of the last finished batches."""
    batch_ids, digests = state
    batch_ids = fields.column(batch_ids, np.int64)
    digests = fields.column(digests, np.uint64, segments * batch_ids.size)
    found = OrderedDict(
        (batch_id, array("Q", row))
        for batch_id, row in zip(batch_ids.tolist(), digests.reshape(-1, segments).tolist(), strict=True)
    )
    if len(found) != batch_ids.size:
        raise ValueError("different finished batches were expected, one occurs twice")
    return found


def _results_of(state: State, segments: int, runs: Iterator[Run]) -> list[Result]:
    """Return the unpublished results. Takes their runs from `runs`."""
    names = fields.column(state, np.int64)
    if names.size % 3:
        raise ValueError(f"epoch, batch id and order of each result were expected, got {names.size} numbers")
    return [
        Result(epoch, batch_id, order, tuple(_following(runs) for _ in range(segments)))
        for epoch, batch_id, order in names.reshape(-1, 3).tolist()
    ]


def _following(runs: Iterator[Run]) -> Run:
    """Return the next run. Raises ValueError if no run is left."""
    run = next(runs, None)
    if run is None:
        raise ValueError("one run for each segment was expected, there are fewer")
    return run
