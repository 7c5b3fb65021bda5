"""Counts as text, block by block. Used outside of the actors, on whatever thread answers."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from actors.views.view import Column, Field

_NAMES = 512
"""Names written at once: 0.1 ms, unless they are long."""

_BLOCK_BYTES = 65_536

Counts = Sequence[tuple[str, int]]

FIELDS = (Field("name", "text"), Field("count"))


class _Line(msgspec.Struct):
    name: str
    count: int


_write = msgspec.json.Encoder().encode


def lines(counts: Counts) -> Iterator[bytes]:
    """Yield `{"name":"foo","count":12}` a line, in blocks of at most 64 KiB."""
    for at in range(0, len(counts), _NAMES):
        block = b"".join(_write(_Line(name, count)) + b"\n" for name, count in counts[at : at + _NAMES])
        yield from _cut(block)


def columns(counts: Counts) -> Iterator[Mapping[str, Column]]:
    """Yield names and counts, in blocks."""
    for at in range(0, len(counts), _NAMES):
        names, numbers = zip(*counts[at : at + _NAMES], strict=True)
        yield {"name": list(names), "count": np.array(numbers, np.int64)}


def json(counts: Counts, max_error: int, members: Mapping[str, object]) -> Iterator[bytes]:
    """Yield `{"foo":12,"bar":3}`; with `members`, `{"counts":{…},"max_error":0,…}`. Blocks as above."""
    lead = b'{"counts":{' if members else b"{"
    for at in range(0, len(counts), _NAMES):
        # Names differ, so that a dict keeps them all, in their order.
        yield from _cut(lead + _write(dict(counts[at : at + _NAMES]))[1:-1])
        lead = b","
    opening = b"" if counts else lead
    end = b"}," + _write({"max_error": max_error, **members})[1:] if members else b"}"
    yield opening + end


def _cut(block: bytes) -> Iterator[bytes]:
    for at in range(0, len(block), _BLOCK_BYTES):
        yield block[at : at + _BLOCK_BYTES]
