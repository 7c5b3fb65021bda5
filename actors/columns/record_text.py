"""The text of a record: one rule for all views, and for Kafka, files and pipes.

A byte order mark at the start of a record and one line end (LF, CR LF or CR) at its end are removed. All other bytes belong to
the record. A record that is not text is refused as `empty`, `framed`, `too_long`, `not_utf8` or `not_text`.
"""

import codecs
import re
from collections.abc import Mapping, Sequence

BOM = b"\xef\xbb\xbf"
"""The byte order mark in UTF-8."""

ADVICE: Mapping[str, str] = {
    "no_underscore": "The view reads a text, an underscore and a whole number, such as created_1795773600000 or u17_250. Read "
    "JSON by its members with the setting `record`.",
    "not_json": "The view reads JSON. Its page in docs/views has the members of a record; `record` names other ones.",
    "framed": "The record begins with the frame of a schema registry: the byte 0x00 and a schema id, or the byte 0x03. "
    "Read it with record.format avro or protobuf, if it has such a schema. Else let the producer write plain text or JSON "
    "with a string serializer, or copy the topic without the frames.",
    "not_framed": "The record does not begin with the frame of a schema registry: the byte 0x00 and the number of a schema. "
    "Set record.framing to none if the producer writes no frames.",
    "not_avro": "The record cannot be read by the schema, or more bytes follow. Is it the schema with which "
    "the record was written, and do records begin with a frame (record.framing: confluent)?",
    "not_protobuf": "The record cannot be read by the schema. Is it the schema with which the record was written, and do "
    "records begin with a frame (record.framing: confluent)?",
    "time_unit": "The time of the record is plausible only in another unit than that of the stream, which its first plausible "
    "time has decided. If that time was wrong, name the unit as `time_unit` of the stream; then no time is refused.",
}
"""What the owner of a topic can do about refused records, by reason."""

_MAGIC = b"\0\3"
_SHORTEST_FRAME = 5
_SHORT_BYTES = 65_536
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""The bytes that neither lines nor JSON contain."""


def bare(value: bytes) -> bytes:
    r"""Return a record without a byte order mark and without one line end. Copies nothing if the record has neither.

    >>> bare(BOM + b"R_1\r\n"), bare(b"R_1\r"), bare(b"R_1\n\n"), bare(b"R_1")
    (b'R_1', b'R_1', b'R_1\n', b'R_1')
    """
    start = len(BOM) if value.startswith(BOM) else 0
    end = 2 if value.endswith(b"\r\n") else int(value.endswith((b"\n", b"\r")))
    return value[start : len(value) - end] if start or end else value


def bare_all(values: Sequence[bytes]) -> list[bytes]:
    """Return `bare` of each value. Cost: 60 ns a value; 250 ns if there is a byte order mark, a line feed or a long value."""
    if max(map(len, values), default=0) <= _SHORT_BYTES:
        text = b"\n".join([*values, b""])
        if text.count(b"\n") == len(values) and BOM not in text:
            return text.replace(b"\r\n", b"\n").split(b"\n")[:-1]
    return list(map(bare, values))


def defect(value: bytes, longest: int | None = None) -> str | None:
    r"""Return the reason why a record is not text of at most `longest` bytes, or None if it is.

    UTF-16 is `not_text`, or `not_utf8` if it has a byte order mark. Cost: O(bytes).

    >>> defect(b"\0\0\0\0\7R_1"), defect("R_1".encode("utf-16")), defect("R_1".encode("utf-16-be")), defect(b"R_1")
    ('framed', 'not_utf8', 'not_text', None)
    """
    if not value:
        return "empty"
    if value[0] in _MAGIC and len(value) >= _SHORTEST_FRAME and not _begins_as_utf_16(value):
        return "framed"
    if longest is not None and len(value) > longest:
        return "too_long"
    if not is_utf8(value):
        return "not_utf8"
    return "not_text" if _BINARY.search(value) else None


def is_utf8(value: bytes) -> bool:
    """Whether a record is UTF-8. A long one is decoded block by block, because it would need its memory twice."""
    try:
        if len(value) <= _SHORT_BYTES:
            value.decode()
        else:
            blocks = (value[start : start + _SHORT_BYTES] for start in range(0, len(value), _SHORT_BYTES))
            all(text is not None for text in codecs.iterdecode(blocks, "utf-8"))
    except UnicodeDecodeError:
        return False
    return True


def _begins_as_utf_16(value: bytes) -> bool:
    """Whether a record begins with two characters of big-endian UTF-16 that ASCII has too."""
    return value[0] == value[2] == 0 and value[1] != 0 and value[3] != 0


def other_form(*names: str) -> str:
    """Return the reason for JSON records that have none of the members `names`, which a view reads without a `record`.

    >>> other_form("ts", "uid")
    'expected JSON with ts and uid, got other members: use record.format'
    """
    *first, last = names
    return f"expected JSON with {', '.join(first)} and {last}, got other members: use record.format"
