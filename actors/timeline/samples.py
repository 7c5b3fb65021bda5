"""What is kept of a record for display: its place, what the view made of it, and the first bytes of its parts.

Used by the front end, read by the gateway. The bytes of each part are bounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

VALUE_BYTES = 512
KEY_BYTES = 128
HEADERS_BYTES = 512
"""The most bytes of a record's headers that are kept, names and values together."""

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A record that was read. `written_at` is its own time (ms since 1970), which its producer or the broker gave it.

    `time` is the time of its event in the stream's unit; None if it is no event, or if the axis is not time. `length` is in
    bytes; None for a tombstone. `head`, `key` and `headers` are cut.
    """

    partition: int
    offset: int
    written_at: int
    is_event: bool
    time: int | None
    length: int | None
    head: bytes
    key: bytes | None
    headers: Headers


def cut_value(value: bytes | None) -> bytes:
    """Return the first bytes of a value; none of a tombstone."""
    return (value or b"")[:VALUE_BYTES]


def cut_key(key: bytes | None) -> bytes | None:
    """Return the first bytes of a key."""
    return key if key is None else key[:KEY_BYTES]


def cut_headers(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Return the first headers, with at most `HEADERS_BYTES` bytes.

    >>> cut_headers([("a", b"1"), ("b", b"x" * 600), ("c", None)])[0], len(cut_headers([("b", b"x" * 600)])[0][1])
    (('a', b'1'), 511)
    """
    room = HEADERS_BYTES
    kept: list[tuple[str, bytes | None]] = []
    for name, value in headers:
        short = name[:room]
        room -= len(short)
        kept.append((short, value if value is None else value[:room]))
        room -= len(value or b"")
        if room <= 0:
            break
    return tuple(kept)
