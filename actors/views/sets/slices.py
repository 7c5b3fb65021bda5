"""Live and frozen slices of sets, and the carry between them.

A live slice has one ascending column per step for the open tail. It matches events on arrival, and a late event again with the
events after it. Older sets are closed: compressed and no longer changed. A frozen slice has complete sets only.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise

from actors.columns.column import Column
from actors.columns.sealed import CHUNK
from actors.columns.snapshot import State
from actors.columns.times import Times, count_before
from actors.timeline.batch import Batch
from actors.timeline.span import Span
from actors.views.sets.arguments import Explain, Page
from actors.views.sets.bound import Proof, Prover
from actors.views.sets.explain.told import Lack, Told, pieces_at
from actors.views.sets.matching import Matched, match
from actors.views.sets.pieces import Piece, Rows
from actors.views.view import NONE_LOST, Frozen, Live, Meta

OPEN_SETS = 65_536
"""Minimum number of complete sets of a live slice that a late event can still change."""

MOST_OPEN_SETS = OPEN_SETS + 2 * CHUNK
"""Complete sets of a live slice that are not compressed, at most."""


@dataclass(frozen=True, slots=True)
class SetSummary:
    """The number of sets and of residue events of a slice, and the proof of its bound.

    Without `behind`, as many sets as possible were formed, except that each event that counts in it allows one more. None: that
    is not counted, because `proof` alone has the bound. All sets end before `until`; None: that is not known. `waiting` has the
    residue of each step, if the slice is live.
    """

    sets: int
    residue: int
    proof: Proof
    behind: int | None = None
    until: int | None = None
    waiting: tuple[int, ...] = ()

    @staticmethod
    def of_state(state: State) -> "SetSummary":
        """Restore a summary from its `state`."""
        proof = Proof.of_state(state["proof"])
        waiting = tuple(map(int, state.get("waiting", ())))  # states of earlier versions have none
        return SetSummary(state["sets"], state["residue"], proof, state.get("behind"), state.get("until"), waiting)

    def state(self) -> State:
        """Return the state for `of_state`."""
        given: State = {name: value for name, value in (("behind", self.behind), ("until", self.until)) if value is not None}
        given |= {"waiting": list(self.waiting)} if self.waiting else {}
        return {"sets": self.sets, "residue": self.residue, "proof": self.proof.state(), **given}

    def then(self, later: "SetSummary") -> "SetSummary":
        """Return the summary of both. The residue is that of `later`, to which it was carried."""
        behind = None if self.behind is None or later.behind is None else self.behind + later.behind
        until = None if self.until is None or later.until is None else max(self.until, later.until)
        return SetSummary(self.sets + later.sets, later.residue, self.proof.then(later.proof), behind, until, later.waiting)

    @property
    def bound(self) -> int:
        """An upper bound for the number of sets."""
        return self.proof.bound if self.behind is None else min(self.proof.bound, self.sets + self.behind)


@dataclass(slots=True)
class SetCarry:
    """What a slice hands to its successor: the open columns, the dead events, the prover, and `pending` events still to match.

    `counted` means that the predecessor's proof already counts the `pending` events.
    """

    steps: list[Column]
    dead: list[Column]
    pending: Batch
    counted: bool
    prover: Prover


def _overlapping(pieces: Sequence[Piece], span: Span, page: Page) -> tuple[Piece, ...]:
    wanted = page.rest(span)
    return tuple(piece for piece in pieces if piece.span.overlaps(wanted))


def _hull(pieces: Sequence[Piece]) -> Span | None:
    if not pieces:
        return None
    return Span(min(piece.span.start for piece in pieces), max(piece.span.end for piece in pieces))


def _until(pieces: Sequence[Piece]) -> int | None:
    """Return the time before which all sets end; None if some pieces do not know it."""
    ends = [piece.until for piece in pieces]
    return None if None in ends else max((each for each in ends if each is not None), default=0)


class FrozenSets(Frozen):
    """The complete sets of a retired slice. Not thread-safe: its collector owns it. Partial answers are immutable."""

    def __init__(self, pieces: list[Piece], proof: Proof, behind: int | None = None) -> None:
        self._pieces = pieces
        self._proof = proof
        self._behind = behind

    @staticmethod
    def of_state(state: State) -> "FrozenSets":
        """Restore a slice from its `state`; copies nothing."""
        pieces = [Piece.of_state(piece) for piece in state["pieces"]]
        return FrozenSets(pieces, Proof.of_state(state["proof"]), state.get("behind"))

    def state(self) -> State:
        """Return the state for `of_state`."""
        behind = {} if self._behind is None else {"behind": self._behind}
        return {"pieces": [piece.state() for piece in self._pieces], "proof": self._proof.state(), **behind}

    def settle(self) -> bool:
        """Compress one raw piece; returns whether another one is left. Cost: at most 3 ms, without Python's lock."""
        raw = [index for index, piece in enumerate(self._pieces) if not piece.is_sealed]
        for index in raw[:1]:
            self._pieces[index] = self._pieces[index].sealed()
        return len(raw) > 1

    def read(self, span: Span, arguments: Page) -> tuple[Piece | Told, ...]:
        """Return the pieces that overlap `span`. Cost: O(pieces), without decompression."""
        if isinstance(arguments, Explain):
            return tuple(pieces_at(self._pieces, arguments))
        return _overlapping(self._pieces, span, arguments)

    def meta(self) -> Meta:
        """Describe the slice. All of it is final."""
        span = _hull(self._pieces)
        sets = sum(piece.count for piece in self._pieces)
        return Meta(
            span=span,
            events=sets * len(self._proof.matrix),
            nbytes=sum(piece.nbytes for piece in self._pieces),
            dead_bytes=0,
            final_until=span.end if span else None,
            summary=SetSummary(sets, 0, self._proof, self._behind, _until(self._pieces)),
        )


class LiveSets(Live):
    """A slice that forms sets of `steps` steps, at most `max_sets`. Not thread-safe: its collector owns it.

    Row k of the step columns is the k-th open set. It is complete if every column has a row k; else its events wait. Events
    of a later step that found no partner are dead: only a late event can still use them.
    """

    def __init__(self, *, steps: int, max_sets: int, carry: SetCarry | None = None) -> None:
        self._max_sets = max_sets
        self._steps = carry.steps if carry else [Column() for _ in range(steps)]
        self._dead = carry.dead if carry else [Column() for _ in range(steps)]
        self._prover = carry.prover if carry else Prover(steps)
        self._closed: list[Piece] = []
        self._closed_sets = 0
        self._closed_bytes = 0
        self._pending = Batch.empty(steps)
        self._pending_counted = False
        if carry and carry.pending.count:
            self._take(carry.pending, None, counted=carry.counted)

    @staticmethod
    def of_state(state: State, *, max_sets: int) -> "LiveSets":
        """Restore a slice from its `state`."""
        live = LiveSets(steps=len(state["steps"]), max_sets=max_sets)
        live._restore(state)
        return live

    def _restore(self, state: State) -> None:
        self._steps = [Column.of_state(column) for column in state["steps"]]
        self._dead = [Column.of_state(column) for column in state["dead"]]
        self._prover = Prover.of_state(state["prover"])
        for each in state["closed"]:
            piece = Piece.of_state(each)
            if not piece.is_sealed:
                raise TypeError("a compressed piece was expected")
            self._closed.append(piece)
            self._closed_sets += piece.count
            self._closed_bytes += piece.nbytes
        self._pending = Batch.of_state(state["pending"])
        self._pending_counted = state["counted"]

    def state(self) -> State:
        """Return the state for `of_state`. Cost: a copy of the open columns, about 2 MB."""
        return {
            "steps": [column.state() for column in self._steps],
            "dead": [column.state() for column in self._dead],
            "prover": self._prover.state(),
            "closed": [piece.state() for piece in self._closed],
            "pending": self._pending.state(),
            "counted": self._pending_counted,
        }

    @property
    def full(self) -> bool:
        """Whether the slice holds `max_sets` sets."""
        return self._closed_sets + len(self._steps[-1]) >= self._max_sets

    def add(self, batch: Batch, watermark: int | None) -> Mapping[str, int]:
        """Take in an ordered batch. Cost: about 30 ns an event; for a late event, all later open events again."""
        assert not self.full, "a full slice is frozen before the next batch"
        self._take(batch, watermark, counted=False)
        return NONE_LOST

    def read(self, span: Span, arguments: Page) -> tuple[Piece | Told, ...]:
        """Return the closed pieces that overlap `span`, and a copy of the open sets in it."""
        if isinstance(arguments, Explain):
            return (*pieces_at(self._closed, arguments), *self._open_at(arguments), *self._told(arguments))
        complete = len(self._steps[-1])
        start = arguments.rest(span).start
        low = min(self._steps[0].before(start), complete)
        high = max(low, min(self._steps[0].before(span.end), complete))
        if arguments.needed is not None:
            equal = self._steps[0].before(start + 1) - low if arguments.after else 0
            high = min(high, low + equal + arguments.needed)
        closed = _overlapping(self._closed, span, arguments)
        if low == high:
            return closed
        return (*closed, Piece.of(tuple(column.peek(low, high) for column in self._steps)))

    def _open_at(self, wanted: Explain) -> list[Piece]:
        """Return a copy of the open sets with the event."""
        column, complete = self._steps[wanted.step], len(self._steps[-1])
        low, high = column.before(wanted.time), min(column.before(wanted.time + 1), complete)
        return [Piece.of(tuple(each.peek(low, high) for each in self._steps))] if low < high else []

    def _told(self, wanted: Explain) -> list[Told]:
        """Return how many events stand in no set, and what they lack."""
        step, column, dead = wanted.step, self._steps[wanted.step], self._dead[wanted.step]
        low, high = column.before(wanted.time), column.before(wanted.time + 1)
        told = [
            Told(min(high, len(before)) - max(low, len(later)), Lack.LATER, number)
            for number, (before, later) in enumerate(pairwise(self._steps[step:]), step + 1)
            if min(high, len(before)) > max(low, len(later))
        ]
        return told + self._unused(dead, Lack.EARLIER, wanted) + self._unmatched(wanted)

    @staticmethod
    def _unused(column: Column, lack: Lack, wanted: Explain) -> list[Told]:
        count = column.before(wanted.time + 1) - column.before(wanted.time)
        return [Told(count, lack)] if count else []

    def _unmatched(self, wanted: Explain) -> list[Told]:
        pending = self._pending.times[wanted.step]
        count = count_before(pending, wanted.time + 1) - count_before(pending, wanted.time)
        return [Told(count, Lack.ROOM)] if count else []

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Forget about `nbytes` of dead events, then of the oldest waiting rows. Complete sets stay.

        First frees the spare capacity of the columns, which loses nothing.
        """
        columns = (*self._steps, *self._dead)
        forgotten: dict[str, int] = {}
        until: int | None = None
        over = nbytes - sum(column.trim() for column in columns)
        for column in self._dead:
            if over > 0 and len(column):
                share = column.value_bytes
                count = column.popleft(-(-over // share)).size
                forgotten["dead_residue"] = forgotten.get("dead_residue", 0) + count
                over -= count * share
        if over > 0 and any(self._waiting):
            while len(self._steps[-1]):
                self._close(CHUNK)
            rows = -(-over // sum(column.value_bytes for column in self._steps if len(column)))
            gone = [column.popleft(rows) for column in self._steps]
            forgotten["residue"] = sum(column.size for column in gone)
            until = int(gone[0][-1]) + 1
        for column in columns:  # removed values have become spare capacity
            column.trim()
        return forgotten, until

    def freeze(self) -> tuple[FrozenSets, SetCarry]:
        """Return the complete sets, and everything else as carry. Cost: a copy of the open sets; they are compressed later."""
        pieces, proof, prover = self._retired()
        return FrozenSets(pieces, proof), SetCarry(self._steps, self._dead, self._pending, self._pending_counted, prover)

    def _retired(self) -> tuple[list[Piece], Proof, Prover]:
        """Remove and return the complete sets, with the proof of their bound and the prover of the successor."""
        pieces: list[Piece] = list(self._closed)
        last = self._steps[-1].last()
        while complete := len(self._steps[-1]):
            pieces.append(Piece.of(self._pop_sets(min(CHUNK, complete))))
        return pieces, *self._prover.close(last)

    @property
    def _waiting(self) -> tuple[int, ...]:
        """Number of events of each step in incomplete rows."""
        complete = len(self._steps[-1])
        return tuple(len(column) - complete for column in self._steps)

    def meta(self) -> Meta:
        """Describe the slice as it stands."""
        complete = len(self._steps[-1])
        residue = tuple(
            waiting + len(dead) + pending.size
            for waiting, dead, pending in zip(self._waiting, self._dead, self._pending.times, strict=True)
        )
        closed = _hull(self._closed)
        first = self._steps[0].first()
        span = closed
        if complete and first is not None:
            last = int(self._steps[0].peek(complete - 1, complete)[0])
            opened = Span(first, last + 1)
            span = closed.hull(opened) if closed else opened
        dead_bytes = sum(column.nbytes for column in self._dead if len(column))
        sets = self._closed_sets + complete
        return Meta(
            span=span,
            events=sets * len(self._steps) + sum(residue),
            nbytes=self._closed_bytes
            + sum(column.nbytes for column in (*self._steps, *self._dead))
            + self._prover.nbytes
            + self._pending.nbytes,
            dead_bytes=dead_bytes,
            final_until=first if first is not None else (closed.end if closed else None),
            summary=SetSummary(sets, sum(residue), self._prover.proof(), waiting=residue),
        )

    def _take(self, batch: Batch, watermark: int | None, *, counted: bool) -> None:
        """Match `batch`; events after the set that fills the slice are left pending."""
        first = batch.first()
        if first is None:
            return
        if len(batch.times) != len(self._steps):
            raise ValueError(f"a batch of {len(self._steps)} columns was expected, got {len(batch.times)}")
        # Open events that are not before the batch are matched again, together with it.
        kept = [column.before(first) for column in self._steps]
        again = Batch(tuple(column.peek(at, len(column)) for column, at in zip(self._steps, kept, strict=True)))
        dead = Batch(tuple(column.peek(column.before(first), len(column)) for column in self._dead))
        late = again.count + dead.count > 0
        events = Batch.concatenate((again, dead, batch), len(kept)).ordered() if late else batch
        waiting = [before - after for before, after in pairwise(kept)]
        room = self._max_sets - self._closed_sets - kept[-1]
        matched = match(waiting, events)
        pending, pending_counted = self._pending, counted
        if matched.taken[-1].size > room:
            events, pending = cut(events, matched.taken[-1], room)
            matched = match(waiting, events)
            # If some of the pending events were counted on arrival, all new ones are counted now.
            pending_counted = counted or late
            batch = batch if late else events
        prover = copy(self._prover)
        if not counted:
            prover.add(batch, watermark)
        try:
            self._replace(first, matched)
        except Exception:
            self._replace(first, Matched(list(again.times), list(dead.times)))
            raise
        self._prover, self._pending, self._pending_counted = prover, pending, pending_counted
        while len(self._steps[-1]) >= OPEN_SETS + CHUNK:
            self._close(CHUNK)

    def _replace(self, first: int, matched: Matched) -> None:
        """Replace the open events from the time `first` on."""
        for column, dead_column, taken, unfound in zip(self._steps, self._dead, matched.taken, matched.dead, strict=True):
            column.replace_from(first, taken)
            dead_column.replace_from(first, unfound)

    def _pop_sets(self, count: int) -> Rows:
        return tuple(column.popleft(count) for column in self._steps)

    def _close(self, count: int) -> None:
        piece = Piece.of(self._pop_sets(min(count, len(self._steps[-1])))).sealed()
        self._closed.append(piece)
        self._closed_sets += piece.count
        self._closed_bytes += piece.nbytes


def cut(events: Batch, completing: Times, room: int) -> tuple[Batch, Batch]:
    """Cut ordered `events` after the one that completes the `room`-th set; `completing` are the matched last-step events.

    Of last-step events at the same time, those that complete a set come first.
    """
    time = int(completing[room - 1])
    counts = [count_before(column, time + 1) for column in events.times]
    counts[-1] = count_before(events.times[-1], time) + room - count_before(completing, time)
    return events.split_at(counts)
