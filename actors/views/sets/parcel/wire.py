"""The bytes of a part: pieces as they are, which are compressed mostly. For a page, only those that it surely needs."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from actors.columns.fields import integer
from actors.columns.snapshot import State
from actors.timeline.span import Span
from actors.views.sets.arguments import Buckets, Explain, Numbers, Page
from actors.views.sets.explain.told import Lack, Told
from actors.views.sets.parcel.shelves import Box, Fetch
from actors.views.sets.parcel.slips import Away, Slip
from actors.views.sets.pieces import Piece
from actors.views.view import View

ARGUMENTS: Mapping[str, type[Any]] = {each.__name__: each for each in (Page, Buckets, Numbers, Explain, Fetch, Away)}

_PIECE, _TOLD, _SLIP, _BOX = range(4)

_Spanned = TypeVar("_Spanned", bound=Piece | Slip)


def asks(arguments: Page | Fetch, shards: int) -> Sequence[int]:  # noqa: ARG001  # the protocol's
    """Return the shards that a question is for: the matcher, or shelves."""
    return arguments.shards if isinstance(arguments, Fetch) else (0,)


def packed(view: View, partial: Sequence[Any], arguments: Page | Fetch) -> State:  # noqa: ARG001  # the protocol's
    """Return a part as a state. Cost: no copy of compressed pieces; of a long page, at most a piece more than it needs."""
    if isinstance(arguments, Fetch):
        page = arguments.page if arguments.explain is None else arguments.explain
        all_pieces = [piece for box in partial for piece in box.pieces]
        kept = set(map(id, needed(all_pieces, page)))
        return [(_BOX, box.name, [piece.state() for piece in box.pieces if id(piece) in kept]) for box in partial]
    spanned = [each for each in partial if isinstance(each, Piece | Slip)]
    kept = set(map(id, needed(spanned, arguments)))
    return [_row(each) for each in partial if isinstance(each, Told) or id(each) in kept]


def _row(each: Piece | Told | Slip) -> State:
    if isinstance(each, Piece):
        return _PIECE, each.state()
    if isinstance(each, Slip):
        return _SLIP, each.row()
    return _TOLD, each.events, each.lack.name, each.step


def unpacked(view: View, state: State) -> tuple[Any, ...]:  # noqa: ARG001  # the protocol's
    """Return the part of a state. The columns of its pieces are not copied."""
    return tuple(map(_part, state))


def _part(row: State) -> Piece | Told | Slip | Box:
    kind, *given = row
    if kind == _PIECE:
        return Piece.of_state(given[0])
    if kind == _SLIP:
        return Slip.of(given[0])
    if kind == _BOX:
        return Box(str(given[0]), tuple(map(Piece.of_state, given[1])))
    if kind != _TOLD:
        raise ValueError(f"a part of sets was expected, not one of the kind {kind}")
    return Told(integer(given[0]), Lack[given[1]], integer(given[2]))


def needed(pieces: Sequence[_Spanned], page: Page) -> Sequence[_Spanned]:
    """Return the pieces that a page needs: the earliest ones, as many as surely fill it. All of them overlap its range.

    Where the range begins and ends is not known here. A piece is surely within it if it begins after some piece has ended, and
    ends before some piece begins.
    """
    if page.needed is None or isinstance(page, Explain) or len(pieces) < 2:
        return pieces
    begun, ending = min(piece.span.end for piece in pieces), max(piece.span.start for piece in pieces)
    chosen: list[_Spanned] = []
    sure, reach = 0, begun
    for piece in sorted(pieces, key=lambda each: each.span.start):
        if sure >= page.needed and piece.span.start >= reach:
            break
        chosen.append(piece)
        if piece.span.start >= begun and piece.span.end <= ending:
            sure += piece.count
            reach = max(reach, piece.span.end)
    return chosen


def joined(
    view: View,
    partials: Sequence[Any],
    *,
    until: int | None,  # noqa: ARG001  # the protocol's
    idle: bool,  # noqa: ARG001
    clock: int | None,  # noqa: ARG001  # the protocol's
    span: Span,  # noqa: ARG001
    arguments: Page | Fetch,  # noqa: ARG001
) -> Any:
    """Join the part of the matcher, or the boxes of the shelves."""
    return view.merge(partials)
