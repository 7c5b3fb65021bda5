"""The merge of a batch's runs, and the line that it is published as.

Used outside of the actors, on the publisher's thread. Streamed: one piece of each run is open at a time.
"""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from actors.columns.times import NO_TIMES, Times
from actors.views.segments.results import Result
from actors.views.segments.runs.run import Run

_NUMBERS = 4_096
"""Numbers written at once, at most 90 KB of text."""

_BLOCK_BYTES = 128 << 10
"""Text that is enough for a block; one of `_NUMBERS` numbers may come on top."""

_encode = msgspec.json.Encoder().encode


def merged(runs: Sequence[Run]) -> Iterator[Times]:
    """Yield all numbers of `runs` ascending, duplicates kept, in non-empty blocks of at most a piece a run.

    What is not above the smallest end of the open pieces can go out, as nothing before it is still to come; that empties a
    piece each time. Cost: 20 ns a number, and opening each piece.
    """
    opened: list[Times] = [NO_TIMES] * len(runs)
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


def lines(results: Sequence[Result]) -> Iterator[bytes]:
    """Yield a line for each result, `1, 1, 2, 3` and a line feed, in blocks of at most 256 KB, not aligned to lines.

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
