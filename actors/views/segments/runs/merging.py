"""Merges the runs of a complete batch and writes them as one line.

Used outside of the actors, on the publisher's thread. The merge is streamed: it opens one piece of each run at a time.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.decimal import AT_ONCE, text_of
from actors.columns.times import NO_TIMES
from actors.views.segments.runs.run import Narrow, Raw, Run

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
    if (whole := _whole(runs)) is not None:
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


def _whole(runs: Sequence[Run]) -> Numbers | None:
    """Return the numbers of runs in ascending order if each has at most one piece, and all are alike and raw, else None.

    Cost: 5 ns a number.
    """
    pieces = [run.pieces[0] for run in runs if len(run.pieces) == 1]
    kinds = set(map(type, pieces))
    if len(kinds) != 1 or any(len(run.pieces) > 1 for run in runs) or not kinds <= {Raw, Narrow}:
        return None
    numbers: Numbers = np.frombuffer(
        bytearray().join([piece.data for piece in pieces]), np.int32 if Narrow in kinds else np.int64
    )
    numbers.sort()
    return numbers


def lines(results: Sequence[Result]) -> Iterator[bytes]:
    """Yield one line for each result, such as `1, 1, 2, 3`. Blocks have at most 360 KB and may end within a line.

    Short lines are written together. Cost: some 30 ns a number.
    """
    waiting: list[Numbers] = []
    ends: list[int] = []
    count = 0
    for result in results:
        before = count
        for numbers in merged(result.runs):
            for low in range(0, numbers.size, AT_ONCE):
                if count >= AT_ONCE:
                    yield _text(waiting, ends)
                    waiting, ends, count, before = [], [], 0, -1
                waiting.append(numbers[low : low + AT_ONCE])
                count += waiting[-1].size
        if count == before:  # a line without numbers
            yield _text(waiting, ends) + b"\n"
            waiting, ends, count = [], [], 0
        else:
            ends.append(count - 1)
    if waiting:
        yield _text(waiting, ends)


def _text(waiting: Sequence[Numbers], ends: Sequence[int]) -> bytes:
    """Return consecutive numbers as text. `ends` are the places of the last numbers of lines."""
    numbers = np.concatenate(waiting) if waiting else NO_TIMES
    separators = np.full(numbers.size, _NEXT, np.uint16)
    separators[np.array(ends, np.int64)] = _END
    text = text_of(numbers, separators)
    if text is not None:
        return text
    written = _encode(numbers.tolist())[1:-1].split(b",")
    for place in ends:
        written[place] += b"\n"
    return b", ".join([*written, b""]).replace(b"\n, ", b"\n")
