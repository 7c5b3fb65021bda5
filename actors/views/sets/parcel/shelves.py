"""How a matcher's part with slips becomes an answer: what the shelves are asked for, and what replaces the slips. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from actors.timeline.span import Span
from actors.views.sets.arguments import Explain, Page
from actors.views.sets.explain.told import Told
from actors.views.sets.parcel.slips import Away, Slip
from actors.views.sets.pieces import Piece
from actors.views.view import Frozen


class Box(NamedTuple):
    """What the generation `name` has of an answer, from a shelf."""

    name: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A question to the shelves: what each generation of `wanted` has of a `page`, or of an explanation.

    A generation is given by its name, its number, and the offset at which its record ends.
    """

    wanted: tuple[tuple[str, int, int], ...]
    shards: tuple[int, ...]
    page: Page
    explain: Explain | None = None


def shelf_of(number: int, shards: int) -> int:
    """Return the shard that holds the generation with a number. Shard 0 matches.

    >>> [shelf_of(number, 3) for number in range(4)]
    [1, 2, 1, 2]
    """
    return 1 + number % (shards - 1)


def fetching(partial: Sequence[Piece | Told | Slip], arguments: Page, shards: int) -> Fetch | None:
    """Return what to ask the shelves, None if the matcher has all of the answer itself."""
    slips = [each for each in partial if isinstance(each, Slip)]
    if not slips:
        return None
    return Fetch(
        tuple((slip.name, slip.number, slip.at) for slip in slips),
        tuple(sorted({shelf_of(slip.number, shards) for slip in slips})),
        Page(arguments.limit, arguments.after),
        arguments if isinstance(arguments, Explain) else None,
    )


def taken(frozen: Frozen, name: str, span: Span, fetch: Fetch) -> Box:
    """Return what a generation has of an answer about `span`."""
    pieces: tuple[Piece, ...] = frozen.read(span, fetch.page if fetch.explain is None else fetch.explain)
    return Box(name, pieces)


def away(arguments: Page) -> Away | None:
    """Return the question for all slips from the place of a page on; None if the answer to `arguments` has them all."""
    return None if arguments.limit is None or isinstance(arguments, Explain) else Away(None, arguments.after)


def spans_of(slips: Sequence[Slip], absent: Container[int], shards: int) -> tuple[Span, ...]:
    """Return the spans of the generations that the `absent` shards hold."""
    return tuple(slip.span for slip in slips if shelf_of(slip.number, shards) in absent)


def wider(arguments: Page, count: int) -> Page:
    """Return the arguments of a page that has `count` more sets than that of `arguments`, from the same place on."""
    if arguments.limit is None or isinstance(arguments, Explain):
        return arguments
    return replace(arguments, limit=arguments.limit + count)


def filled(partial: Sequence[Piece | Told | Slip], boxes: Sequence[Box]) -> tuple[tuple[Piece | Told, ...], tuple[Slip, ...]]:
    """Return a part with what the boxes have in place of its slips, and the slips without a box."""
    found: Mapping[str, tuple[Piece, ...]] = {box.name: box.pieces for box in boxes}
    pieces: list[Piece | Told] = []
    missing: list[Slip] = []
    for each in partial:
        if not isinstance(each, Slip):
            pieces.append(each)
        elif each.name in found:
            pieces += found[each.name]
        else:
            missing.append(each)
    return tuple(pieces), tuple(missing)
