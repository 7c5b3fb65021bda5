"""Polls in the memory of librdkafka: read as columns without a Python object for a record, and freed in one call.

Only this file and `proofs` touch memory by address. Values are copied when a poll is made. Keys and headers are copied one by
one on demand, until the poll is released. Timestamps are gathered on demand.
"""

import ctypes
from collections.abc import Iterable
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_void_p, py_object
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.columns.values import Values
from actors.sources.kafka.columns.proofs import library_path, prove_bulk

_ERROR, _PARTITION, _PAYLOAD, _LENGTH, _KEY, _KEY_LENGTH, _OFFSET = 0, 2, 3, 4, 5, 6, 7
"""The members of `rd_kafka_message_t` (rdkafka.h), in words of eight bytes. The first two are of four bytes."""

_STAMP = 12
"""The word of a message's timestamp. It is private, so it is compared with `rd_kafka_message_timestamp` at each use."""

_LOW, _HIGH = 1 << 12, 1 << 47
"""The addresses of a process on x86-64, without the first page."""

_PAGE = 1 << 12
_PADDING = 8


class Library:
    """The functions of the librdkafka that this process uses, with their types. Functions of `held` keep Python's lock.

    Raises `Unproven` if polls cannot be read as columns here. Then no memory was touched.
    """

    def __init__(self) -> None:
        path = library_path()
        freely, held, runtime = ctypes.CDLL(path), ctypes.PyDLL(path), ctypes.PyDLL(None)
        self.held = held
        self.allocate = _typed(runtime.malloc, c_void_p, c_size_t)
        self.free = _typed(runtime.free, None, c_void_p)
        prove_bulk(held, self.allocate, self.free)
        self.queue = _typed(held.rd_kafka_queue_new, c_void_p, c_void_p)
        self.queue_of = _typed(held.rd_kafka_queue_get_partition, c_void_p, c_void_p, c_char_p, c_int32)
        self.forward = _typed(held.rd_kafka_queue_forward, None, c_void_p, c_void_p)
        self.drop_queue = _typed(freely.rd_kafka_queue_destroy, None, c_void_p)
        self.consume = _typed(freely.rd_kafka_consume_batch_queue, c_ssize_t, c_void_p, c_int, c_void_p, c_size_t)
        self.length = _typed(held.rd_kafka_queue_length, c_size_t, c_void_p)
        self.event = _typed(held.rd_kafka_queue_io_event_enable, None, c_void_p, c_int, c_char_p, c_size_t)
        self.destroy = _typed(freely.rd_kafka_messages_destroy, None, c_void_p)
        self.stamp = _typed(held.rd_kafka_message_timestamp, c_int64, c_void_p, c_void_p)
        self.text = _typed(held.rd_kafka_message_errstr, c_char_p, c_void_p)
        self.headers = _typed(held.rd_kafka_message_headers, c_int, c_void_p, c_void_p)
        self.new_bytes = _typed(runtime.PyBytes_FromStringAndSize, py_object, c_void_p, c_ssize_t)
        self.place_of = _typed(runtime.PyBytes_AsString, c_void_p, py_object)
        self.header = _typed(held.rd_kafka_header_get_all, c_int, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p)
        memory = (ctypes.c_char * (_HIGH - 2 * _LOW)).from_address(_LOW)
        self.words: NDArray[np.int64] = np.frombuffer(memory, np.int64)  # type: ignore[call-overload]  # an array of ctypes is a buffer
        """The memory of this process as words. Only addresses that librdkafka has returned may be read."""


def _typed(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function


class Messages:
    """The records and errors of one poll, in order of arrival, as columns.

    Keys, headers and timestamps are readable until `release`. Timestamps that were read before are readable for ever.
    A poll without messages has no columns.
    """

    def __init__(self, library: Library, queue: int, most: int, timeout_s: float) -> None:
        """Take at most `most` messages from a queue, those that come within `timeout_s`."""
        self._library = library
        base = library.allocate(8 + 8 * most)
        self.count = count = max(0, library.consume(queue, round(timeout_s * 1000), base + 8, most))
        self._base: int | None = base
        try:
            self._pointers: Times = np.array((c_int64 * count).from_address(base + 8), np.int64)
            if count:
                self._gather()
        except BaseException:  # such as a lack of memory: messages that are not given back would hold the exit for ever
            self.release()
            raise

    def _gather(self) -> None:
        self._words = words = (self._pointers - _LOW) >> 3
        self.errors: NDArray[np.int32] = self._column(words).astype(np.int32)
        """0 for a record, otherwise a code of librdkafka."""
        self.partitions: NDArray[np.int32] = self._column(words + _PARTITION).astype(np.int32)
        self.offsets = self._column(words + _OFFSET)
        self.values = self._values(self._column(words + _PAYLOAD), self._column(words + _LENGTH))

    def _column(self, words: Times) -> Times:
        """Return one member of each message, in less time than by an index."""
        found: Times = self._library.words.take(words)
        return found

    def key(self, place: int) -> bytes | None:
        """Return the key of a record."""
        members = (c_int64 * 8).from_address(self._at(place))
        return ctypes.string_at(members[_KEY], members[_KEY_LENGTH]) if members[_KEY] else None

    def headers(self, place: int) -> tuple[tuple[str, bytes | None], ...]:
        """Return the headers of a record."""
        pointer, found = c_void_p(), list[tuple[str, bytes | None]]()
        if self._library.headers(self._at(place), ctypes.byref(pointer)):
            return ()
        name, value, size = c_char_p(), c_void_p(), c_size_t()
        wanted = ctypes.byref(name), ctypes.byref(value), ctypes.byref(size)
        while self._library.header(pointer, len(found), *wanted) == 0:
            content = None if value.value is None else ctypes.string_at(value.value, size.value)
            found.append(((name.value or b"").decode(errors="replace"), content))
        return tuple(found)

    def error(self, place: int) -> str:
        """Return the text of an error."""
        return (self._library.text(self._at(place)) or b"").decode(errors="replace")

    def release(self) -> None:
        """Give all messages back. A second call changes nothing. Cost: 70 ns a message, without Python's lock."""
        base, self._base = self._base, None
        if base is not None:
            c_size_t.from_address(base).value = self.count
            self._library.destroy(base)

    def _at(self, place: int) -> int:
        self._checked()
        return int(self._pointers[place])

    def _checked(self) -> None:
        if self._base is None:
            raise RuntimeError("the poll was released")

    @cached_property
    def timestamps(self) -> Times:
        """The timestamp of each record, by the public function if the first or last one lies at another place."""
        self._checked()
        stamps: Times = np.where(self.errors == 0, self._column(self._words + _STAMP), -1)
        ends = [place for place in (0, -1) if self.count]
        if all(stamps[place] == self.timestamp(place) for place in ends):
            return stamps
        return np.fromiter(map(self.timestamp, range(self.count)), np.int64, self.count)

    def timestamp(self, place: int) -> int:
        """Return the timestamp of a record."""
        return int(self._library.stamp(self._at(place), None))

    def _values(self, payloads: Times, lengths: Times) -> Values:
        """Copy the values. Those of one batch lie near each other, and are copied with what lies between them.

        Between two bytes less than a page apart there is no other page, so memory between them can be read.
        """
        absent = (payloads == 0) | (self.errors != 0)
        if not absent.any():
            raw, starts = self._copied(payloads, lengths)
            return Values.of_columns(raw, starts, lengths)
        starts, lengths, there = np.zeros(self.count, np.int64), np.where(absent, 0, lengths), np.flatnonzero(~absent)
        raw, starts[there] = self._copied(payloads[there], lengths[there])
        return Values.of_columns(raw, starts, lengths, absent)

    def _copied(self, begins: Times, sizes: Times) -> tuple[bytes, Times]:
        """Return the bytes from each of `begins` on, each once, and the place of each value in them."""
        if not begins.size:
            return bytes(_PADDING), begins
        gaps = begins[1:] - begins[:-1]
        gaps -= sizes[:-1]
        last = np.append(np.flatnonzero((gaps < 0) | (gaps >= _PAGE)), begins.size - 1)
        first = np.concatenate(([0], last[:-1] + 1))
        low = begins[first]
        size = begins[last] + sizes[last] - low
        ends = np.cumsum(size)
        starts = begins - np.repeat(low - (ends - size), last - first + 1)
        return self._joined(zip((ends - size).tolist(), low.tolist(), size.tolist(), strict=True), int(ends[-1])), starts

    def _joined(self, runs: Iterable[tuple[int, int, int]], size: int) -> bytes:
        """Return `size` bytes: each run has its place in them, its address and its size. Padding follows."""
        raw: bytes = self._library.new_bytes(None, size + _PADDING)
        place = self._library.place_of(raw)
        for start, address, count in runs:
            ctypes.memmove(place + start, address, count)
        ctypes.memset(place + size, 0, _PADDING)
        return raw
