"""State as bytes: a tree of plain values, columns and byte strings, with checksums over every byte.

Used by the store, which owns the files, and by everything that has a state to save. Reading never runs code, unlike pickle.

A file is `MAGIC`, the blocks, each padded to eight bytes, the index (MessagePack: kind, tree, and the length, type and CRC-32
of each block), the length and CRC-32 of the index, and `MAGIC` again. In the tree, an extension with its number stands for a
block. So a file is written in one pass and read without a copy.
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
"""Version of the file format. Increase it if older code can no longer read new files."""

MAGIC = b"FIRNLINE"

_TRAILER = struct.Struct("<II")
_WORD = 8
_INLINE = 64
"""Byte strings of at most this many bytes are stored in the index."""

_BLOCK_CODE = 1
_PLACE_BYTES = 4
_MOST_DIMENSIONS = 8
_DTYPES = {"<i8", "<u8", "<i4", "<u4", "<i2", "<u2", "|i1", "|u1", "|b1", "<f8"}


class DamagedError(ValueError):
    """The data is damaged, or another version wrote it."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A byte string of length `nbytes` that `get` returns when it is written, on the writing thread."""

    nbytes: int
    get: Callable[[], bytes]


_Block = NDArray[Any] | memoryview | bytes | Deferred
_Plain = bool | int | float | str | None
_FOUND = {type(None), bool, int, float, str, bytes, memoryview, np.ndarray, list, dict}
_Entry = tuple[int, str | None, tuple[int, ...], int]

_read_index = msgspec.msgpack.Decoder(tuple[int, str, list[_Entry], bytes]).decode


def write(kind: str, state: State, put: Callable[[bytes | memoryview], None]) -> int:
    """Write `state` through `put`, block by block; returns the number of bytes. `read` needs the same `kind`.

    Cost: a checksum, 1 GB/s, and the calls of `put`. Only small values are copied.
    Raises TypeError if a value of `state` is not of a type that `State` lists.
    """
    blocks: list[_Block] = []
    try:
        tree = msgspec.msgpack.encode(_without_blocks(state, blocks))
    except (OverflowError, UnicodeEncodeError) as error:
        raise TypeError(f"this state cannot be written: {error}") from None
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
    """Return the state that was written. Its columns and long byte strings are read-only views of `data`.

    Verifies every byte and every length. Cost: a checksum, 1 GB/s.
    Raises DamagedError.
    """
    whole = memoryview(data).toreadonly()
    end = len(whole) - len(MAGIC)
    start = end - _TRAILER.size
    if start < len(MAGIC) or whole[: len(MAGIC)] != MAGIC or whole[end:] != MAGIC:
        raise DamagedError("this is not a complete file of Firnline")
    size, checksum = _TRAILER.unpack(whole[start:end])
    if size > start - len(MAGIC):
        raise DamagedError("its index is longer than the file")
    index = whole[start - size : start]
    if zlib.crc32(index) != checksum:
        raise DamagedError("its index does not match its checksum")
    try:
        return _state_in(index, whole[len(MAGIC) : start - size], kind)
    except DamagedError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise DamagedError(f"its index cannot be read: {error}") from None


def blocks_of(state: State) -> int:
    """Return the number of columns and long byte strings in `state`."""
    if isinstance(state, dict):
        return sum(map(blocks_of, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(blocks_of, state))
    return isinstance(state, np.ndarray | memoryview | Deferred)


def nbytes_of(state: State) -> int:
    """Return the approximate number of bytes of `state` when written."""
    if isinstance(state, np.ndarray | memoryview | Deferred):
        return int(state.nbytes) + _WORD
    if isinstance(state, bytes | str):
        return len(state) + _WORD
    if isinstance(state, dict):
        return sum(map(nbytes_of, state.values())) + 2 * _WORD * len(state)
    return sum(map(nbytes_of, state)) if isinstance(state, list | tuple) else _WORD


def _without_blocks(state: State, blocks: list[_Block]) -> State:
    """Return the tree with an extension in place of each block, and append the blocks to `blocks`. Cost: O(nodes)."""
    if isinstance(state, dict):
        if not all(isinstance(key, str | int) for key in state):
            raise TypeError("a key of a state must be text or an integer")
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
        raise TypeError(f"{type(state).__name__} cannot be part of a state")
    return value


def _state_in(index: memoryview, data: memoryview, kind: str) -> State:
    """Return the state that `index` describes, with its blocks in `data`. Raises DamagedError or a decoding error."""
    form, found, table, tree = _read_index(index)
    if form != FORMAT:
        raise DamagedError(f"it has format {form}, this version reads {FORMAT}")
    if found != kind:
        raise DamagedError(f"its kind is {found}, not {kind}")
    blocks = _blocks(data, table)
    state = msgspec.msgpack.decode(tree, strict=True, ext_hook=lambda code, place: blocks[_number_of(code, place)])
    _check_types(state)
    return state


def _number_of(code: int, place: memoryview) -> int:
    """Return the number of the block for an extension. Raises DamagedError."""
    if code != _BLOCK_CODE or len(place) != _PLACE_BYTES:
        raise DamagedError("it contains an unknown extension")
    return int.from_bytes(place, "little")


def _check_types(state: State) -> None:
    """Raise DamagedError for types that MessagePack allows and `write` never writes. Cost: 20 ns a value."""
    if isinstance(state, dict) and not set(map(type, state)) <= {str, int}:
        raise DamagedError("a key in it is neither text nor an integer")
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list) else (state,)
    if not (kinds := set(map(type, inner))) <= _FOUND:
        raise DamagedError(f"it contains other types: {', '.join(sorted(map(str, kinds - _FOUND)))}")
    if kinds & {dict, list}:
        for value in inner:
            if isinstance(value, dict | list):
                _check_types(value)


def _bytes_of(block: _Block) -> memoryview:
    """Return the bytes of a block to write."""
    if isinstance(block, Deferred):
        fetched = block.get()
        if len(fetched) != block.nbytes:
            raise ValueError(f"{block.nbytes} bytes were expected, got {len(fetched)}")
        return memoryview(fetched)
    if isinstance(block, np.ndarray):
        if block.dtype.str not in _DTYPES or block.ndim > _MOST_DIMENSIONS:
            raise TypeError(f"a column of {block.dtype} with {block.ndim} dimensions cannot be part of a state")
        return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
    return memoryview(block)


def _blocks(data: memoryview, table: list[_Entry]) -> list[NDArray[Any] | memoryview]:
    """Return the blocks that `table` describes. They must fill `data`. Raises DamagedError."""
    blocks: list[NDArray[Any] | memoryview] = []
    at = 0
    for size, dtype, shape, checksum in table:
        padded = size + -size % _WORD
        if size < 0 or at + padded > len(data):
            raise DamagedError("a block is longer than the file")
        if zlib.crc32(data[at : at + padded]) != checksum:
            raise DamagedError("a block does not match its checksum")
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
            raise DamagedError("the size of a block does not match its shape")
        blocks.append(np.frombuffer(block, dtype).reshape(shape))
    if at != len(data):
        raise DamagedError("there are bytes that the index does not describe")
    return blocks
