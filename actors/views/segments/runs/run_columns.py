"""Converts runs to the columns of a state, and back. The pieces of all runs are joined to a few large blocks.

Spooled pieces are read when the state is written, a block at a time. When a state is read, they are written to the spool.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from operator import attrgetter

import numpy as np

from actors.columns.fields import blob, bounds, column, joined, listed
from actors.columns.snapshot import Deferred, State
from actors.views.segments.runs.run import EMPTY, Narrow, Piece, Raw, Run, Sealed, Spooled, is_narrow, run_of
from actors.views.segments.runs.spool import Spool

_BLOCK_BYTES = 1 << 20
"""Size of a block of pieces. The last piece may exceed it."""

_KINDS = (Raw, Sealed)
_SPOOLED = 2
"""Added to the index in `_KINDS` if the piece is in the spool."""


def state_of(runs: Sequence[Run]) -> State:
    """Return the state for `runs_of`. The state keeps references to the pieces, so that the spool keeps their bytes.

    Cost: about 2 us a run of one piece. Copies no numbers.
    """
    pieces = list(chain.from_iterable(map(attrgetter("pieces"), runs)))
    kinds = np.fromiter(map(_kind, pieces), np.uint8, len(pieces))
    sizes = np.fromiter(map(_size, pieces), np.int64, len(pieces))
    numbers = np.cumsum(sizes) - sizes
    starts = np.flatnonzero(np.diff(numbers // _BLOCK_BYTES, prepend=-1))
    counts = np.diff(starts, append=len(pieces))
    cuts = bounds(counts, len(pieces))
    return {
        "counts": np.fromiter(map(attrgetter("count"), runs), np.int64, len(runs)),
        "firsts": np.fromiter((run.first or 0 for run in runs), np.int64, len(runs)),
        "lasts": np.fromiter((run.last or 0 for run in runs), np.int64, len(runs)),
        "digests": np.fromiter(map(attrgetter("digest"), runs), np.uint64, len(runs)),
        "pieces": np.fromiter((len(run.pieces) for run in runs), np.int64, len(runs)),
        "kinds": kinds,
        "sizes": sizes,
        "blocks": counts,
        "data": [_block(pieces[low:high]) for low, high in pairwise(cuts)],
    }


def runs_of(state: State, spool: Spool) -> list[Run]:
    """Return the runs that `state` describes. Copies the numbers; pieces that lay in a spool are written to `spool`.

    Raises OSError if the spool has no room.
    """
    counts = column(state["counts"], np.int64)
    firsts, lasts = column(state["firsts"], np.int64, counts.size), column(state["lasts"], np.int64, counts.size)
    digests = column(state["digests"], np.uint64, counts.size)
    if (counts < 0).any() or (firsts > lasts).any():
        raise ValueError("ascending runs were expected, some are not")
    pieces = _pieces_of(state, spool)
    cuts = bounds(column(state["pieces"], np.int64, counts.size), len(pieces))
    runs = []
    rows = zip(counts.tolist(), firsts.tolist(), lasts.tolist(), digests.tolist(), cuts, cuts[1:], strict=False)
    for count, first, last, digest, low, high in rows:
        own = tuple(pieces[low:high])
        if bool(count) != bool(own):
            raise ValueError(f"pieces of {count} numbers were expected, got {len(own)}")
        runs.append(run_of(count, first, last, digest, own) if own else EMPTY)
    return runs


def _pieces_of(state: State, spool: Spool) -> list[Piece]:
    """Return the pieces of all runs."""
    kinds = column(state["kinds"], np.uint8)
    sizes = column(state["sizes"], np.int64, kinds.size)
    if int(kinds.max(initial=0)) >= 2 * _SPOOLED or (sizes[kinds % _SPOOLED == 0] % 8).any() or (sizes == 0).any():
        raise ValueError("pieces of known kinds and of whole int64 were expected")
    blocks = listed(state["data"])
    cuts = bounds(column(state["blocks"], np.int64, len(blocks)), kinds.size)
    pieces: list[Piece] = []
    for value, low, high in zip(blocks, cuts, cuts[1:], strict=False):
        block = blob(value)
        ends = bounds(sizes[low:high], len(block))
        for kind, start, end in zip(kinds[low:high].tolist(), ends, ends[1:], strict=False):
            data = bytes(block[start:end])
            piece = Sealed(data) if kind % _SPOOLED else _raw(data)
            pieces.append(Spooled(piece, spool) if kind >= _SPOOLED else piece)
    return pieces


def _raw(data: bytes) -> Raw | Narrow:
    """Return the piece of ascending int64."""
    numbers = np.frombuffer(data, np.int64)
    return Narrow(numbers.astype(np.int32).tobytes()) if is_narrow(numbers[0], numbers[-1]) else Raw(data)


def _kind(piece: Piece) -> int:
    """Return the kind of a piece in a state, where narrow numbers are wide."""
    kind = piece.kind if isinstance(piece, Spooled) else type(piece)
    return _SPOOLED * isinstance(piece, Spooled) + _KINDS.index(Raw if kind is Narrow else kind)


def _is_narrow(piece: Piece) -> bool:
    return (piece.kind if isinstance(piece, Spooled) else type(piece)) is Narrow


def _size(piece: Piece) -> int:
    return 2 * piece.size if _is_narrow(piece) else piece.size


def _data(piece: Piece) -> bytes:
    return piece.open().astype(np.int64).tobytes() if _is_narrow(piece) else piece.data


def _block(pieces: Sequence[Piece]) -> Deferred:
    """Return the bytes of `pieces`, to be joined when the state is written."""
    return joined(sum(map(_size, pieces)), lambda: map(_data, pieces))
