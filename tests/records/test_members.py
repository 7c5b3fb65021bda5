"""The members that JSON Pointers name, against Python's own JSON parser."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.records.members import Members, tokens_of

NAMES = ["ts", "meta", "a/b", "m~n", "0", "1", "01", "", 'quo"te', "back\\slash", "é", "\x01", "-"]
MISSING = object()


def written(name: str) -> str:
    """Return a name as a part of a JSON Pointer."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parsed(record: bytes) -> Any:
    """Return the value of a record. Raises ValueError if it is not JSON, or if any of its text is no text of Unicode."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        json.dumps(found, ensure_ascii=False).encode()  # values that a later member of the same name replaces too
        return dict(found)

    value = json.loads(record.decode(), object_pairs_hook=pairs, parse_constant=constant)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def resolved(value: Any, tokens: Sequence[str]) -> Any:
    """Return the value that a pointer names, by RFC 6901."""
    for token in tokens:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdecimal() and str(int(token)) == token and int(token) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value


def texts(name: str) -> st.SearchStrategy[str]:
    """Return JSON texts of a string: with escapes or without, as they can be."""
    plain = json.dumps(name, ensure_ascii=False)
    return st.sampled_from([plain, json.dumps(name), '"' + "".join(f"\\u{ord(c):04x}" for c in name if ord(c) < 2**16) + '"'])


LEAVES = st.one_of(
    st.sampled_from(
        ["0", "-0", "1", "1.0", "1e3", "-2.5E-3", "9223372036854775808", "1e999", "true", "null", '"\\ud83d\\ude00"']
    ),
    st.sampled_from(
        ["01", "1.", ".5", "+1", "NaN", "Infinity", '"\\ud800"', '"\\udc00x"', '"a\tb"', "nul", "'a'", "[1,]", '"\\x"']
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.text(max_size=5).flatmap(texts),
)
SPACE = st.sampled_from(["", "", " ", "\n", "\t\r"])


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    count = draw(st.integers(0, 4))
    members = [
        f"{draw(SPACE)}{draw(st.sampled_from(NAMES).flatmap(texts))}{draw(SPACE)}:{draw(SPACE)}{draw(values)}{draw(SPACE)}"
        for _ in range(count)
    ]
    return "{" + ",".join(members) + "}"


VALUES = st.recursive(
    LEAVES,
    lambda values: st.one_of(
        objects(values), objects(values), st.lists(values, max_size=3).map(lambda found: f"[{','.join(found)}]")
    ),
    max_leaves=12,
)
POINTERS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3, unique=True)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    record = draw(st.one_of(objects(VALUES), VALUES)).encode("utf-8", "replace")
    if draw(st.integers(0, 3)) == 0:  # damaged
        place = draw(st.integers(0, len(record)))
        record = record[:place] + draw(st.binary(max_size=2)) + record[place + draw(st.integers(0, 2)) :]
    return record


@given(records(), POINTERS)
def test_members_are_those_of_the_standard_parser_with_the_last_of_two_alike(record: bytes, paths: list[tuple[str, ...]]):
    members = Members(["".join(map(written, path)) for path in paths])
    try:
        value = parsed(record)
    except (ValueError, RecursionError):
        value = MISSING
    try:
        record.decode()
        found = members.read(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        assert value is MISSING
        return
    assert value is not MISSING
    for path, raw in zip(paths, found, strict=True):
        wanted = resolved(value, path)
        assert (raw == b"") == (wanted is MISSING)
        if raw:
            assert repr(json.loads(raw)) == repr(wanted)


@given(st.lists(st.text(), min_size=1))
def test_a_pointer_has_the_names_that_it_was_written_with(names: list[str]):
    assert list(tokens_of("".join(map(written, names)))) == names


def test_the_examples_of_rfc_6901_are_found():
    record = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
    pointers = ["/foo", "/foo/0", "/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", '/k"l', "/ ", "/m~0n"]
    found = [json.loads(Members([pointer]).read(json.dumps(record).encode())[0]) for pointer in pointers]
    assert found == [["bar", "baz"], "bar", 0, 1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "record", [b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"b":' * 100_000 + b"1" + b"}" * 100_000]
)
def test_a_record_that_is_nested_too_deeply_is_an_error(record: bytes):
    with pytest.raises(RecursionError):
        Members(["/a/b"]).read(record)
