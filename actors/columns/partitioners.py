"""The partition that Kafka's clients choose for a record by its key, for a whole poll at once.

Clients differ: Java and those that follow it take murmur2, librdkafka by default CRC-32, and Sarama and kafka-go FNV-1a.
"""

import zlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from actors.columns.text import Text
from actors.columns.times import Times

Words = NDArray[np.uint32]

_LONG = 256
"""Longer strings are hashed one by one."""

_SIGN = 0x7FFFFFFF
_BITS = 0xFFFFFFFF
_MURMUR, _MURMUR_SEED, _MURMUR_SHIFT = 0x5BD1E995, 0x9747B28C, 24
_PRIME, _BASIS = 0x01000193, 0x811C9DC5


def murmur2(keys: Text) -> Words:
    """Return the hash of Java's `DefaultPartitioner`. Cost: 3 ns a byte; 0.3 us a byte of a key of more than 256 bytes.

    >>> murmur2(Text.of([b"21", b"foobar", b"a-little-bit-long-string"])).view(np.int32).tolist()
    [-973932308, -790332482, -985981536]
    """
    return _hashed(keys, _murmur2, _murmur2_of_one)


def crc32(keys: Text) -> Words:
    """Return the CRC-32. Cost: 3 ns a byte.

    >>> crc32(Text.of([b"123456789"])).tolist() == [zlib.crc32(b"123456789")]
    True
    """
    return _hashed(keys, _crc32, zlib.crc32)


def fnv1a(keys: Text) -> Words:
    """Return the FNV-1a hash. Cost: 3 ns a byte; 0.1 us a byte of a key of more than 256 bytes.

    >>> hex(fnv1a(Text.of([b"foobar"]))[0])
    '0xbf9cf968'
    """
    return _hashed(keys, _fnv1a, _fnv1a_of_one)


def _positive(hashes: Words) -> Times:
    return (hashes & np.uint32(_SIGN)).astype(np.int64)


def _absolute(hashes: Words) -> Times:
    """Return the numbers that are made of a signed hash, without its sign. -2^31 stays as librdkafka has it."""
    return np.abs(hashes.view(np.int32).astype(np.int64))


PARTITIONERS: tuple[tuple[str, Callable[[Text], Times]], ...] = (
    ("murmur2", lambda keys: _positive(murmur2(keys))),
    ("CRC-32", lambda keys: crc32(keys).astype(np.int64)),
    ("FNV-1a", lambda keys: _absolute(fnv1a(keys))),
    ("FNV-1a without a sign", lambda keys: _positive(fnv1a(keys))),
)
"""The name of each partitioner, and the numbers whose remainders by the count of partitions are the partitions of keys.

They are those of librdkafka (`murmur2`, `consistent`, `fnv1a`), and of Java, Sarama and kafka-go.
"""


def _hashed(keys: Text, many: Callable[[NDArray[np.uint8]], Words], one: Callable[[bytes], int]) -> Words:
    found = np.empty(keys.lengths.size, np.uint32)
    for rows, table in _tables(keys):
        found[rows] = many(table)
    for row in np.flatnonzero(keys.lengths > _LONG).tolist():
        found[row] = one(keys.take(np.array([row]))[0])
    return found


def _tables(keys: Text) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Yield the rows of one length each, and their bytes: a row of the table for each place of a byte."""
    short = keys.lengths[keys.lengths <= _LONG]
    for length in np.flatnonzero(np.bincount(short)).tolist() if short.size else []:
        rows = np.flatnonzero(keys.lengths == length)
        yield rows, np.ascontiguousarray(keys.joined(rows).reshape(rows.size, length).T)


def _murmur2(table: NDArray[np.uint8]) -> Words:
    length, count = table.shape
    factor = np.uint32(_MURMUR)
    state = np.full(count, _MURMUR_SEED ^ length, np.uint32)
    whole = length // 4 * 4
    for place in range(0, whole, 4):
        word = np.ascontiguousarray(table[place : place + 4].T).view("<u4").ravel() * factor
        word ^= word >> np.uint32(_MURMUR_SHIFT)
        word *= factor
        state *= factor
        state ^= word
    for place in range(length - 1, whole - 1, -1):
        state ^= table[place].astype(np.uint32) << np.uint32(8 * (place - whole))
    if length > whole:
        state *= factor
    state ^= state >> np.uint32(13)
    state *= factor
    state ^= state >> np.uint32(15)
    return state


def _murmur2_of_one(key: bytes) -> int:
    return int(_murmur2(np.frombuffer(key, np.uint8)[:, None])[0])


_TABLE = np.array([zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)], np.uint32)
"""What a last byte changes in a CRC-32. The table of an earlier byte follows from that of the next one."""


def _crc32(table: NDArray[np.uint8]) -> Words:
    length, count = table.shape
    state = np.full(count, zlib.crc32(bytes(length)), np.uint32)
    changes = _TABLE
    for place in range(length - 1, -1, -1):
        state ^= changes[table[place]]
        changes = _TABLE[changes & np.uint32(0xFF)] ^ (changes >> np.uint32(8))
    return state


def _fnv1a(table: NDArray[np.uint8]) -> Words:
    state = np.full(table.shape[1], _BASIS, np.uint32)
    for row in table:
        state ^= row
        state *= np.uint32(_PRIME)
    return state


def _fnv1a_of_one(key: bytes) -> int:
    state = _BASIS
    for byte in key:
        state = (state ^ byte) * _PRIME & _BITS
    return state
