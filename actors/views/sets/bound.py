"""The proof beside the count: no way to form sets can exceed it.

By min-cut, the number of disjoint sets R <= G <= B is at most min over a <= b of #R(t <= a) + #G(a < t <= b) + #B(t > b).
For a run of events this minimum, for each first and last part of the cut, is an upper triangular matrix in the (min, +)
algebra, and runs that follow one another compose by the matrix product. Shares no code with the matching that it checks.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import count_before
from actors.timeline.batch import Batch

Matrix = NDArray[np.int64]

_NEVER = 2**61
_PENDING_LIMIT = 131_072


def identity(steps: int) -> Matrix:
    """Return the matrix of no events: zero from each part to itself and to every later part."""
    upper = np.triu(np.ones((steps, steps), np.bool_))
    empty: Matrix = np.where(upper, np.int64(0), np.int64(_NEVER))
    return empty


def product(earlier: Matrix, later: Matrix) -> Matrix:
    """Return the (min, +) product: the matrix of the `earlier` run followed by the `later` one. Cost: O(steps**3)."""
    sums = earlier[:, :, None] + later[None, :, :]
    shortest: Matrix = np.minimum(sums.min(axis=1), np.int64(_NEVER))
    return shortest


def matrix(batch: Batch) -> Matrix:
    """Return the matrix of an ordered batch, at equal times an earlier step first. Cost: some 10 ns an event.

    Row i is the cheapest cut that starts in part i. Its cost as a function of the place in the run changes downwards only
    after an event of the next part, so it is looked at there alone.
    """
    steps = len(batch.times)
    result = identity(steps)
    np.fill_diagonal(result, [column.size for column in batch.times])
    # How many events of step j precede each event of step j + 1.
    preceding = [
        np.searchsorted(before, after, side="right") for before, after in zip(batch.times, batch.times[1:], strict=False)
    ]
    for row in range(steps):
        # The cheapest cost up to the k-th event of part `column`, for k from 0: in part `row`, each event costs one.
        cost = np.arange(batch.times[row].size + 1)
        for column in range(row + 1, steps):
            numbers = np.arange(batch.times[column].size + 1)
            entered = np.zeros(numbers.size, np.int64)
            entered[1:] = cost[preceding[column - 1]]
            cost = np.minimum.accumulate(entered - numbers) + numbers
            result[row, column] = cost[-1]
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """The bound of a run of events: its matrix, and how many events came later than it could take in order.

    Adding one event never makes more than one set possible, so each late event counts one on top.
    """

    matrix: Matrix
    late: int = 0

    @staticmethod
    def of_state(state: State) -> "Proof":
        """Return the proof of which `state` was taken."""
        return Proof(np.array(state["matrix"]), state["late"])

    def state(self) -> State:
        """Return what `of_state` makes the same proof of."""
        return {"matrix": self.matrix, "late": self.late}

    def then(self, later: Self) -> "Proof":
        """Return the proof of this run followed by the `later` one."""
        return Proof(product(self.matrix, later.matrix), self.late + later.late)

    @property
    def bound(self) -> int:
        """The largest number of sets that the run's events allow."""
        return int(self.matrix[0, -1]) + self.late


class Prover:
    """Builds the proof of one slice while its events come in. Not thread-safe: the slice owns it.

    Events before the watermark are folded in at once; those after it wait, as they may still be overtaken. So the bound is
    exact unless an event is later than the lateness that the stream allows.
    """

    __slots__ = ("_late", "_matrix", "_pending", "_steps", "_until")

    def __init__(self, steps: int, until: tuple[int, int] | None = None, pending: Batch | None = None) -> None:
        self._steps = steps
        self._matrix = identity(steps)
        self._late = 0
        self._pending = pending or Batch.empty(steps)
        self._until = until

    @staticmethod
    def of_state(state: State) -> "Prover":
        """Return the prover of which `state` was taken."""
        proof, until = Proof.of_state(state["proof"]), state["until"]
        prover = Prover(len(proof.matrix), (until[0], until[1]) if until else None, Batch.of_state(state["pending"]))
        prover._matrix, prover._late = proof.matrix, proof.late
        return prover

    def state(self) -> State:
        """Return what `of_state` makes the same prover of. Cost: O(1), as nothing in it is ever changed in place."""
        return {"proof": Proof(self._matrix, self._late).state(), "until": self._until, "pending": self._pending.state()}

    @property
    def nbytes(self) -> int:
        """Bytes of what waits for the watermark."""
        return self._pending.nbytes

    def add(self, batch: Batch, watermark: int | None) -> None:
        """Take in an ordered batch. Cost: O(batch), and a sort with what waits."""
        in_time = self._without_late(batch)
        if self._pending.count:
            in_time = Batch.concatenate((self._pending, in_time), self._steps).ordered()
        settled, self._pending = in_time.split(watermark) if watermark is not None else (Batch.empty(self._steps), in_time)
        if self._pending.count > _PENDING_LIMIT:
            settled, self._pending = in_time, Batch.empty(self._steps)
        self._fold(settled)

    def proof(self) -> Proof:
        """Return the proof of all that came in. Cost: O(what waits for the watermark)."""
        if not self._pending.count:
            return Proof(self._matrix, self._late)
        return Proof(product(self._matrix, matrix(self._pending)), self._late)

    def close(self, time: int | None) -> tuple[Proof, "Prover"]:
        """Return the final proof of the events up to `time`, and a prover that goes on with those after it."""
        settled = Batch.empty(self._steps)
        if time is not None:
            settled, self._pending = self._pending.split(time + 1)
        self._fold(settled)
        return Proof(self._matrix, self._late), Prover(self._steps, self._until, self._pending)

    def _without_late(self, batch: Batch) -> Batch:
        if self._until is None:
            return batch
        time, step = self._until
        cuts = [count_before(column, time if index >= step else time + 1) for index, column in enumerate(batch.times)]
        late, in_time = batch.split_at(cuts)
        self._late += late.count
        return in_time

    def _fold(self, settled: Batch) -> None:
        if not settled.count:
            return
        self._matrix = product(self._matrix, matrix(settled))
        self._until = max((int(column[-1]), step) for step, column in enumerate(settled.times) if column.size)
