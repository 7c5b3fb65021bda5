"""One JSON value as its bytes: of which kind it is, its text, and its number without rounding."""

import re
from typing import NamedTuple

import msgspec

NOTHING = "nothing"
NUMBER = "a number"
TEXT = "text"

_KINDS = {
    ord('"'): TEXT,
    ord("{"): "an object",
    ord("["): "a list",
    ord("t"): "true or false",
    ord("f"): "true or false",
    ord("n"): "null",
    ord("b"): "bytes",
    ord("N"): "no finite number",
}
_PLAIN = re.compile(rb"-?[0-9]{1,18}")
_PARTS = re.compile(rb"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_MOST_DIGITS = 24
"""A number of more digits before its point is too large for every use."""

_EXPONENT_DIGITS = 12
"""An exponent of more digits is taken for the smallest one: no record has as many digits as that."""

_text = msgspec.json.Decoder(str).decode


class Number(NamedTuple):
    """A number, rounded down to an integer, and whether it was one. `value` is None if it has too many digits."""

    value: int | None
    whole: bool
    negative: bool


def kind_of(raw: bytes) -> str:
    """Return the kind of a JSON value in words, or `NOTHING` for no bytes.

    A record that is not JSON has two more kinds of values: bytes are `b`, and NaN and infinities are `N`, as first byte.

    >>> kind_of(b"[1]"), kind_of(b"-1"), kind_of(b"")
    ('a list', 'a number', 'nothing')
    """
    return _KINDS.get(raw[0], NUMBER) if raw else NOTHING


def text_of(raw: bytes) -> bytes:
    """Return a JSON string as UTF-8. Cost: 0.1 us, 0.3 us with escapes."""
    return _text(raw).encode() if b"\\" in raw else raw[1:-1]


def number_of(raw: bytes, power: int = 0) -> Number:
    """Return a JSON number times ten to the `power`, rounded down. Cost: 0.3 us, 2 us for a fraction or an exponent.

    >>> number_of(b"-1.5e3"), number_of(b"1.25", 1), number_of(b"-0.5"), number_of(b"1e99")
    (Number(value=-1500, whole=True, negative=True), Number(value=12, whole=False, negative=False), \
Number(value=-1, whole=False, negative=True), Number(value=None, whole=True, negative=False))
    """
    if not power and _PLAIN.fullmatch(raw):
        value = int(raw)
        return Number(value, whole=True, negative=value < 0)
    found = _PARTS.fullmatch(raw)
    assert found is not None, "the parser accepts no other number"
    negative, before, after, exponent = found[1] == b"-", found[2], found[3] or b"", found[4] or b"0"
    digits = (before + after).lstrip(b"0")
    if not digits.strip(b"0"):
        return Number(0, whole=True, negative=False)
    steps = exponent.lstrip(b"+-").lstrip(b"0") or b"0"
    shift = int(steps) if len(steps) <= _EXPONENT_DIGITS else 10**_EXPONENT_DIGITS
    if exponent.startswith(b"-"):
        shift = -shift
    place = len(before) + shift + power - (len(before) + len(after) - len(digits))
    rest = digits[max(place, 0) :]
    whole = not rest.strip(b"0")
    if place > _MOST_DIGITS:
        return Number(None, whole=whole, negative=negative)
    value = int(digits[:place].ljust(place, b"0")) if place > 0 else 0
    return Number(-value - (not whole) if negative else value, whole=whole, negative=negative)
