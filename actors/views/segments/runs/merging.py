"""Merges the runs of a complete batch and writes them as one line.

Used outside of the actors, on the publisher's thread. The merge is streamed: it opens one piece of each run at a time.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.times import NO_TIMES
from actors.views.segments.runs.run import Narrow, Raw, Run

_NUMBERS = 4_096
"""Numbers encoded in one call: at most 90 KB of text."""

_BLOCK_BYTES = 128 << 10
"""A block is yielded once it has this many bytes. The last call may add `_NUMBERS` numbers to it."""

Numbers = NDArray[np.integer[Any]]

_encode = msgspec.json.Encoder().encode


class Result(NamedTuple):
    """A complete batch that is not published yet."""

    epoch: int
    batch_id: int
    order: int
    """The position of its completion: 1 for the first batch that was completed."""
    runs: tuple[Run, ...]
    """The runs of its segments, by segment id."""


def merged(runs: Sequence[Run]) -> Iterator[Numbers]:
    """Yield all numbers of `runs` in ascending order, with duplicates. A block holds at most one piece of each run.

    Numbers up to the smallest last number of the open pieces can be yielded, because all later numbers are greater or equal.
    Each step empties at least one piece. Cost: 20 ns a number, and opening each piece.
    """
    if (whole := _whole(runs)) is not None:
        whole.sort(kind="stable")
        yield whole
        return
    opened: list[Numbers] = [NO_TIMES] * len(runs)
    following = [0] * len(runs)
    while True:
        bound: int | None = None
        for index, run in enumerate(runs):
            while not opened[index].size and following[index] < len(run.pieces):
                opened[index] = run.pieces[following[index]].open()
                following[index] += 1
            if following[index] < len(run.pieces):
                end = int(opened[index][-1])
                bound = end if bound is None else min(bound, end)
        if bound is None:
            rest = np.concatenate([NO_TIMES, *opened])
            rest.sort(kind="stable")
            if rest.size:
                yield rest
            return
        ready = []
        for index, numbers in enumerate(opened):
            cut = int(np.searchsorted(numbers, bound, side="right"))
            ready.append(numbers[:cut])
            opened[index] = numbers[cut:]
        block = np.concatenate(ready)
        block.sort(kind="stable")
        yield block


def _whole(runs: Sequence[Run]) -> Numbers | None:
    """Return the numbers of runs of at most one piece each if all pieces are raw and alike, else None. Cost: 2 ns a number."""
    pieces = [run.pieces[0] for run in runs if len(run.pieces) == 1]
    kinds = set(map(type, pieces))
    if len(kinds) != 1 or any(len(run.pieces) > 1 for run in runs) or not kinds <= {Raw, Narrow}:
        return None
    data = b"".join([piece.data for piece in pieces])
    return (np.frombuffer(data, np.int32) if Narrow in kinds else np.frombuffer(data, np.int64)).copy()


def lines(results: Sequence[Result]) -> Iterator[bytes]:
    """Yield one line for each result, such as `1, 1, 2, 3`. Blocks have at most 256 KB and may end within a line.

    Cost: some 80 ns a number.
    """
    texts: list[bytes] = []
    size = 0
    for result in results:
        separator = b""
        for numbers in merged(result.runs):
            for low in range(0, numbers.size, _NUMBERS):
                text = _encode(numbers[low : low + _NUMBERS].tolist())[1:-1].replace(b",", b", ")
                texts += (separator, text)
                separator = b", "
                size += len(text) + 2
                if size >= _BLOCK_BYTES:
                    yield b"".join(texts)
                    texts, size = [], 0
        texts.append(b"\n")
        size += 1
        if size >= _BLOCK_BYTES:
            yield b"".join(texts)
            texts, size = [], 0
    if texts:
        yield b"".join(texts)
