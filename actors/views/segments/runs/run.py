"""A run: the ascending numbers of one segment, in immutable pieces that are raw, compressed, or in the spool.

The decoder makes runs, live slices hold them, and the merge reads them. The digest depends on the numbers, not on the pieces.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.sealed import CHUNK, OVERHEAD_BYTES, seal, unseal
from actors.columns.times import Times
from actors.views.segments.runs.spool import Spool

SPOOL_FROM = 1_000_000
"""A run of at least this many numbers is written to the spool while it is built."""

SPILL_FROM_BYTES = 512
"""Smaller pieces stay in memory, because a `Spooled` object takes about as much memory."""

_AT_ONCE = 32_768
"""Numbers of the runs that are made at once."""

_RUN_BYTES = 192
_PIECE_BYTES = 40 + OVERHEAD_BYTES
_SPOOLED_BYTES = 280
"""Memory of a run beside its pieces, of a piece beside its data, and of a piece in the spool with its handle."""

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_TURN = np.uint64(29)

Digests = NDArray[np.uint64]


def mixed(values: Times, places: NDArray[np.int64]) -> Digests:
    """Return a hash of each value and its place in the run. Their sum modulo 2**64 is the digest of the run.

    Uses the finalizer of MurmurHash3 (Appleby, 2011). The hash has no secret key, so a sender who chooses the numbers can make
    two runs collide. Cost: about 10 ns a value.
    """
    state = places.view(np.uint64) + np.uint64(1)
    state *= _STEP
    state ^= values.view(np.uint64)
    state *= _FIRST
    state ^= state >> _SHIFT
    state *= _SECOND
    state ^= state >> _TURN
    return state


class _Held(msgspec.Struct, frozen=True, gc=False):
    """A piece whose bytes are in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes of the data."""
        return len(self.data)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return len(self.data) + _PIECE_BYTES


class Raw(_Held, frozen=True, gc=False):
    """Uncompressed numbers, eight bytes each."""

    def open(self) -> Times:
        """Return the numbers. Cost: O(1)."""
        return np.frombuffer(self.data, np.int64)


class Narrow(_Held, frozen=True, gc=False):
    """Uncompressed numbers of 32 bits, four bytes each. A state has them as `Raw`."""

    def open(self) -> NDArray[np.int32]:
        """Return the numbers. Cost: O(1)."""
        return np.frombuffer(self.data, np.int32)


class Sealed(_Held, frozen=True, gc=False):
    """At most `CHUNK` numbers, compressed."""

    def open(self) -> Times:
        """Return the numbers. Cost: 8 ns a number."""
        return unseal(self.data)


class Spooled:
    """A piece whose bytes are in the spool. They are deleted from the spool with the last reference to this object."""

    __slots__ = ("_handle", "_spool", "kind", "size")

    def __init__(self, piece: Raw | Narrow | Sealed, spool: Spool) -> None:
        """Write the bytes of `piece` to the spool.

        Raises OSError if there is no room.
        """
        self.kind = type(piece)
        self.size = len(piece.data)
        self._spool = spool
        self._handle: Any = None
        self._handle = spool.put(piece.data)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return _SPOOLED_BYTES

    @property
    def data(self) -> bytes:
        """The bytes, read from the spool.

        Raises OSError if they cannot be read, ValueError if the spool is closed.
        """
        found: bytes = self._spool.get(self._handle)
        return found

    def open(self) -> NDArray[np.integer[Any]]:
        """Return the numbers. Cost: one read, and the cost to open the piece."""
        return self.kind(self.data).open()

    def __del__(self) -> None:
        """Delete the bytes. They were kept until now, because a publication may be retried."""
        if self._handle is not None:
            self._spool.free(self._handle)


Piece = Raw | Narrow | Sealed | Spooled


class Run(msgspec.Struct, frozen=True, gc=False, eq=False):
    """`count` ascending numbers. An empty run has neither `first` nor `last`; `digest` is a 64-bit hash of the numbers."""

    count: int
    first: int | None
    last: int | None
    digest: int
    pieces: tuple[Piece, ...]
    nbytes: int
    """Bytes in memory."""
    spillable_bytes: int = 0
    """Bytes that `spilled` moves to the spool."""
    spooled_bytes: int = 0
    """Bytes in the spool."""

    def spilled(self, spool: Spool) -> "Run":
        """Return the same run with its large pieces in the spool.

        Raises OSError if there is no room.
        """
        moved = tuple(
            Spooled(piece, spool) if not isinstance(piece, Spooled) and _spillable(piece) else piece for piece in self.pieces
        )
        return run_of(self.count, self.first, self.last, self.digest, moved)


def _spillable(piece: Piece) -> int:
    return 0 if isinstance(piece, Spooled) or piece.size < SPILL_FROM_BYTES else piece.size


def run_of(count: int, first: int | None, last: int | None, digest: int, pieces: tuple[Piece, ...]) -> Run:
    """Return a run of `pieces`. Cost: O(pieces)."""
    return Run(
        count,
        first,
        last,
        digest,
        pieces,
        _RUN_BYTES + sum(piece.nbytes for piece in pieces),
        sum(map(_spillable, pieces)),
        sum(piece.size for piece in pieces if isinstance(piece, Spooled)),
    )


EMPTY = Run(0, None, None, 0, (), 0)
"""The empty run, shared by all empty segments."""


def raw_runs(values: NDArray[np.int32] | Times, starts: Times, counts: Times) -> list[Run | None]:
    """Return a run for each of `counts` numbers, from `values[starts]` on, or None if these numbers do not ascend.

    The starts ascend. Numbers of 32 bits become narrow pieces. Cost: 1 us a run, 8 ns a number.
    """
    some = counts > 0
    if not some.all():
        following = iter(raw_runs(values, starts[some], counts[some]))
        return [next(following) if each else EMPTY for each in some.tolist()]
    runs: list[Run | None] = []
    ends = starts + counts
    first = 0
    while first < counts.size:  # what is computed of some runs stays in the cache of a processor
        start = int(starts[first])
        following_run = max(first + 1, int(np.searchsorted(ends, start + _AT_ONCE, side="right")))
        own = slice(first, following_run)
        runs += _some_runs(values[start : int(ends[following_run - 1])], starts[own] - start, counts[own])
        first = following_run
    return runs


def _some_runs(values: NDArray[np.int32] | Times, starts: Times, counts: Times) -> list[Run | None]:
    """Return the runs of values from 0 on. No run is empty."""
    ends = starts + counts
    places = np.arange(values.size)
    places -= np.repeat(starts, np.diff(starts, append=values.size))
    cuts = np.stack((starts, ends), axis=1).ravel()[:-1]  # there may be other values between two runs
    digests = np.add.reduceat(mixed(values.astype(np.int64, copy=False), places), cuts)[::2]
    firsts, lasts = values[starts], values[ends - 1]
    pieces, sizes = _pieces(values, starts, ends, is_narrow(firsts, lasts))
    spillable = np.where(sizes < SPILL_FROM_BYTES, 0, sizes)
    columns = (counts, firsts, lasts, digests), (sizes + (_RUN_BYTES + _PIECE_BYTES), spillable)
    before, after = ([column.tolist() for column in each] for each in columns)
    runs: list[Run | None] = list(map(Run, *before, zip(pieces, strict=False), *after))
    falls = values[1:] < values[:-1]
    falls[ends[:-1] - 1] = falls[starts[1:] - 1] = False
    for fall in np.flatnonzero(falls).tolist():
        run = int(np.searchsorted(ends, fall, side="right"))
        if starts[run] <= fall:
            runs[run] = None
    return runs


def is_narrow(firsts: Any, lasts: Any) -> Any:
    """Whether ascending numbers from `firsts` to `lasts` have 32 bits."""
    return (firsts >= -(2**31)) & (lasts < 2**31)


def _pieces(
    values: NDArray[np.int32] | Times, starts: Times, ends: Times, narrow: NDArray[np.bool_]
) -> tuple[Iterable[Raw | Narrow], Times]:
    """Return the piece of each run, and the sizes of the pieces. Cost: 0.3 us a piece."""
    kinds: dict[bool, type[Raw | Narrow]] = {True: Narrow, False: Raw}
    if narrow.all() or not narrow.any():
        is_small = bool(narrow[0])
        width = 4 if is_small else 8
        data = values.astype(np.int32 if is_small else np.int64, copy=False).tobytes()
        cuts = map(slice, (width * starts).tolist(), (width * ends).tolist())
        return map(kinds[is_small], map(data.__getitem__, cuts)), width * (ends - starts)
    pieces = [
        kinds[is_small](values[start:end].astype(np.int32 if is_small else np.int64).tobytes())
        for start, end, is_small in zip(starts.tolist(), ends.tolist(), narrow.tolist(), strict=True)
    ]
    return pieces, np.where(narrow, 4, 8) * (ends - starts)


class RunBuilder:
    """Builds one long run block by block.

    At most a chunk and a block are uncompressed. The pieces of a run of `SPOOL_FROM` numbers or more are all in the spool.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._pieces: list[Piece] = []
        self._kept: deque[Sealed] = deque()
        self._raw: list[Times] = []
        self._raw_count = 0
        self._count = 0
        self._first: int | None = None
        self._last: int | None = None
        self._digest = 0

    def extend(self, values: Times) -> bool:
        """Append `values`; return False if they do not ascend from the value before. Cost: about 0.1 us a value, to compress.

        Raises OSError if the spool has no room.
        """
        if not values.size:
            return True
        if (self._last is not None and values[0] < self._last) or (values[1:] < values[:-1]).any():
            return False
        if self._first is None:
            self._first = int(values[0])
        self._last = int(values[-1])
        places = np.arange(self._count, self._count + values.size)
        self._digest = (self._digest + int(mixed(values, places).sum(dtype=np.uint64))) % 2**64
        self._count += values.size
        self._raw.append(values)
        self._raw_count += values.size
        if self._raw_count >= CHUNK:
            joined = np.concatenate(self._raw)
            whole = joined.size - joined.size % CHUNK
            for low in range(0, whole, CHUNK):
                self._seal(joined[low : low + CHUNK])
            self._raw, self._raw_count = [joined[whole:].copy()], joined.size - whole
        return True

    def run(self) -> Run:
        """Return the run. The builder must not be used afterwards."""
        if not self._count:
            return EMPTY
        if self._raw_count:
            self._seal(np.concatenate(self._raw))
        return run_of(self._count, self._first, self._last, self._digest, (*self._pieces, *self._kept))

    def _seal(self, values: Times) -> None:
        piece = Sealed(seal(values))
        if self._count >= SPOOL_FROM:
            # The pieces before go to the spool once the run is known to be long.
            while self._kept:
                self._pieces.append(Spooled(self._kept.popleft(), self._spool))
            self._pieces.append(Spooled(piece, self._spool))
        else:
            self._kept.append(piece)
