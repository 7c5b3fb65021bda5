"""Live and frozen slices of `words`, their summaries, and the arguments of queries. A range is widened to whole seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Self, get_args

from actors.columns.snapshot import State
from actors.columns.times import INT64_MIN
from actors.timeline.span import Span, span_of_state, span_state
from actors.views.view import NONE_LOST, Frozen, Live, Meta
from actors.views.words.arguments import Buckets, Counting, Of
from actors.views.words.decode import MS, WordBatch
from actors.views.words.frequent import Frequent, counts_of, counts_state
from actors.views.words.pieces import Counted, Names, Piece, Range, Remembered, Rows, Totals, total
from actors.views.words.table import MOST_NAMES, FrozenTable, LiveTable, Tally

_TEXT_BYTES_A_PAIR = 256
"""A slice is also full if its names take more than this many bytes for each pair of its limit."""


@dataclass(frozen=True, slots=True, eq=False)
class WordSummary:
    """Numbers of events and pairs of slices, the hull of their times, and the total counts of types and words.

    `types` and `words` of one slice are its totals, not copied: those of a live slice still change. Composed summaries have at
    most `2 * max_names` names of each.
    """

    max_names: int
    events: int
    pairs: int
    span: Span | None
    types: Piece
    words: Piece

    @staticmethod
    def nothing(max_names: int) -> "WordSummary":
        """Return the summary of no slice."""
        return WordSummary(max_names, 0, 0, None, Remembered(Frequent(max_names)), Remembered(Frequent(max_names)))

    @staticmethod
    def of_state(state: State) -> "WordSummary":
        """Return the summary that `state` describes. Cost: 0.2 us a name. Raises ValueError, TypeError or KeyError."""
        max_names, events, pairs = map(index, state["numbers"])
        return WordSummary(max_names, events, pairs, span_of_state(state["span"]), *map(_sums_of, state["sums"]))

    def state(self) -> State:
        """Return the state for `of_state`. Copies the counts of a live slice. Cost: 50 ns a name that is not compressed."""
        return {
            "numbers": (self.max_names, self.events, self.pairs),
            "span": span_state(self.span),
            "sums": (_state_of_sums(self.types), _state_of_sums(self.words)),
        }

    def then(self, later: Self) -> "WordSummary":
        """Return the summary of both. Cost: O(names)."""
        spans = [span for span in (self.span, later.span) if span is not None]
        return WordSummary(
            self.max_names,
            self.events + later.events,
            self.pairs + later.pairs,
            spans[0].hull(spans[-1]) if spans else None,
            self._joined(self.types, later.types),
            self._joined(self.words, later.words),
        )

    def _joined(self, one: Piece, other: Piece) -> Remembered:
        sums = one.sums.copy() if isinstance(one, Remembered) else total([one], self.max_names)
        other.add_to(sums)
        return Remembered(sums)


class LiveWords(Live):
    """A slice that counts events. It is full when it has `max_pairs` pairs of a second and a type or word.

    Takes 16 to 24 bytes a pair if names recur, 150 if all names differ. Not thread-safe: its collector owns it.
    """

    def __init__(self, *, max_pairs: int, max_names: int) -> None:
        self._max_pairs = max_pairs
        self._max_names = max_names
        self._tables: dict[Of, LiveTable] = {"types": LiveTable(), "words": LiveTable()}
        self._events = 0
        self._span: Span | None = None

    @property
    def full(self) -> bool:
        """Whether the slice has `max_pairs` pairs, or `_TEXT_BYTES_A_PAIR` bytes of names for each of them."""
        tables = self._tables.values()
        if any(len(table.tally) >= MOST_NAMES for table in tables):
            return True
        text_bytes = sum(table.tally.text_bytes for table in tables)
        return sum(table.pairs for table in tables) >= self._max_pairs or text_bytes >= self._max_pairs * _TEXT_BYTES_A_PAIR

    def add(self, batch: WordBatch, watermark: int | None) -> Mapping[str, int]:  # noqa: ARG002  # the contract's
        """Add a batch, in any order of time. Cost: as `LiveTable.add`."""
        assert not self.full, "a full slice is frozen before the next batch"
        if batch.earliest is None or batch.latest is None:
            return NONE_LOST
        for pairs in batch.types:
            self._tables["types"].add(pairs)
        for pairs in batch.words:
            self._tables["words"].add(pairs)
        self._events += batch.count
        span = Span(batch.earliest // MS * MS, (batch.latest // MS + 1) * MS)
        self._span = self._span.hull(span) if self._span else span
        return NONE_LOST

    def read(self, span: Span, arguments: Counting) -> tuple[Piece, ...] | tuple[Rows, ...]:
        """Return a copy of the counts in `span`. Cost: as `LiveTable.read`."""
        if self._span is None or not self._span.overlaps(span):
            return ()
        if isinstance(arguments, Buckets):
            return self._tables[arguments.of].rows(seconds(span))
        return (self._tables[arguments.of].read(seconds(span), whole=span.contains(self._span)),)

    def freeze(self) -> tuple["FrozenWords", None]:
        """Return the counts as columns, and no carry. Cost: 10 ns a pair."""
        tables = {of: table.freeze() for of, table in self._tables.items()}
        return FrozenWords(tables, self.meta().summary), None

    def meta(self) -> Meta:
        """Describe the slice as it stands. Cost: O(1)."""
        types, words = self._tables["types"], self._tables["words"]
        pairs = types.pairs + words.pairs
        summary = WordSummary(self._max_names, self._events, pairs, self._span, types.tally, words.tally)
        return Meta(self._span, self._events, types.nbytes + words.nbytes, 0, None, summary)

    @staticmethod
    def of_state(state: State, *, max_pairs: int, max_names: int) -> "LiveWords":
        """Return the slice that `state` describes.

        Cost: 0.1 us a pair, 0.3 us a name. Raises ValueError, TypeError or KeyError.
        """
        live = LiveWords(max_pairs=max_pairs, max_names=max_names)
        live._events, live._span = index(state["events"]), span_of_state(state["span"])
        live._tables = {of: LiveTable.of_state(state[of]) for of in live._tables}
        return live

    def state(self) -> State:
        """Return the state for `of_state`. Same cost as `LiveTable.state`."""
        tables = {of: table.state() for of, table in self._tables.items()}
        return {"events": self._events, "span": span_state(self._span), **tables}


class FrozenWords(Frozen):
    """A retired slice: compressed text for its names, and columns for its counts. Not thread-safe: its collector owns it.

    Once settled, it takes 0.7 to 1.2 bytes a pair if names recur, 4 if all names differ.
    """

    def __init__(self, tables: dict[Of, FrozenTable], summary: WordSummary) -> None:
        self._tables = tables
        self._events, self._pairs = summary.events, summary.pairs
        self._max_names, self._span = summary.max_names, summary.span

    def settle(self) -> bool:
        """Compress one block; return whether more blocks are left. Cost: 1 ms for counts, 14 ms for names."""
        left = [table for table in self._tables.values() if not table.settled]
        if left:
            left[0].settle()
        return not all(table.settled for table in left)

    def read(self, span: Span, arguments: Counting) -> tuple[Piece, ...] | tuple[Rows, ...]:
        """Return the counts in `span`, still compressed: the totals if `span` contains the slice. Cost: O(blocks)."""
        if self._span is None or not self._span.overlaps(span):
            return ()
        if isinstance(arguments, Buckets):
            return self._tables[arguments.of].rows(seconds(span))
        return (self._tables[arguments.of].read(seconds(span), whole=span.contains(self._span)),)

    def meta(self) -> Meta:
        """Describe the slice. Cost: O(blocks) once it is settled."""
        types, words = self._tables["types"], self._tables["words"]
        summary = WordSummary(self._max_names, self._events, self._pairs, self._span, types.totals, words.totals)
        return Meta(self._span, self._events, types.nbytes + words.nbytes, 0, None, summary)

    @staticmethod
    def of_state(state: State, *, max_names: int) -> "FrozenWords":
        """Return the slice that `state` describes. Shares compressed columns. Raises ValueError, TypeError or KeyError."""
        tables: dict[Of, FrozenTable] = {of: FrozenTable.of_state(state[of]) for of in get_args(Of)}
        types, words = tables["types"].totals, tables["words"].totals
        span = span_of_state(state["span"])
        return FrozenWords(tables, WordSummary(max_names, index(state["events"]), index(state["pairs"]), span, types, words))

    def state(self) -> State:
        """Return the state for `of_state`. Cost: O(blocks)."""
        tables = {of: table.state() for of, table in self._tables.items()}
        return {"events": self._events, "pairs": self._pairs, "span": span_state(self._span), **tables}


def seconds(span: Span) -> Range:
    """Return the whole seconds that `span` overlaps, which is in ms and not empty.

    >>> seconds(Span(1_500, 2_001))
    (1, 3)
    """
    return span.start // MS, -(-span.end // MS)


def recalled(gone: WordSummary, span: Span, arguments: Counting) -> tuple[Piece, ...]:
    """Return the total counts of dropped slices if `span` contains all times before their end, else no counts."""
    if isinstance(arguments, Buckets) or span.start > INT64_MIN or gone.span is None or span.end < gone.span.end:
        return ()
    return (gone.types if arguments.of == "types" else gone.words,)


def _state_of_sums(piece: Piece) -> State:
    """Return the state for `_sums_of`. Copies the counts of a live slice. Same cost as `counts_state`."""
    match piece:
        case Totals(runs):
            return "totals", [run.state() for run in runs]
        case Remembered(sums):
            return "remembered", sums.state()
        case Counted(counts):
            return "counted", counts_state(counts)
        case Tally():
            return "counted", counts_state(piece.snapshot())
        case _:
            raise TypeError(f"the total counts of a slice were expected, got {type(piece).__name__}")


def _sums_of(state: State) -> Piece:
    """Return the counts that `state` describes. Raises ValueError or TypeError."""
    kind, counts = state
    match kind:
        case "totals":
            return Totals(tuple(map(Names.of_state, counts)))
        case "remembered":
            return Remembered(Frequent.of_state(counts))
        case "counted":
            return Counted(counts_of(counts))
        case _:
            raise ValueError(f"a kind of counts was expected, got {kind!r}")
