"""A template: the bytes that JSON records of one shape share, and between them fields: plain strings and whole numbers.

A template is learned from a few records that a parser has read. A record fits if every byte outside of the fields is equal, and
each field is a plain string or number. Such a record is valid JSON with the same members, because a string has taken the place
of a string, and a number the place of a number.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from operator import ne
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from actors.columns.json.scan import WIDEST, WORD, Bytes, Mask, number_ends, numbers, text_ends, windows
from actors.columns.text import Text
from actors.columns.times import Times

_TOKEN = re.compile(rb'"[ !#-\[\]-~]*"|-?[0-9][0-9.eE+-]*|[^"0-9-]+')
_PLAIN = re.compile(rb"[^\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]+")
_QUOTE, _OPEN, _LIST = b'"{['
_CLOSE = b"}]"


class Matched(NamedTuple):
    """A mask of the records that fit, and for each wanted member a column with a row for each of these records."""

    fits: NDArray[np.bool_]
    texts: dict[str, Text]
    numbers: dict[str, Times]


class _Field(NamedTuple):
    is_number: bool
    wanted: str | None
    width: int = WORD
    """Bytes of the window in which a string usually ends."""


class Template:
    """The shape of a record: `literals[0] fields[0] literals[1] fields[1] … literals[-1]`. Immutable."""

    def __init__(self, literals: Sequence[bytes], fields: Sequence[_Field], samples: int = 1) -> None:
        self._literals = [_Literal(literal) for literal in literals]
        self._fields = fields
        self._sizes = [len(literal) for literal in literals]
        self.samples = samples
        """The number of samples that fit."""

    @classmethod
    def learned(
        cls,
        samples: Sequence[bytes],
        *,
        texts: Collection[str],
        numbers: Collection[str],
        at: Mapping[str, Sequence[str]] | None = None,
        without: int = 0,
    ) -> Self | None:
        """Return a template that the first plain one of `samples` fits, with fields for the wanted members.

        `texts` and `numbers` are the names of the wanted members; one in both may be of either kind. `at` has the names on the
        way to a member that is not a member of the root of its name. Strings and numbers that differ in another sample of the
        same shape become fields too. Each sample is JSON. Returns None if a wanted member is missing or not of its kind, if a
        member occurs twice, or without a plain sample. The template ends `without` bytes before the end of the samples.
        Cost: 12 us a sample of 10 members, 40 us for the first one.
        """
        plain = [_TOKEN.findall(sample) for sample in samples if _PLAIN.fullmatch(sample)]
        if not plain:
            return None
        first = plain[0]
        keys = _keys(first)
        fields = _wanted(first, keys, texts, numbers, at or {})
        if fields is None:
            return None
        count = 1
        for other in plain[1:]:
            differ = list(compress(range(len(first)), map(ne, first, other)))
            if len(other) != len(first) or any(place in keys or not _alike(first[place], other[place]) for place in differ):
                continue
            count += 1
            for place in differ:
                before = fields.get(place) or _Field(first[place][0] != _QUOTE, None)
                fields[place] = before._replace(width=max(before.width, _width(other[place])))
        literals, cut = _cut(first, fields)
        literals[-1] = literals[-1][: len(literals[-1]) - without]
        return cls(literals, cut, count)

    def match(self, text: Text, below: int) -> Matched:
        """Return the records of `text` that fit, and their wanted members. Wanted numbers must be below `below`.

        Cost: 15 ns for 80 bytes that are shared, 25 ns a string of 32 bytes, 50 ns a number.
        """
        blob, rest = text.blob, sum(self._sizes)
        fits = text.lengths >= rest
        if not fits.all():
            text = text.only(fits)
        at, ends = text.starts, text.starts + text.lengths
        valid = np.ones(at.size, np.bool_)
        found_texts: dict[str, tuple[Times, Times]] = {}
        found_numbers: dict[str, Times] = {}
        for literal, size, field in zip(self._literals, self._sizes, self._fields, strict=False):
            literal.check(blob, at, valid)
            start = at + size
            rest -= size
            last = ends - rest
            # A field that ends beyond its record is cut there. Then the next literal cannot match within the field.
            if field.is_number:
                at = np.minimum(number_ends(blob, start, last), last)
                values, good = numbers(blob, start, at)
                valid &= good
                if field.wanted is not None:
                    valid &= values < below
                    found_numbers[field.wanted] = values
            else:
                at = np.minimum(text_ends(blob, start, last, field.width), last)
                if field.wanted is not None:
                    found_texts[field.wanted] = (start, at - start)
        self._literals[-1].check(blob, at, valid)
        valid &= at + self._sizes[-1] == ends
        if not valid.all():
            fits[np.flatnonzero(fits)] = valid
            found_texts = {name: (start[valid], size[valid]) for name, (start, size) in found_texts.items()}
            found_numbers = {name: values[valid] for name, values in found_numbers.items()}
        return Matched(fits, {name: Text(blob, *each) for name, each in found_texts.items()}, found_numbers)


class _Literal:
    """Bytes that all records have at one place."""

    def __init__(self, data: bytes) -> None:
        self._size = -(-len(data) // WORD) * WORD
        self._words = np.frombuffer(data.ljust(self._size, b"\0"), "<u8")
        self._mask = np.frombuffer((b"\xff" * len(data)).ljust(self._size, b"\0"), "<u8")[-1]

    def check(self, blob: Bytes, at: Times, valid: Mask) -> None:
        """Clear `valid` for each of `at` where the bytes differ. Reads up to seven bytes more. Cost: 15 ns for 80 bytes."""
        own = windows(blob, at, self._size).view("<u8")
        own[:, -1] &= self._mask
        places = np.flatnonzero(own != self._words)
        if places.size:
            valid[places // self._words.size] = False


def _wanted(
    tokens: Sequence[bytes],
    keys: Mapping[int, tuple[str, ...] | None],
    texts: Collection[str],
    numbers: Collection[str],
    at: Mapping[str, Sequence[str]],
) -> dict[int, _Field] | None:
    """Return the fields of the wanted members by place, or None if one of them is missing or cannot be a field."""
    ways = [way for way in keys.values() if way is not None]
    if len(set(ways)) != len(ways):
        return None
    places = {way: place for place, way in keys.items() if way is not None}
    fields: dict[int, _Field] = {}
    for name in {*texts, *numbers}:
        place = places.get(tuple(at.get(name, (name,))))
        value = tokens[place + 2] if place is not None and tokens[place + 1].strip() == b":" else b"?"
        if place is None or not _is_plain(value) or place + 2 in fields:
            return None
        is_number = value[0] != _QUOTE
        if name not in (numbers if is_number else texts):
            return None
        fields[place + 2] = _Field(is_number, name, _width(value))
    return fields


def _alike(one: bytes, other: bytes) -> bool:
    """Whether both tokens are plain strings, or both are whole numbers."""
    return _is_plain(one) and _is_plain(other) and (one[0] == _QUOTE) == (other[0] == _QUOTE)


def _is_plain(token: bytes) -> bool:
    return token[0] == _QUOTE or token.isdigit()


def _width(token: bytes) -> int:
    """Return the smallest window for a string and its last quote."""
    size = len(token)
    return 8 if size <= 9 else 16 if size <= 17 else 32 if size <= 33 else WIDEST


def _keys(tokens: Sequence[bytes]) -> dict[int, tuple[str, ...] | None]:
    """Return the places of the names of members, each with the names on the way to it; None for a member within a list."""
    keys: dict[int, tuple[str, ...] | None] = {}
    around: list[tuple[str, ...] | None] = []
    way: tuple[str, ...] | None = ()
    for place, token in enumerate(tokens):
        if token[0] == _QUOTE:
            if tokens[place + 1 : place + 2] and tokens[place + 1].lstrip().startswith(b":"):
                way = around[-1]
                keys[place] = way = None if way is None else (*way, token[1:-1].decode())
            continue
        for mark in token:
            if mark == _OPEN:
                around.append(way)
            elif mark == _LIST:
                around.append(None)
                way = None
            elif mark in _CLOSE:
                around.pop()
    return keys


def _cut(tokens: Sequence[bytes], free: dict[int, _Field]) -> tuple[list[bytes], list[_Field]]:
    """Return the literals and the fields of a record. The quotes of a field belong to the literals around it."""
    literals, last = [b""], b""
    fields = []
    for place, token in enumerate(tokens):
        field = free.get(place)
        if field is None:
            literals[-1] += token
            continue
        last = b"" if field.is_number else b'"'
        literals[-1] += last
        literals.append(last)
        fields.append(field)
    return literals, fields
