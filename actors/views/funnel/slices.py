"""Live and frozen slices of a funnel, and the carry between them.

A live slice holds the events that are not final in its store, and the final rows. It is frozen with the final rows; the store
is the carry. Nothing that is final changes with a later event.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple, Self

import numpy as np

from actors.columns.fields import integer, listed
from actors.columns.snapshot import State
from actors.columns.text import Hashes, Text
from actors.columns.times import INT64_MAX, INT64_MIN
from actors.records.roles import NUMERIC
from actors.timeline.span import Span
from actors.views.funnel.arguments import Asked, Figures, Listing, Story, Totals
from actors.views.funnel.decode import Keyed
from actors.views.funnel.pieces import Piece, Rows, merged, pieces_of
from actors.views.funnel.store import Store
from actors.views.view import NONE_LOST, Due, Frozen, Live, Meta, Silence


@dataclass(frozen=True, slots=True)
class FunnelSummary:
    """Counts of one slice, or of consecutive slices. `held` are the events that are not final; all others count final rows."""

    complete: int = 0
    lapsed: int = 0
    unmatched: int = 0
    """Events that stand in no sequence."""
    held: int = 0

    @staticmethod
    def of_state(state: State) -> "FunnelSummary":
        """Restore a summary from its `state`."""
        complete, lapsed, unmatched, held = (integer(each, 0) for each in listed(state))
        return FunnelSummary(complete, lapsed, unmatched, held)

    def state(self) -> State:
        """Return the state for `of_state`."""
        return astuple(self)

    def then(self, later: "FunnelSummary") -> "FunnelSummary":
        """Return the summary of both. Events that are held were carried to the later slice."""
        return FunnelSummary(
            self.complete + later.complete, self.lapsed + later.lapsed, self.unmatched + later.unmatched, later.held
        )


class Part(NamedTuple):
    """The rows of a piece in a span. `watermark`: sequences whose limit it has not passed are open. None: all are final."""

    piece: Piece
    span: Span
    watermark: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the piece are in the span, and final."""
        return self.watermark is None and self.span.start <= self.piece.span.start and self.piece.span.end <= self.span.end


@dataclass(slots=True)
class FunnelCarry:
    """What a slice hands to its successor: the events that are not final, the watermark, and rows to be published."""

    store: Store
    watermark: int
    due: list[Piece]


def _parts(pieces: Sequence[Piece], span: Span, arguments: Asked, watermark: int | None = None) -> tuple[Part, ...]:
    """Return the pieces that may have a row of a query."""
    key = arguments.key if isinstance(arguments, Listing | Story) else None
    hashes = None if key is None else hashes_of(keys_named(key))
    return tuple(
        Part(piece, span, watermark)
        for piece in pieces
        if piece.span.overlaps(span) and (hashes is None or any(map(piece.has, hashes.tolist())))
    )


_WHOLE = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def keys_named(name: bytes) -> list[bytes]:
    r"""Return the keys with a name: the text, and the whole number of 64 bits if it is the digits of one.

    >>> keys_named(b"A7"), keys_named(b"-7"), keys_named(b"07")
    ([b'A7'], [b'-7', b'\xff-7'], [b'07'])
    """
    is_number = _WHOLE.fullmatch(name) is not None and INT64_MIN <= int(name) <= INT64_MAX
    return [name, NUMERIC + name] if is_number else [name]


def hashes_of(keys: Sequence[bytes]) -> Hashes:
    """Return the hash of each key."""
    return Text.of(keys).hashes()


def _hull(pieces: Sequence[Piece]) -> Span | None:
    if not pieces:
        return None
    return Span(min(piece.span.start for piece in pieces), max(piece.span.end for piece in pieces))


class FrozenFunnel(Frozen):
    """The final rows of a retired slice. Not thread-safe: its collector owns it. Partial answers are immutable."""

    def __init__(self, pieces: list[Piece], summary: FunnelSummary) -> None:
        self._pieces = pieces
        self._summary = summary

    @staticmethod
    def of_state(state: State, *, steps: int) -> "FrozenFunnel":
        """Restore a slice from its `state`; copies nothing."""
        pieces = [Piece.of_state(each, steps) for each in listed(state["pieces"])]
        return FrozenFunnel(pieces, FunnelSummary.of_state(state["summary"]))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return {"pieces": [piece.state() for piece in self._pieces], "summary": self._summary.state()}

    def settle(self) -> bool:
        """Compress one raw piece; returns whether another one is left. Cost: at most 50 ms, without Python's lock."""
        raw = [index for index, piece in enumerate(self._pieces) if not piece.is_sealed]
        for index in raw[:1]:
            self._pieces[index] = self._pieces[index].sealed()
        return len(raw) > 1

    def read(self, span: Span, arguments: Asked) -> tuple[Part, ...]:
        """Return the pieces that overlap `span`. Cost: O(pieces), 20 us a piece for a key, without decompression."""
        return _parts(self._pieces, span, arguments)

    def meta(self) -> Meta:
        """Describe the slice. All of it is final."""
        span = _hull(self._pieces)
        return Meta(
            span=span,
            events=sum(piece.events for piece in self._pieces),
            nbytes=sum(piece.nbytes for piece in self._pieces),
            dead_bytes=0,
            final_until=span.end if span else None,
            summary=self._summary,
        )


class LiveFunnel(Live):
    """A slice of sequences of the steps of `pattern` `within` a time. It is full with `max_sequences` final rows.

    Not thread-safe: its collector owns it.
    """

    def __init__(self, *, pattern: Sequence[int], within: int, max_sequences: int, carry: FunnelCarry | None = None) -> None:
        self._steps = len(pattern)
        self._max_sequences = max_sequences
        self._store = carry.store if carry else Store(pattern=pattern, within=within)
        self._watermark = carry.watermark if carry else 0
        self._pieces: list[Piece] = []
        self._final = FunnelSummary()
        self._due = carry.due if carry else []

    @classmethod
    def of_state(cls, state: State, *, pattern: Sequence[int], within: int, max_sequences: int) -> Self:
        """Restore a slice from its `state`."""
        live, steps = cls(pattern=pattern, within=within, max_sequences=max_sequences), len(pattern)
        live._store = Store.of_state(state["store"], pattern=pattern, within=within)
        live._watermark = integer(state["watermark"], 0)
        live._pieces = [Piece.of_state(each, steps).copied() for each in listed(state["pieces"])]
        live._due = [Piece.of_state(each, steps).copied() for each in listed(state["due"])]
        live._final = FunnelSummary.of_state(state["final"])
        if live._final.held:
            raise ValueError("a count of final rows was expected")
        return live

    def state(self) -> State:
        """Return the state for `of_state`. Copies nothing."""
        return {
            "store": self._store.state(),
            "watermark": self._watermark,
            "pieces": [piece.state() for piece in self._pieces],
            "due": [piece.state() for piece in self._due],
            "final": self._final.state(),
        }

    @property
    def full(self) -> bool:
        """Whether the slice has `max_sequences` final rows."""
        return self._final.complete + self._final.lapsed + self._final.unmatched >= self._max_sequences

    @property
    def due_at(self) -> int | None:
        """The time at which something becomes final without a further event."""
        due = self._store.due
        return None if due is None else due + 1

    def add(self, batch: Keyed, watermark: int | None) -> Mapping[str, int]:
        """Take in events, in any order. Cost: about 1 us an event."""
        assert not self.full, "a full slice is frozen before the next batch"
        self._store.add(batch)
        self._watermark = max(self._watermark, watermark or 0)
        if self._store.ripe(self._watermark):
            self._settle()
        return NONE_LOST

    def close(self, watermark: int | None, silence: Silence | None) -> Due | None:
        """Return the rows that have become final. In a silence, the stream's time goes on with the clock."""
        times = [watermark, silence.time if silence is not None else None]
        if silence is not None and silence.ended:
            times.append(self._store.last + 1)
        self._watermark = max(self._watermark, *(time or 0 for time in times))
        due = self._store.due
        if silence is not None and not self.full and (self._store.fresh or (due is not None and due < self._watermark)):
            self._settle()
        if not self._due:
            return None
        pieces, self._due = self._due, []
        span = Span(min(piece.span.start for piece in pieces), max(piece.span.end for piece in pieces))
        return Due(span, None, tuple(Part(piece, span) for piece in pieces))

    def read(self, span: Span, arguments: Asked) -> tuple[Part, ...]:
        """Return the pieces that overlap `span`, and the rows of the store as they stand.

        Cost: 0.3 us for each event that is not final; O(keys) and little more if the query is for a key.
        """
        final = _parts(self._pieces, span, arguments)
        if isinstance(arguments, Totals | Figures):
            rows = self._store.rows(self._watermark, named=False)
        else:
            named = None if arguments.key is None else hashes_of(keys_named(arguments.key))
            rows = self._store.rows(self._watermark, named)
        return (*final, *_parts(pieces_of(rows), span, arguments, self._watermark))

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Forget about `nbytes` of the keys that have waited longest. Final rows stay."""
        if nbytes <= 0 or self.full:
            return {}, None
        before = self._store.nbytes
        self._settle()
        events, until = self._store.shed(nbytes - max(0, before - self._store.nbytes))
        return ({"open": events} if events else {}), until

    def freeze(self) -> tuple[FrozenFunnel, FunnelCarry]:
        """Return the final rows, not compressed, and the store as carry. Cost: O(pieces)."""
        return FrozenFunnel(self._pieces, self._final), FunnelCarry(self._store, self._watermark, self._due)

    def meta(self) -> Meta:
        """Describe the slice as it stands. Cost: O(pieces)."""
        final, first = _hull(self._pieces), self._store.first
        span = final
        if first is not None:
            held = Span(first, self._store.last + 1)
            span = final.hull(held) if final else held
        own = self._final
        return Meta(
            span=span,
            events=sum(piece.events for piece in self._pieces) + self._store.count,
            nbytes=sum(piece.nbytes for piece in self._pieces) + self._store.nbytes + sum(piece.nbytes for piece in self._due),
            dead_bytes=0,
            final_until=first if first is not None else (final.end if final else None),
            summary=FunnelSummary(own.complete, own.lapsed, own.unmatched, self._store.count),
        )

    def _settle(self) -> None:
        rows = self._store.settle(self._watermark)
        if not rows.size:
            return
        found = pieces_of(rows)
        self._due = [*self._due, *found]
        for piece in found:
            merged(self._pieces, piece)
        self._final = self._final.then(counted(rows))


def counted(rows: Rows) -> FunnelSummary:
    """Return how many of these final rows are complete, lapsed, and of events without a sequence."""
    begun, whole = rows.times[0] >= 0, rows.times[-1] >= 0
    complete = int((begun & whole).sum())
    return FunnelSummary(complete, int(begun.sum()) - complete, int(np.count_nonzero(~begun)))
