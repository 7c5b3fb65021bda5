"""An upper bound for the number of sets: no way to form sets can exceed it.

By min-cut, the number of disjoint sets R <= G <= B is at most min over a <= b of #R(t <= a) + #G(a < t <= b) + #B(t > b).
For a run of events this minimum, for each first and last part of the cut, is an upper triangular matrix in the (min, +)
algebra, and consecutive runs compose by the matrix product. Shares no code with the matching, which it checks.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actors.columns.fields import listed
from actors.columns.snapshot import State
from actors.columns.times import count_before
from actors.timeline.batch import Batch

Matrix = NDArray[np.int64]

_NEVER = 2**61
_PENDING_LIMIT = 131_072


@cache
def identity(steps: int) -> Matrix:
    """Return the matrix of no events: zero from each part to itself and to later parts. It is read-only."""
    upper = np.triu(np.ones((steps, steps), np.bool_))
    empty: Matrix = np.where(upper, np.int64(0), np.int64(_NEVER))
    empty.setflags(write=False)
    return empty


def product(earlier: Matrix, later: Matrix) -> Matrix:
    """Return the (min, +) product: the matrix of the `earlier` run followed by the `later` one. Cost: O(steps**3)."""
    sums = earlier[:, :, None] + later[None, :, :]
    shortest: Matrix = np.minimum(sums.min(axis=1), np.int64(_NEVER))
    return shortest


def matrix(batch: Batch) -> Matrix:
    """Return the matrix of an ordered batch; at equal times, earlier steps come first. Cost: about 10 ns an event.

    Row i is the cheapest cut that starts in part i. Its cost along the run can fall only after an event of the next part, so
    it is computed only there.
    """
    steps = len(batch.times)
    result = identity(steps).copy()
    np.fill_diagonal(result, [column.size for column in batch.times])
    # How many events of step j precede each event of step j + 1.
    preceding = [
        np.searchsorted(before, after, side="right") for before, after in zip(batch.times, batch.times[1:], strict=False)
    ]
    for row in range(steps):
        # cost[k] is the lowest cost up to the k-th event of part `column`. In part `row` each event costs one.
        cost = np.arange(batch.times[row].size + 1)
        for column in range(row + 1, steps):
            numbers = np.arange(batch.times[column].size + 1)
            entered = np.zeros(numbers.size, np.int64)
            entered[1:] = cost[preceding[column - 1]]
            cost = np.minimum.accumulate(entered - numbers) + numbers
            result[row, column] = cost[-1]
    return result


@dataclass(frozen=True, eq=False)
class Proof:
    """The bound of a run of events: its matrix, and the number of events that were too late for it, in all and by step.

    One more event allows at most one more set, so each late event adds one to the bound. A set has one event of each step, so
    the bound never exceeds the number of events of a step. Earlier versions did not count late events by step: such an event
    may be of any step.
    """

    matrix: Matrix
    late: int = 0
    late_by_step: tuple[int, ...] = ()

    @staticmethod
    def of_state(state: State) -> "Proof":
        """Restore a proof from its `state`."""
        return Proof(np.array(state["matrix"]), state["late"], tuple(listed(state.get("late_by_step", ()))))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return {"matrix": self.matrix, "late": self.late, "late_by_step": self.late_by_step}

    def then(self, later: Self) -> "Proof":
        """Return the proof of this run followed by the `later` one. Cost: about 10 us, and nothing if one run is empty."""
        if self.is_empty:
            return later
        if later.is_empty:
            return self
        late = _sums(self.late_by_step, later.late_by_step)
        return Proof(product(self.matrix, later.matrix), self.late + later.late, late)

    @property
    def is_empty(self) -> bool:
        """Whether this is the proof of no events that the view starts from."""
        return self.matrix is identity(len(self.matrix)) and not self.late and not self.late_by_step

    @cached_property
    def bound(self) -> int:
        """The largest possible number of sets of the run's events."""
        # A cell of the diagonal is the number of the step's events that were in time.
        in_time: list[int] = self.matrix.diagonal().tolist()
        late_by_step = self.late_by_step or (0,) * len(in_time)
        unknown = self.late - sum(late_by_step)
        return min(int(self.matrix[0, -1]) + self.late, min(map(sum, zip(in_time, late_by_step, strict=True))) + unknown)


def _sums(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sums of two columns of equal length; an empty one has zeros."""
    return tuple(map(sum, zip(one, other, strict=True))) if one and other else one or other


class Prover:
    """Builds the proof of one slice while it takes events in. Not thread-safe: the slice owns it.

    Events before the watermark are added to the matrix at once; later ones wait, because earlier events may still arrive. So
    the bound is exact unless an event is later than the stream's lateness.
    """

    __slots__ = ("_late", "_late_by_step", "_matrix", "_pending", "_steps", "_until")

    def __init__(self, steps: int, until: tuple[int, int] | None = None, pending: Batch | None = None) -> None:
        self._steps = steps
        self._matrix = identity(steps)
        self._late = 0
        self._late_by_step: tuple[int, ...] = ()
        self._pending = pending or Batch.empty(steps)
        self._until = until

    @staticmethod
    def of_state(state: State) -> "Prover":
        """Restore a prover from its `state`."""
        proof, until = Proof.of_state(state["proof"]), state["until"]
        prover = Prover(len(proof.matrix), (until[0], until[1]) if until else None, Batch.of_state(state["pending"]))
        prover._matrix, prover._late, prover._late_by_step = proof.matrix, proof.late, proof.late_by_step
        return prover

    def state(self) -> State:
        """Return the state for `of_state`. Cost: O(1), because arrays are never changed in place."""
        return {"proof": self._proof(self._matrix).state(), "until": self._until, "pending": self._pending.state()}

    @property
    def nbytes(self) -> int:
        """Bytes of the events that wait for the watermark."""
        return self._pending.nbytes

    def add(self, batch: Batch, watermark: int | None) -> None:
        """Add an ordered batch. Cost: O(batch), and a sort with the waiting events."""
        in_time = self._without_late(batch)
        if self._pending.count:
            in_time = Batch.concatenate((self._pending, in_time), self._steps).ordered()
        settled, self._pending = in_time.split(watermark) if watermark is not None else (Batch.empty(self._steps), in_time)
        if self._pending.count > _PENDING_LIMIT:
            settled, self._pending = in_time, Batch.empty(self._steps)
        self._fold(settled)

    def proof(self) -> Proof:
        """Return the proof of all events so far. Cost: O(events that wait for the watermark)."""
        if not self._pending.count:
            return self._proof(self._matrix)
        return self._proof(product(self._matrix, matrix(self._pending)))

    def close(self, time: int | None) -> tuple[Proof, "Prover"]:
        """Return the final proof of the events up to `time`, and a prover with the later ones."""
        settled = Batch.empty(self._steps)
        if time is not None:
            settled, self._pending = self._pending.split(time + 1)
        self._fold(settled)
        return self._proof(self._matrix), Prover(self._steps, self._until, self._pending)

    def _proof(self, whole: Matrix) -> Proof:
        return Proof(whole, self._late, self._late_by_step)

    def _without_late(self, batch: Batch) -> Batch:
        if self._until is None:
            return batch
        time, step = self._until
        cuts = [count_before(column, time if index >= step else time + 1) for index, column in enumerate(batch.times)]
        late, in_time = batch.split_at(cuts)
        if late.count:
            self._late += late.count
            self._late_by_step = _sums(self._late_by_step, tuple(column.size for column in late.times))
        return in_time

    def _fold(self, settled: Batch) -> None:
        if not settled.count:
            return
        self._matrix = product(self._matrix, matrix(settled))
        self._until = max((int(column[-1]), step) for step, column in enumerate(settled.times) if column.size)
