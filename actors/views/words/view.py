"""The view `words`: decode, open, merge and render, behind the contract that the actors know."""

from collections.abc import Iterator, Mapping, Sequence

from actors.columns.snapshot import State
from actors.timeline.span import Span
from actors.views.view import Column, Decoded, Due, Field, Meta, Records, View
from actors.views.words.decode import decode
from actors.views.words.pieces import Piece, Remembered, total
from actors.views.words.render import FIELDS, columns, json, lines
from actors.views.words.slices import Counting, FrozenWords, LiveWords, WordSummary, recalled

Pieces = tuple[Piece, ...]


class WordsView(View):
    """How often each type of event and each word occurred. Times are in ms; a range is widened to whole seconds.

    A slice holds some `max_pairs` counts of a name in a second. Answers, and what is kept of dropped slices, are exact up to
    `max_names` different names; beyond, they state by how much a count may be too high. Taking in a line of two words costs
    1 us, nearly all of it to decode, with 1,000 events a second of event time; 3 us with five, 7.5 us with one.
    """

    def __init__(self, *, max_pairs: int = 200_000, max_names: int = 100_000) -> None:
        self._max_pairs = max_pairs
        self._max_names = max_names

    def decode(self, records: Records) -> Decoded:
        """Read a whole poll, counted by second."""
        return decode(records.values)

    def open(self, carry: None) -> LiveWords:  # noqa: ARG002  # the contract's
        """Start a live slice with nothing."""
        return LiveWords(max_pairs=self._max_pairs, max_names=self._max_names)

    def revive(self, state: State) -> LiveWords:
        """Return the live slice of which `state` was taken, with the limits of this view."""
        return LiveWords.of_state(state, max_pairs=self._max_pairs, max_names=self._max_names)

    def thaw(self, state: State) -> FrozenWords:
        """Return the frozen slice of which `state` was taken."""
        return FrozenWords.of_state(state, max_names=self._max_names)

    def summary(self, state: State) -> WordSummary:
        """Return the summary of which `state` was taken."""
        return WordSummary.of_state(state)

    def nothing(self) -> WordSummary:
        """Return the summary of no slice."""
        return WordSummary.nothing(self._max_names)

    def select(self, metas: Sequence[Meta], span: Span, arguments: Counting) -> list[int]:  # noqa: ARG002
        """Return the slices that overlap `span`."""
        return [index for index, meta in enumerate(metas) if meta.span is not None and meta.span.overlaps(span)]

    def merge(self, partials: Sequence[Pieces]) -> Pieces:
        """Join partial answers; order does not matter, as rendering sums them."""
        return tuple(piece for partial in partials for piece in partial)

    def recall(self, gone: WordSummary, span: Span, arguments: Counting) -> Pieces:
        """Return the counts of all dropped slices, where `span` is since ever; for another one they are not known."""
        return recalled(gone, span, arguments)

    def publish(self, partial: Pieces, due: Due) -> Iterator[bytes]:  # noqa: ARG002
        """Write nothing: counts are asked for, not published."""
        return iter(())

    def max_error(self, partial: Pieces, arguments: Counting) -> int:  # noqa: ARG002
        """Return by how much a count of the answer may be too high, and how often a name without one may have occurred.

        Cost: O(1) while few names make it 0 for sure; else, as much as to render.
        """
        sure = not any(map(_inexact, partial)) and sum(map(len, partial)) <= self._max_names
        return 0 if sure else total(partial, self._max_names).max_error

    def render(
        self,
        partial: Pieces,
        span: Span,  # noqa: ARG002
        arguments: Counting,
        form: str,
        members: Mapping[str, object],
    ) -> Iterator[bytes]:
        """Write counts as `{"foo":12,"bar":3}`, the highest first, equal ones by code points; or a line for each.

        With `members` it is `{"counts":{…},"max_error":0,…}`. Memory: `2 * max_names` counts and one slice's names. Cost: some
        0.5 us a name of each slice, before the first block: 0.3 s for 200,000.
        """
        sums = total(partial, self._max_names)
        counts = sums.most(arguments.limit)
        yield from lines(counts) if form == "ndjson" else json(counts, sums.max_error, members)

    def fields(self, arguments: Counting) -> tuple[Field, ...]:  # noqa: ARG002
        """Return the name and its count."""
        return FIELDS

    def columns(
        self,
        partial: Pieces,
        span: Span,  # noqa: ARG002
        arguments: Counting,
    ) -> Iterator[Mapping[str, Column]]:
        """Yield names and counts as `render` orders them, and at its cost."""
        yield from columns(total(partial, self._max_names).most(arguments.limit))

    def describe(self, before: WordSummary, meta: Meta) -> dict[str, object]:  # noqa: ARG002
        """Return a slice's row of the stats: different types and words, and pairs of a second and one of them."""
        own: WordSummary = meta.summary
        return {"types": len(own.types), "words": len(own.words), "pairs": own.pairs}


def _inexact(piece: Piece) -> bool:
    return isinstance(piece, Remembered) and piece.sums.max_error > 0
