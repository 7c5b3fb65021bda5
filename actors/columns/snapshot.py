"""State as bytes: a tree of plain values, columns and byte strings, with a checksum over every byte of it.

Used by the store, which owns the files, and by all that has a state to keep. Never a pickle: what is read is data.

A file is `MAGIC`, then the blocks, each padded to eight bytes, then the index (MessagePack: kind, tree, and of each block its
length, type and CRC-32), then the index's length and CRC-32, and `MAGIC` again. In the tree a block is an extension with its
number, so that a file is written in one go and read without a copy.
"""

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

State = Any
"""None, bool, int, float, str, bytes, NDArray, Deferred, and lists, tuples and dicts of them; a tuple comes back as a list."""

FORMAT = 1
"""Grows when what is written can no longer be read by the code of before."""

MAGIC = b"FIRNLINE"

_TRAILER = struct.Struct("<II")
_WORD = 8
_INLINE = 64
"""Byte strings up to this size stay in the index."""

_BLOCK_CODE = 1
_PLACE_BYTES = 4
_MOST_DIMENSIONS = 8
_DTYPES = {"<i8", "<u8", "<i4", "<u4", "<i2", "<u2", "|i1", "|u1", "|b1", "<f8"}


class DamagedError(ValueError):
    """What was read is not what was written, or not by this version."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A byte string that is fetched when it is written, on the thread that writes; `nbytes` is its length."""

    nbytes: int
    get: Callable[[], bytes]


_Block = NDArray[Any] | memoryview | bytes | Deferred
_Plain = bool | int | float | str | None
_FOUND = {type(None), bool, int, float, str, bytes, memoryview, np.ndarray, list, dict}
_Entry = tuple[int, str | None, tuple[int, ...], int]

_read_index = msgspec.msgpack.Decoder(tuple[int, str, list[_Entry], bytes]).decode


def write(kind: str, state: State, put: Callable[[bytes | memoryview], None]) -> int:
    """Write `state` through `put`, block by block; returns how many bytes. `kind` must be given again to read it.

    Cost: a checksum, 1 GB/s, and what `put` takes. Nothing is copied but what is small.
    Raises TypeError for what is no state.
    """
    blocks: list[_Block] = []
    try:
        tree = msgspec.msgpack.encode(_without_blocks(state, blocks))
    except (OverflowError, UnicodeEncodeError) as error:
        raise TypeError(f"this is no state: {error}") from None
    put(MAGIC)
    at = len(MAGIC)
    table: list[_Entry] = []
    for block in blocks:
        dtype, shape = (block.dtype.str, block.shape) if isinstance(block, np.ndarray) else (None, ())
        data = _bytes_of(block)
        padding = bytes(-data.nbytes % _WORD)
        table.append((data.nbytes, dtype, shape, zlib.crc32(padding, zlib.crc32(data))))
        put(data)
        put(padding)
        at += data.nbytes + len(padding)
    index = msgspec.msgpack.encode((FORMAT, kind, table, tree))
    put(index)
    put(_TRAILER.pack(len(index), zlib.crc32(index)))
    put(MAGIC)
    return at + len(index) + _TRAILER.size + len(MAGIC)


def read(kind: str, data: bytes | memoryview) -> State:
    """Return the state that was written; its columns and long byte strings are read-only views of `data`.

    Every byte is looked at, and no length is believed. Cost: a checksum, 1 GB/s.
    Raises DamagedError.
    """
    whole = memoryview(data).toreadonly()
    end = len(whole) - len(MAGIC)
    start = end - _TRAILER.size
    if start < len(MAGIC) or whole[: len(MAGIC)] != MAGIC or whole[end:] != MAGIC:
        raise DamagedError("this is no whole file of Firnline's")
    size, checksum = _TRAILER.unpack(whole[start:end])
    if size > start - len(MAGIC):
        raise DamagedError("its index is longer than the file")
    index = whole[start - size : start]
    if zlib.crc32(index) != checksum:
        raise DamagedError("its index is not what was written")
    try:
        return _state_in(index, whole[len(MAGIC) : start - size], kind)
    except DamagedError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise DamagedError(f"its index cannot be read: {error}") from None


def blocks_of(state: State) -> int:
    """Return how many columns and long byte strings `state` has."""
    if isinstance(state, dict):
        return sum(map(blocks_of, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(blocks_of, state))
    return isinstance(state, np.ndarray | memoryview | Deferred)


def nbytes_of(state: State) -> int:
    """Return about how many bytes `state` takes when it is written."""
    if isinstance(state, np.ndarray | memoryview | Deferred):
        return int(state.nbytes) + _WORD
    if isinstance(state, bytes | str):
        return len(state) + _WORD
    if isinstance(state, dict):
        return sum(map(nbytes_of, state.values())) + 2 * _WORD * len(state)
    return sum(map(nbytes_of, state)) if isinstance(state, list | tuple) else _WORD


def _without_blocks(state: State, blocks: list[_Block]) -> State:
    """Return the tree with an extension for each block, which is put aside. Cost: O(nodes)."""
    if isinstance(state, dict):
        if not all(isinstance(key, str | int) for key in state):
            raise TypeError("a key of a state is text or a number")
        return {key: _without_blocks(value, blocks) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_without_blocks(value, blocks) for value in state]
    if isinstance(state, bytes | memoryview) and len(state) <= _INLINE:
        return bytes(state)
    if isinstance(state, np.ndarray | bytes | memoryview | Deferred):
        blocks.append(state)
        return msgspec.msgpack.Ext(_BLOCK_CODE, (len(blocks) - 1).to_bytes(_PLACE_BYTES, "little"))
    value = state.item() if isinstance(state, np.generic) else state
    if not isinstance(value, _Plain):
        raise TypeError(f"{type(state).__name__} is no state")
    return value


def _state_in(index: memoryview, data: memoryview, kind: str) -> State:
    """Return the state that `index` describes, of blocks in `data`. Raises DamagedError, or what decoding raises."""
    form, found, table, tree = _read_index(index)
    if form != FORMAT:
        raise DamagedError(f"it is of format {form}, this reads {FORMAT}")
    if found != kind:
        raise DamagedError(f"it is of the kind {found}, not {kind}")
    blocks = _blocks(data, table)
    state = msgspec.msgpack.decode(tree, strict=True, ext_hook=lambda code, place: blocks[_number_of(code, place)])
    _look_at(state)
    return state


def _number_of(code: int, place: memoryview) -> int:
    """Return the number of the block that an extension stands for. Raises DamagedError."""
    if code != _BLOCK_CODE or len(place) != _PLACE_BYTES:
        raise DamagedError("there is something in it that is no block")
    return int.from_bytes(place, "little")


def _look_at(state: State) -> None:
    """Find what MessagePack can hold and `write` does not write. Cost: 20 ns a value. Raises DamagedError."""
    if isinstance(state, dict) and not set(map(type, state)) <= {str, int}:
        raise DamagedError("a key in it is neither text nor a number")
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list) else (state,)
    if not (kinds := set(map(type, inner))) <= _FOUND:
        raise DamagedError(f"there is something in it that is no state: {', '.join(sorted(map(str, kinds - _FOUND)))}")
    if kinds & {dict, list}:
        for value in inner:
            if isinstance(value, dict | list):
                _look_at(value)


def _bytes_of(block: _Block) -> memoryview:
    """Return the bytes of a block as they are written."""
    if isinstance(block, Deferred):
        fetched = block.get()
        if len(fetched) != block.nbytes:
            raise ValueError(f"{block.nbytes} bytes were announced, {len(fetched)} came")
        return memoryview(fetched)
    if isinstance(block, np.ndarray):
        if block.dtype.str not in _DTYPES or block.ndim > _MOST_DIMENSIONS:
            raise TypeError(f"a column of {block.ndim} dimensions of {block.dtype} is no state")
        return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
    return memoryview(block)


def _blocks(data: memoryview, table: list[_Entry]) -> list[NDArray[Any] | memoryview]:
    """Return the blocks that `table` describes, which must fill `data`. Raises DamagedError."""
    blocks: list[NDArray[Any] | memoryview] = []
    at = 0
    for size, dtype, shape, checksum in table:
        padded = size + -size % _WORD
        if size < 0 or at + padded > len(data):
            raise DamagedError("a block is longer than the file")
        if zlib.crc32(data[at : at + padded]) != checksum:
            raise DamagedError("a block is not what was written")
        block = data[at : at + size]
        at += padded
        if dtype is None:
            blocks.append(block)
            continue
        if (
            dtype not in _DTYPES
            or len(shape) > _MOST_DIMENSIONS
            or min(shape, default=0) < 0
            or math.prod(shape) * np.dtype(dtype).itemsize != size
        ):
            raise DamagedError("a block has not the shape that it says")
        blocks.append(np.frombuffer(block, dtype).reshape(shape))
    if at != len(data):
        raise DamagedError("there is more than the index knows of")
    return blocks
