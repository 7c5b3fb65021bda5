"""Takes the errors of a client whose queue is read here. confluent-kafka can take them only while it reads the client itself.

librdkafka calls the client's callback for errors on the thread that reads a queue: also for an error of a partition, such as of
a topic that was deleted. The callback of confluent-kafka ends the process then, because its own poll is not under way.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from typing import Any

from confluent_kafka import KafkaError

from actors.sources.kafka.columns.proofs import Unproven

Report = Callable[[KafkaError], None]

_LONGEST = 64
_REPORTS: dict[int, Report] = {}
"""By the handle of a client: what takes its errors."""


def _take(handle: int, code: int, reason: bytes | None, _: int | None) -> None:
    """Pass an error on, unless the client is being closed. A fatal one comes from the poll of the client too."""
    report = _REPORTS.get(handle)
    if report is not None:
        report(KafkaError(code, (reason or b"").decode(errors="replace")))


_TAKE = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)(_take)
"""It lives as long as the process, because a client may call it while it is closed."""


def take_errors(library: Any, handle: int, report: Report) -> None:
    """Give the errors of a client to `report`, on the thread that reads. Raises `Unproven` if the client does not do so.

    A client's configuration is read-only by rdkafka.h, so librdkafka is asked for its callback afterwards.
    """
    conf_of, set_callback, get = library.rd_kafka_conf, library.rd_kafka_conf_set_error_cb, library.rd_kafka_conf_get
    conf_of.restype, conf_of.argtypes = c_void_p, [c_void_p]
    set_callback.restype, set_callback.argtypes = None, [c_void_p, c_void_p]
    get.restype, get.argtypes = c_int, [c_void_p, c_char_p, c_void_p, c_void_p]
    conf, ours = conf_of(handle), ctypes.cast(_TAKE, c_void_p)
    set_callback(conf, ours)
    text, size = ctypes.create_string_buffer(_LONGEST), c_size_t(_LONGEST)
    if get(conf, b"error_cb", text, ctypes.byref(size)) or text.value.decode() != hex(ours.value or 0):
        raise Unproven("the client keeps its callback for errors")
    _REPORTS[handle] = report


def leave_errors(handle: int) -> None:
    """Take no more errors of a client, which is about to be closed."""
    _REPORTS.pop(handle, None)
