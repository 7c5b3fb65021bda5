"""Takes the markers of the last transaction out of a broker's log, as Kafka 4.4.0 may leave the log after a kill.

Kafka's coordinator then counts the transaction as committed, and the partitions have it open for ever.
"""

import struct
from pathlib import Path

from tests.support.sinks import whole_topic

_HEAD = struct.Struct(">qiibIh")
"""Base offset, length of what follows, leader epoch, version, checksum, attributes of a batch."""

_LENGTH_FROM = 12
_CONTROL = 1 << 5


def cut_last_marker(folder: Path) -> int:
    """Remove the last batch from the log of a stopped broker's partition: a marker. Return its offset."""
    (log,) = folder.glob("*.log")
    data = log.read_bytes()
    place = start = offset = attributes = 0
    while place + _HEAD.size <= len(data):
        start = place
        offset, length, _, _, _, attributes = _HEAD.unpack_from(data, start)
        place = start + _LENGTH_FROM + length
    assert attributes & _CONTROL, f"the last batch of {folder.name} is no marker"
    with log.open("r+b") as file:
        file.truncate(start)
    return offset


_STATES = "__transaction_state"
_STATUS_AT = 16
_COMPLETE = 4
"""The status of a committed transaction, in a record of Kafka's topic: after version, producer id, epoch and timeout."""


def is_complete(bootstrap: str, transactional_id: str) -> bool:
    """Return whether Kafka's coordinator counts the last transaction as committed, with markers in every partition."""
    newest: bytes | None = None
    for message in whole_topic(bootstrap, _STATES):
        if transactional_id.encode() in (message.key() or b""):
            newest = message.value()
    return newest is not None and newest[_STATUS_AT] == _COMPLETE
