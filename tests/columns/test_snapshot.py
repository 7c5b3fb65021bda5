"""A state is restored as it was written. Any other bytes are reported as damaged and take no memory."""

import random
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns import snapshot
from actors.columns.snapshot import DamagedError, Deferred, nbytes_of, read
from actors.columns.snapshot import write as write_through

KINDS = ["<i8", "<u8", "<i4", "<u4", "<i2", "<u2", "|i1", "|u1", "|b1", "<f8"]


def write(state: Any, kind: str = "test") -> bytes:
    blocks: list[bytes] = []
    size = write_through(kind, state, lambda block: blocks.append(bytes(block)))
    data = b"".join(blocks)
    assert size == len(data)
    return data


def plain(state: Any) -> Any:
    """Return the expected tree after a read, with values that can be compared."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [plain(value) for value in state]
    if isinstance(state, np.ndarray):
        return "column", state.dtype.str, state.shape, state.tobytes()
    if isinstance(state, Deferred):
        return "bytes", state.get()
    return ("bytes", bytes(state)) if isinstance(state, bytes | memoryview) else (type(state), state)


COLUMNS = st.builds(
    lambda kind, shape, seed: (
        np.frombuffer(random.Random(seed).randbytes(1_000), np.uint8)
        .view("<u2")[: shape[0] * shape[1]]
        .astype(kind)
        .reshape(shape)
    ),
    st.sampled_from(KINDS),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(0, 99),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=200)
    | st.binary(max_size=200).map(memoryview)
    | st.binary(max_size=200).map(lambda data: Deferred(len(data), lambda: data))
    | COLUMNS
)
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("abc", max_size=3) | st.integers(-5, 5), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(STATES)
def test_a_tree_is_restored_as_written(state: Any):
    assert plain(read("test", write(state))) == plain(state)


@given(STATES, st.sampled_from([bytes, bytearray, memoryview]))
def test_a_state_that_was_read_can_be_written_again(state: Any, form: Callable[[bytes], Any]):
    assert plain(read("test", write(read("test", form(write(state)))))) == plain(state)


def test_columns_and_long_bytes_are_read_only_views():
    data = write({"column": np.arange(100), "long": bytes(range(100)), "short": b"short"})
    inside = np.frombuffer(data, np.uint8)
    found = read("test", data)
    assert np.shares_memory(found["column"], inside)
    assert np.shares_memory(np.frombuffer(found["long"], np.uint8), inside)
    assert type(found["short"]) is bytes
    with pytest.raises(ValueError, match="read-only"):
        found["column"][0] = 7
    with pytest.raises(ValueError, match="WRITEABLE"):
        found["column"].flags.writeable = True
    with pytest.raises(TypeError, match="read-only"):
        read("test", bytearray(data))["long"][0] = 7


@pytest.mark.parametrize(
    "column",
    [np.arange(20)[::2], np.arange(20).reshape(4, 5).T, np.array(5), np.zeros((3, 0, 2), np.uint8), np.arange(20)[::-1]],
    ids=["stride", "turned", "none", "empty", "backwards"],
)
def test_a_column_of_any_layout_is_restored(column: Any):
    found = read("test", write([column]))[0]
    assert found.shape == column.shape
    assert np.array_equal(found, column)


def test_columns_are_aligned():
    found = read("test", write([b"x" * 65, np.arange(3, dtype=np.uint8), np.arange(4), np.zeros(1)]))
    assert all(column.flags.aligned for column in found[1:])


def test_numpy_scalars_are_restored_as_python_numbers():
    assert read("test", write([np.int64(5), np.uint8(2), np.float64(0.5), np.bool_(True)])) == [5, 2, 0.5, True]


@pytest.mark.parametrize(
    "state",
    [
        {1, 2},
        object(),
        bytearray(100),
        np.array(["a"]),
        np.zeros(2, ">i8"),
        np.zeros((1,) * 9),
        np.zeros(2, "M8[s]"),
        np.zeros(2, np.complex128),
        np.array([{}]),
        np.datetime64(5, "s"),
        {(1, 2): 3},
        {None: 3},
        2**70,
        "\ud800",
        {2**70: 1},
    ],
    ids=lambda state: re.sub(" at 0x[0-9a-f]+", "", f"{type(state).__name__} {state!a}")[:40],
)
def test_values_of_other_types_are_not_written(state: Any):
    put: list[Any] = []
    for tree in (state, [state], {"a": (1, {"b": state})}):
        with pytest.raises(TypeError):
            write_through("test", tree, put.append)


def test_deferred_bytes_of_a_wrong_length_are_not_written():
    with pytest.raises(ValueError, match="3 bytes were expected, got 2"):
        write([Deferred(3, lambda: b"ab")])


@given(STATES)
def test_the_size_estimate_of_a_state_is_about_right(state: Any):
    empty = len(write(None))
    assert abs(nbytes_of(state) - (len(write(state)) - empty)) <= 0.3 * len(write(state)) + 40 * _nodes(state)


def _nodes(state: Any) -> int:
    if isinstance(state, dict):
        return 1 + len(state) + sum(map(_nodes, state.values()))
    return 1 + (sum(map(_nodes, state)) if isinstance(state, list | tuple) else 0)


# Damage --------------------------------------------------------------------------------------------------------------


SMALL = {
    "events": 7,
    "column": np.arange(5),
    "bytes": bytes(range(70)),
    "flags": np.array([True, False, True]),
    "names": ["a", "é", ""],
    "more": {1: None, -2: 0.5, 3: b"short"},
}


def test_every_flipped_bit_is_detected():
    data = write(SMALL)
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises(DamagedError):
                read("test", broken)


@pytest.mark.parametrize("junk", [b"\0", b"\xff", b"FIRNLINE", None], ids=repr)
def test_every_changed_byte_is_detected(junk: bytes | None):
    data = write(SMALL)
    for place in range(len(data)):
        broken = data[:place] + (junk or b"") + data[place + (1 if junk is None else len(junk)) :]
        if broken != data:
            with pytest.raises(DamagedError):
                read("test", broken)


def test_a_missing_end_or_beginning_is_detected():
    data = write(SMALL)
    for cut in range(len(data)):
        with pytest.raises(DamagedError):
            read("test", data[:cut])
        with pytest.raises(DamagedError):
            read("test", data[cut + 1 :])


@pytest.mark.parametrize("junk", [b"\0", b"\0" * 4_096, b"FIRNLINE", write(SMALL), write(None)], ids=len)
def test_extra_bytes_before_or_after_a_file_are_detected(junk: bytes):
    data = write({**SMALL, "events": 8})
    for joined in (data + junk, junk + data):
        with pytest.raises(DamagedError):
            read("test", joined)


def test_two_exchanged_blocks_of_equal_size_are_detected():
    data = write([np.arange(5), np.arange(5) + 1])
    one, other = data[8:48], data[48:88]
    with pytest.raises(DamagedError, match="not match its checksum"):
        read("test", data[:8] + other + one + data[88:])


def test_another_kind_is_refused():
    with pytest.raises(DamagedError, match="kind is words, not top"):
        read("top", write(SMALL, "words"))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_damagederror(data: bytes):
    for each in (data, b"FIRNLINE" + data + b"FIRNLINE"):
        with pytest.raises(DamagedError):
            read("test", each)


# Wrong indexes with valid checksums ----------------------------------------------------------------------------------


def crafted(index: bytes, blocks: bytes = b"") -> bytes:
    return b"FIRNLINE" + blocks + index + struct.pack("<II", len(index), zlib.crc32(index)) + b"FIRNLINE"


def indexed(tree: bytes, table: Any = (), blocks: bytes = b"", form: Any = snapshot.FORMAT, kind: Any = "test") -> bytes:
    return crafted(msgspec.msgpack.encode((form, kind, table, tree)), blocks)


def entry(blocks: bytes, dtype: str | None, shape: Any, size: int | None = None) -> Any:
    return (len(blocks) if size is None else size, dtype, shape, zlib.crc32(blocks))


REFERENCE = b"\xd6\x01\0\0\0\0"  # an extension of four bytes: block 0
BLOCK = bytes(8)
ABSURD = {
    "length over the end": indexed(REFERENCE, [entry(BLOCK, None, (), 16)], BLOCK),
    "length below zero": indexed(REFERENCE, [entry(BLOCK, None, (), -8)], BLOCK),
    "length of an exabyte": indexed(REFERENCE, [entry(BLOCK, None, (), 2**60)], BLOCK),
    "length beyond int64": indexed(REFERENCE, [entry(BLOCK, None, (), 2**64 - 1)], BLOCK),
    "length of text": indexed(REFERENCE, [("8", None, (), 0)], BLOCK),
    "block that is not named": indexed(b"\xc0", [], BLOCK),
    "shape of an exabyte": indexed(REFERENCE, [entry(BLOCK, "<i8", (2**60,))], BLOCK),
    "shape below zero": indexed(REFERENCE, [entry(BLOCK, "<i8", (-1,))], BLOCK),
    "shape below zero twice": indexed(REFERENCE, [entry(BLOCK, "<i8", (-1, -1))], BLOCK),
    "shape of nothing times everything": indexed(REFERENCE, [entry(b"", "<i8", (0, 2**62, 2**62))]),
    "shape of nothing beyond int64": indexed(REFERENCE, [entry(b"", "<i8", (0, 2**64 - 1))]),
    "shape of 9 dimensions": indexed(REFERENCE, [entry(BLOCK, "<i8", (1,) * 9)], BLOCK),
    "shape of 65 dimensions": indexed(REFERENCE, [entry(BLOCK, "<i8", (1,) * 65)], BLOCK),
    "shape of a million dimensions": indexed(REFERENCE, [entry(BLOCK, "<i8", (1,) * 10**6)], BLOCK),
    "shape of a million zeros": indexed(REFERENCE, [entry(b"", "<i8", (0,) * 10**6)]),
    "shape whose product takes long": indexed(REFERENCE, [entry(BLOCK, "<i8", (2**63 - 1,) * 10**5)], BLOCK),
    "dtype of objects": indexed(REFERENCE, [entry(BLOCK, "|O", (1,))], BLOCK),
    "dtype of text": indexed(REFERENCE, [entry(BLOCK, "<U2", (1,))], BLOCK),
    "dtype of a record": indexed(REFERENCE, [entry(BLOCK, "i8,i8", (0,))], BLOCK),
    "dtype of no name": indexed(REFERENCE, [entry(BLOCK, "\0", (1,))], BLOCK),
    "dtype of no text": indexed(REFERENCE, [(8, 5, (1,), zlib.crc32(BLOCK))], BLOCK),
    "half an item": indexed(REFERENCE, [entry(BLOCK, "<i8", (), 4)], BLOCK),
    "checksum of another": indexed(REFERENCE, [(8, None, (), 1)], BLOCK),
    "checksum below zero": indexed(REFERENCE, [(8, None, (), -1)], BLOCK),
    "reference to no block": indexed(REFERENCE),
    "reference far beyond": indexed(b"\xd6\x01\xff\xff\xff\xff", [entry(BLOCK, None, ())], BLOCK),
    "reference of no bytes": indexed(b"\xc7\x00\x01", [entry(BLOCK, None, ())], BLOCK),
    "reference of a kilobyte": indexed(b"\xc8\x04\x00\x01" + bytes(1_024), [entry(BLOCK, None, ())], BLOCK),
    "extension of another code": indexed(b"\xd6\x02\0\0\0\0", [entry(BLOCK, None, ())], BLOCK),
    "extension of a code below zero": indexed(b"\xd6\xfe\0\0\0\0", [entry(BLOCK, None, ())], BLOCK),
    "extension that is a time": indexed(b"\xd6\xff\0\0\0\1"),
    "extension that is a time inside": indexed(b"\x81\xa1a\x91\xd6\xff\0\0\0\1"),
    "extension that is a wrong time": indexed(b"\xc7\x0c\xff" + b"\xff" * 12),
    "column as a key": indexed(b"\x81" + REFERENCE + b"\x01", [entry(BLOCK, "<i8", (1,))], BLOCK),
    "bytes of a block as a key": indexed(b"\x81" + REFERENCE + b"\x01", [entry(BLOCK, None, ())], BLOCK),
    "list as a key": indexed(b"\x81\x91\x01\x01"),
    "dictionary as a key": indexed(b"\x81\x80\x01"),
    "text that is not UTF-8": indexed(b"\xa2\xff\xff"),
    "key that is not UTF-8": indexed(b"\x81\xa2\xff\xff\x01"),
    "list of four thousand million": indexed(b"\xdd\xff\xff\xff\xff"),
    "lists of a million in lists": indexed(b"\xdd\x00\x10\x00\x00" * 500),
    "dictionary of four thousand million": indexed(b"\xdf\xff\xff\xff\xff"),
    "text of four gigabytes": indexed(b"\xdb\xff\xff\xff\xff"),
    "bytes of four gigabytes": indexed(b"\xc6\xff\xff\xff\xff"),
    "extension of four gigabytes": indexed(b"\xc9\xff\xff\xff\xff\x01"),
    "nested without end": indexed(b"\x91" * 200_000),
    "nested deep": indexed(b"\x91" * 200_000 + b"\xc0"),
    "dictionaries nested deep": indexed(b"\x81\x01" * 200_000 + b"\xc0"),
    "two trees": indexed(b"\xc0\xc0"),
    "no tree": indexed(b""),
    "a byte that means nothing": indexed(b"\xc1"),
    "tree that is text": crafted(msgspec.msgpack.encode((snapshot.FORMAT, "test", [], "abc"))),
    "format to come": indexed(b"\xc0", form=snapshot.FORMAT + 1),
    "format of text": indexed(b"\xc0", form="1"),
    "kind of number": indexed(b"\xc0", kind=5),
    "kind that is not UTF-8": crafted(b"\x94\x01\xa2\xff\xff\x90\xc4\x01\xc0"),
    "no index": crafted(b""),
    "index of nothing": crafted(b"\xc0"),
    "index nested deep": crafted(b"\x91" * 200_000),
    "index of too much": crafted(msgspec.msgpack.encode((snapshot.FORMAT, "test", [], b"\xc0", 1))),
    "index with more behind it": crafted(msgspec.msgpack.encode((snapshot.FORMAT, "test", [], b"\xc0")) + b"\xc0"),
    "table of four thousand million": crafted(b"\x94\x01\xa4test\xdd\xff\xff\xff\xff\xc4\x01\xc0"),
    "table of lists": crafted(msgspec.msgpack.encode((snapshot.FORMAT, "test", [[], []], b"\xc0"))),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_index_with_a_valid_checksum_is_refused_and_costs_no_memory(name: str):
    data = ABSURD[name]
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError):
            read("test", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 + 20 * len(data)


def test_a_handmade_valid_index_is_read():
    assert read("test", indexed(b"\x92" + REFERENCE + b"\x01", [entry(BLOCK, "<i8", (1,))], BLOCK))[0].tolist() == [0]


@given(st.binary(max_size=60), st.binary(max_size=24))
def test_an_index_of_any_bytes_is_damaged_or_a_state(tree: bytes, blocks: bytes):
    for data in (crafted(tree, blocks), indexed(tree, [entry(blocks, None, (), len(blocks))], blocks)):
        try:
            found = read("test", data)
        except DamagedError:
            continue
        plain(found)


@pytest.mark.parametrize("seed", range(2))
def test_an_index_that_is_changed_with_its_checksum_is_damaged_or_a_state(seed: int):
    chance, data = random.Random(seed), write(SMALL)
    size = struct.unpack("<I", data[-16:-12])[0]
    start, damaged = len(data) - 16 - size, 0
    for _ in range(2_000):
        index = bytearray(data[start:-16])
        for _ in range(chance.choice([1, 1, 2, 5])):
            index[chance.randrange(size)] = chance.choice([0, 0x7F, 0x80, 0x91, 0xC7, 0xD6, 0xDD, 0xFF, chance.randrange(256)])
        try:
            plain(read("test", crafted(bytes(index), data[8:start])))
        except DamagedError:
            damaged += 1
    assert damaged > 500
