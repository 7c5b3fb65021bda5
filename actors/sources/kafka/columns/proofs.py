"""Proves that librdkafka's memory is laid out as `memory` assumes. Without all proofs, records are read as Message objects.

The layout of a message, the batch call and the forwarding of queues are public (rdkafka.h). Three facts are private. The place
of the handle in a Consumer and the layout of `rd_kafka_messages_t` are proven here, before they are used. The place of a
message's timestamp is proven by `memory` at both ends of each poll.
"""

import ctypes
import platform
import sys
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer

TESTED = frozenset({"2.16.0"})
"""The versions of librdkafka whose polls have been compared with Message objects. Polls of other ones are Message objects."""

_MAPS = Path("/proc/self/maps")
_HEADER = object.__basicsize__
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_STRUCT = 4096
"""Bytes of an `rd_kafka_t` that its name and its opaque value lie in. In the tested version they lie in the first 2,700."""


class Unproven(Exception):  # noqa: N818  # a reason, not a failure
    """Polls cannot be read as columns, for the reason that is the text."""


def library_path() -> str:
    """Return the file of the librdkafka that this process uses. Raises `Unproven` if polls cannot be read as columns here."""
    machine = f"{sys.platform} on {platform.machine()}"
    if (sys.platform, platform.machine(), sys.byteorder, _POINTER) != ("linux", "x86_64", "little", 8):
        raise Unproven(f"{machine} is not supported")
    if platform.libc_ver()[0] != "glibc":
        raise Unproven("the C library is not glibc")
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise Unproven("this Python is not CPython with its lock")
    version = confluent_kafka.libversion()[0]
    if version not in TESTED:
        raise Unproven(f"librdkafka {version} is not tested")
    with _MAPS.open() as maps:
        paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps if "librdkafka" in line}
    if len(paths) != 1:
        raise Unproven(f"{len(paths)} files of librdkafka are loaded")
    return paths.pop()


def prove_bulk(library: Any, allocate: Any, free: Any) -> None:
    """Prove the layout of `rd_kafka_messages_t`, which frees a whole poll: a count, then pointers. Raises `Unproven`."""
    wanted = [0x1000, 0x2000, 0x3000]
    base = allocate(_POINTER * (1 + len(wanted)))
    (ctypes.c_uint64 * (1 + len(wanted))).from_address(base)[:] = [len(wanted), *wanted]
    count, get = library.rd_kafka_messages_count, library.rd_kafka_messages_get
    count.restype, count.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]
    found = [get(base, place) for place in range(len(wanted))] if count(base) == len(wanted) else []
    free(base)
    if found != wanted:
        raise Unproven("rd_kafka_messages_t has another layout")


def handle_of(consumer: Consumer, library: Any) -> int:
    """Return the address of the `rd_kafka_t` of a consumer, its first member. Raises `Unproven` if another value is there.

    The value is used only if it points into memory that can be written. Then librdkafka itself must name it a consumer, and
    return the consumer as its opaque value.
    """
    if Consumer.__basicsize__ < _HEADER + _POINTER:
        raise Unproven("the Consumer object has another layout")
    handle = _first_member(consumer)
    if not _writable(handle):
        raise Unproven("the Consumer object has no handle at its beginning")
    name, opaque = library.rd_kafka_name, library.rd_kafka_opaque
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    opaque.restype, opaque.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    if opaque(handle) != id(consumer) or b"#consumer-" not in (name(handle) or b""):
        raise Unproven("the handle of the Consumer object is another one")
    return handle


def holds(consumer: Consumer, handle: int) -> bool:
    """Whether the consumer still has this handle. A closed consumer has none."""
    return _first_member(consumer) == handle


def _first_member(consumer: Consumer) -> int:
    return int(ctypes.c_uint64.from_address(id(consumer) + _HEADER).value)


def _writable(address: int) -> bool:
    """Whether a structure at an address lies in memory of this process that can be read and written."""
    with _MAPS.open() as maps:
        for line in maps:
            span, rights = line.split(maxsplit=2)[:2]
            low, high = (int(bound, 16) for bound in span.split("-"))
            if low <= address and address + _STRUCT <= high:
                return rights.startswith("rw") and address % _POINTER == 0
    return False
