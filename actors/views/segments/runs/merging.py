"""Merges the runs of a complete batch and writes them as one line.

Used outside of the actors, on the publisher's thread. The merge is streamed: it opens one piece of each run at a time.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import AT_ONCE, text_of
from actors.columns.times import NO_TIMES, Times
from actors.views.segments.runs.run import Narrow, Piece, Raw, Run

_NEXT, _END = 0x202C, 0x0A
"""The separators behind a number: a comma and a space, or a line feed, the first byte in the low bits."""

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
            rest.sort()
            if rest.size:
                yield rest
            return
        ready = []
        for index, numbers in enumerate(opened):
            cut = int(np.searchsorted(numbers, bound, side="right"))
            ready.append(numbers[:cut])
            opened[index] = numbers[cut:]
        block = np.concatenate(ready)
        block.sort()
        yield block


def lines(results: Sequence[Result]) -> Iterator[bytes]:
    """Yield one line for each result, such as `1, 1, 2, 3`. Blocks have at most 180 KB and may end within a line.

    Short lines are written together. Cost: some 20 ns a number.
    """
    waiting: list[bytes] = []
    ends: list[int] = []
    kind: type[Piece] | None = None
    for result in results:
        runs = [run for run in result.runs if run.count]
        own = {type(piece) for run in runs for piece in run.pieces}
        whole = sum([len(run.pieces) for run in runs]) == len(runs) and own in ({Narrow}, {Raw})
        if waiting and (ends[-1] >= AT_ONCE or not whole or own != {kind}):
            yield from _together(waiting, ends, is_narrow=kind is Narrow)
            waiting, ends = [], []
        if whole:
            (kind,) = own
            waiting += [run.pieces[0].data for run in runs]
            ends.append(sum([run.count for run in runs], ends[-1] if ends else 0))
            continue
        left = sum([run.count for run in runs])
        if not left:
            yield b"\n"
        for numbers in merged(runs):
            left -= numbers.size
            yield from _texts(numbers, np.array([] if left else [numbers.size - 1], np.int64))
    if waiting:
        yield from _together(waiting, ends, is_narrow=kind is Narrow)


def _together(data: Sequence[bytes], ends: Sequence[int], *, is_narrow: bool) -> Iterator[bytes]:
    """Yield the lines of raw runs. Each line ends before one of `ends`. Cost: 3 us a line, 15 ns a number."""
    numbers: Numbers = np.frombuffer(bytearray().join(data), np.int32 if is_narrow else np.int64)
    for start, end in pairwise((0, *ends)):
        numbers[start:end].sort()
    return _texts(numbers, np.array(ends, np.int64) - 1)


def _texts(numbers: Numbers, lasts: Times) -> Iterator[bytes]:
    """Yield numbers as text. `lasts` are the places of the last numbers of lines."""
    for low in range(0, numbers.size, AT_ONCE):
        own = numbers[low : low + AT_ONCE]
        separators = np.full(own.size, _NEXT, np.uint16)
        places = lasts[np.searchsorted(lasts, low) : np.searchsorted(lasts, low + own.size)] - low
        separators[places] = _END
        text = text_of(own, separators)
        if text is None:
            written = _encode(own.tolist())[1:-1].split(b",")
            for place in places.tolist():
                written[place] += b"\n"
            text = b", ".join([*written, b""]).replace(b"\n, ", b"\n")
        yield text
