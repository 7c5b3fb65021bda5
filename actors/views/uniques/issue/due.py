"""Decides which rows are to be published for all shards, and writes them. Has no clock: the actor that asks decides when.

A look has the frames of each period, over all shards. What was published has them too. So a row is due because of what the
shards have now, whatever happened to the process that published before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.views.uniques.arguments import GRANULARITIES, Counts, Whole
from actors.views.uniques.issue.issued import Issued as Issued  # noqa: PLC0414  # the actor finds all in one module
from actors.views.uniques.issue.issued import Marks, Row
from actors.views.uniques.issue.issued import row_of as row_of  # noqa: PLC0414
from actors.views.uniques.piece import Piece
from actors.views.uniques.render import lines
from actors.views.uniques.view import UniquesView
from actors.views.view import View

LOOK = Counts()
"""The arguments of a look."""

_MOST_ROWS = 1_024
_MOST_FRAMES = 1_000_000
"""Frames of the rows that are asked for at once. A row has no more users than that, 8 bytes each."""


class Level(NamedTuple):
    """The periods of one length, by start."""

    level: int
    starts: Times
    frames: NDArray[np.int64]
    final: NDArray[np.bool_]


class Look(NamedTuple):
    """The frames of all periods, by level, and whether each is final for all shards. `idle`: all shards have read all."""

    levels: Mapping[int, Level]
    idle: bool

    @property
    def frames(self) -> int:
        """The frames of all periods of all lengths together."""
        return sum(int(level.frames.sum()) for level in self.levels.values())


class Wanted(NamedTuple):
    """A row that is due, in the order of publication. Times are ms."""

    end: int
    level: int
    start: int
    frames: int
    revision: int
    final: bool


def look_of(pieces: Sequence[Piece], *, idle: bool) -> Look:
    """Return the look that the joined cells of all shards give."""
    levels = {}
    for level in sorted({each.level for each in pieces}):
        own = [each for each in pieces if each.level == level]
        starts, rows = np.unique(np.concatenate([each.starts for each in own]), return_inverse=True)
        frames, final = np.zeros(starts.size, np.int64), np.zeros(starts.size, np.bool_)
        np.add.at(frames, rows, np.concatenate([each.frames for each in own]).astype(np.int64))
        np.logical_or.at(final, rows, np.concatenate([each.final for each in own]))
        levels[level] = Level(level, starts, frames, final)
    return Look(levels, idle)


def due(view: View, issued: Issued, before: Look | None, now: Look) -> list[Wanted]:
    """Return the rows that are due after two looks, ordered by end and length.

    A period that is final in both is due once. Periods that have more frames than were published are due too: those that were
    published as final together with the next one that becomes final, or in a silence; the others in a silence. There is a
    silence if all shards have read all in both looks, and no frame came in between. A period is never due with fewer frames
    than were published: what a shard has dropped changes no row.
    """
    if before is None:
        return []
    silent = before.idle and now.idle and before.frames == now.frames
    ended: list[Wanted] = []
    changed: list[Wanted] = []
    for own in now.levels.values():
        marks = issued.of(own.level, own.starts)
        stays = own.final & _final_in(before, own)
        new = stays & ~marks.final & (own.frames >= marks.frames) & (own.frames > 0)
        more = (own.frames > marks.frames) & ~new & (marks.final | ~own.final)
        ended += _wanted(view, own, marks, new, new)
        changed += _wanted(view, own, marks, more & (marks.final | silent), marks.final)
    return sorted(ended + changed if ended or silent else [])


def _final_in(look: Look, own: Level) -> NDArray[np.bool_]:
    """Return which of the periods `own` were final in a look."""
    known = look.levels.get(own.level)
    if known is None or not known.starts.size:
        return np.zeros(own.starts.size, np.bool_)
    places = np.minimum(np.searchsorted(known.starts, own.starts), known.starts.size - 1)
    final: NDArray[np.bool_] = (known.starts[places] == own.starts) & known.final[places]
    return final


def _wanted(view: View, own: Level, marks: Marks, chosen: NDArray[np.bool_], final: NDArray[np.bool_]) -> Iterator[Wanted]:
    """Yield the chosen periods. Cost: some 10 us each that is longer than a minute."""
    starts = own.starts[chosen]
    ends = cast("UniquesView", view).periods.ends(own.level, starts).tolist()
    columns = starts.tolist(), own.frames[chosen].tolist(), (marks.revisions[chosen] + 1).tolist(), final[chosen].tolist()
    for end, start, frames, revision, last in zip(ends, *columns, strict=True):
        yield Wanted(end, own.level, start, frames, revision, last)


def chunks(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Cut rows into parts that are asked for and published at once."""
    begin, frames = 0, 0
    for at, each in enumerate(wanted):
        if at > begin and (at - begin >= _MOST_ROWS or frames + each.frames > _MOST_FRAMES):
            yield wanted[begin:at]
            begin, frames = at, 0
        frames += each.frames
    if begin < len(wanted):
        yield wanted[begin:]


def asking(wanted: Sequence[Wanted]) -> Whole:
    """Return the arguments by which shards are asked for rows."""
    return Whole(None, tuple((GRANULARITIES[each.level], each.start) for each in wanted))


def rows(view: View, pieces: Sequence[Piece], wanted: Sequence[Wanted]) -> list[tuple[Row, bytes]]:
    """Return the rows with their lines, in the order of `wanted`, from the joined cells of all shards.

    Raises ValueError if a period has fewer frames than the look had: a slice was dropped meanwhile.
    """
    marks = {(each.level, each.start): each for each in wanted}
    marked = [_marked(each, marks) for each in pieces]
    text = b"".join(lines(marked, asking(wanted), cast("UniquesView", view).periods))
    found = [(row_of(line), line) for line in text.splitlines()]
    if len(found) != len(wanted) or any(row.frames < each.frames for (row, _), each in zip(found, wanted, strict=True)):
        raise ValueError("periods with all their frames were expected, some are gone")
    return found


def _marked(piece: Piece, marks: dict[tuple[int, int], Wanted]) -> Piece:
    """Return cells with the revisions of the rows. The first cell of a period says it for all, and takes its mark."""
    revisions, final = np.zeros(piece.count, np.int64), np.zeros(piece.count, np.bool_)
    for place, start in enumerate(piece.starts.tolist()):
        mark = marks.pop((piece.level, start), None)
        if mark is not None:
            revisions[place], final[place] = mark.revision, mark.final
    return replace(piece, revisions=revisions, final=final)
