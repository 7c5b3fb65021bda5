"""The view `words`: implements the contract of `actors.views.view`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from actors.columns.sealed import CHUNK
from actors.columns.snapshot import State
from actors.records.form import Form
from actors.timeline.grid import Grid
from actors.timeline.span import Span
from actors.views.view import Block, Decoded, Field, Meta, Records, Shape, View
from actors.views.words.arguments import Buckets, Counting, Figures
from actors.views.words.decode import decode
from actors.views.words.histogram import SHAPE, counted, figures
from actors.views.words.pieces import Piece, Remembered, total
from actors.views.words.records import RecordDecoder
from actors.views.words.slices import FrozenWords, LiveWords, WordSummary, recalled

Pieces = tuple[Piece, ...]

_PAIR_BYTES = 32
_ROW_BYTES = 24

_BLOCK = 512
"""Names in a block. A block takes 0.1 ms, unless names are long."""

_SHAPE = Shape("counts", (Field("name", "text"), Field("count")), "pair")
_BUCKETS = Shape("buckets", (Field("start"), Field("count")))


class WordsTotal(msgspec.Struct, frozen=True, rename="camel"):
    """Counts of all collectors."""

    types: Annotated[int, msgspec.Meta(description="Different types.")]
    words: Annotated[int, msgspec.Meta(description="Different words.")]
    pairs: Annotated[int, msgspec.Meta(description="Counts by second and name.")]


class WordsView(View):
    """Counts of each type of event and of each word. Times are in ms; a range is widened to whole seconds.

    If `words` is "alphabetic", events whose `data` is not one word of letters are refused. Records may have the form `record`,
    with the roles type, text and time.

    A slice has about `max_pairs` counts of a name in a second. Answers, and the summary of dropped slices, are exact up to
    `max_names` different names. With more names, they state the largest possible error of a count.
    """

    answers = "events"
    counts = WordsTotal
    summarised = SHAPE

    def __init__(
        self,
        *,
        words: Literal["any", "alphabetic"] = "any",
        max_pairs: int = 200_000,
        max_names: int = 100_000,
        record: Form | None = None,
    ) -> None:
        alphabetic = words == "alphabetic"
        self._decode = (
            partial(decode, alphabetic=alphabetic) if record is None else RecordDecoder(record, alphabetic=alphabetic).decode
        )
        self._max_pairs = max_pairs
        self._max_names = max_names

    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll."""
        return self._decode(records)

    def open(self, carry: None) -> LiveWords:  # noqa: ARG002  # the contract's
        """Start an empty live slice."""
        return LiveWords(max_pairs=self._max_pairs, max_names=self._max_names)

    def revive(self, state: State) -> LiveWords:
        """Return the live slice that `state` describes, with the limits of this view."""
        return LiveWords.of_state(state, max_pairs=self._max_pairs, max_names=self._max_names)

    def thaw(self, state: State) -> FrozenWords:
        """Return the frozen slice that `state` describes."""
        return FrozenWords.of_state(state, max_names=self._max_names)

    def summary(self, state: State) -> WordSummary:
        """Return the summary that `state` describes."""
        return WordSummary.of_state(state)

    def nothing(self) -> WordSummary:
        """Return the summary of no slice."""
        return WordSummary.nothing(self._max_names)

    def weigh(self, metas: Sequence[Meta], arguments: Counting) -> int:
        """Return the bytes of the counts as they are read, opened, and added up by name, or by second one block at a time."""
        if isinstance(arguments, Figures):
            own: list[WordSummary] = [meta.summary for meta in metas]
            return _PAIR_BYTES * sum(each.pairs for each in own) + _ROW_BYTES * CHUNK
        if isinstance(arguments, Buckets):
            return _ROW_BYTES * (CHUNK + max((meta.summary.pairs for meta in metas), default=0))
        return sum(meta.nbytes + _PAIR_BYTES * meta.summary.pairs for meta in metas)

    def recall(self, gone: WordSummary, span: Span, arguments: Counting) -> Pieces:
        """Return the counts of all dropped slices if `span` contains all times before their end, else no counts."""
        return recalled(gone, span, arguments)

    def shape(self, arguments: Counting) -> Shape:
        """Return a name and its count; JSON is an object of counts by name. Buckets have a start and a count."""
        if isinstance(arguments, Figures):
            return SHAPE
        return _BUCKETS if isinstance(arguments, Buckets) else _SHAPE

    @classmethod
    def buckets(cls, width: int) -> Buckets:
        """Return the arguments of a query for the number of events in each bucket, by their second."""
        return Buckets("types", width=width)

    @classmethod
    def figures(cls, by: Grid | None, per_s: int, most: int, lengths: Sequence[str]) -> Figures:  # noqa: ARG003
        """Return the arguments of a query for the number of events in each bucket, and the most of a second."""
        return Figures("types", by=by, most=most)

    def blocks(self, partial: Any, span: Span, arguments: Counting) -> Iterator[Block]:
        """Yield names and counts, the highest first; equal counts by the names' code points.

        Memory: `2 * max_names` counts and one slice's names. Cost: about 0.5 us a name of each slice, before the first block:
        0.3 s for 200,000.
        """
        if isinstance(arguments, Figures):
            yield from figures(partial, span, arguments)
            return
        if isinstance(arguments, Buckets):
            yield from counted(partial, span, arguments.width)
            return
        names, counts = total(partial, self._max_names).most(arguments.limit)
        for at in range(0, len(names), _BLOCK):
            yield Block((names[at : at + _BLOCK], counts[at : at + _BLOCK]))

    def remarks(self, partial: Pieces, arguments: Counting) -> Mapping[str, Any]:  # noqa: ARG002
        """Return `max_error`: by how much a count may be too high, and how often a name without a count may have occurred.

        Cost: O(1) if there are so few names that it must be 0; else as much as `blocks`.
        """
        sure = not any(map(_inexact, partial)) and sum(map(len, partial)) <= self._max_names
        return {"max_error": 0 if sure else total(partial, self._max_names).max_error}

    def describe(self, before: WordSummary, meta: Meta) -> WordsTotal:  # noqa: ARG002
        """Return the counts of a slice."""
        own: WordSummary = meta.summary
        return WordsTotal(len(own.types), len(own.words), own.pairs)


def _inexact(piece: Piece) -> bool:
    return isinstance(piece, Remembered) and piece.sums.max_error > 0
