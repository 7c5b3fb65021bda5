"""Which records of a poll are text: JSON is UTF-8, also in what nobody looks at.

Used by decoders whose JSON parser skips what it does not need, unread.
"""

from collections.abc import Sequence

NO_TEXT = b"\xff"
"""What stands in for a record that is not UTF-8: no parser takes it for anything."""


def text_only(values: Sequence[bytes | None]) -> Sequence[bytes | None]:
    r"""Return `values`, with `NO_TEXT` for each that is not UTF-8. Cost: some 20 ns a record where all are.

    >>> text_only([b"a", b"b\xff", None])
    [b'a', b'\xff', None]
    """
    try:
        b"\n".join([value or b"" for value in values]).decode()
    except UnicodeDecodeError:
        return [value if value is None or _is_text(value) else NO_TEXT for value in values]
    return values


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
