"""Records of one shape are read as columns exactly as a parser reads each of them; all others are left to the parser."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.json import alike
from actors.columns.json.alike import Alike
from actors.columns.json.template import Template
from actors.columns.text import Text
from tests.support.framed import FRAMES, framed

BELOW = 10**11


class Event(msgspec.Struct):
    who: str
    note: str
    at: float


read = msgspec.json.Decoder(Event).decode
ALIKE = Alike(read, (msgspec.DecodeError, UnicodeDecodeError), texts=("who", "note"), numbers=("at",), below=BELOW)


def line(who: str = "u1", note: str = "a b", at: Any = 1_700_000_000, **more: object) -> bytes:
    return json.dumps({"v": 1, **more, "who": who, "nested": {"who": "-", "at": 3}, "at": at, "note": note}).encode()


def groups(values: list[bytes | None], *, frame: bytes = b'"}\\' * 6, tail: int = 80) -> list[tuple[int, bytes, bytes, int]]:
    """Return the rows of all groups with their columns, and check that every row is in one group or in the rest."""
    found, rest = ALIKE.groups(framed(values, frame, tail))
    rows = [row for group in found for row in group.rows.tolist()]
    assert sorted([*rows, *rest.tolist()]) == list(range(len(values)))
    assert all((np.diff(each) > 0).all() for each in (rest, *(group.rows for group in found)))
    read: list[tuple[int, bytes, bytes, int]] = []
    for group in found:
        texts = [group.texts[name].take(np.arange(group.rows.size)) for name in ("who", "note")]
        read += zip(group.rows.tolist(), *texts, group.numbers["at"].tolist(), strict=True)
    return sorted(read)


@pytest.fixture(autouse=True)
def _few_records_are_worth_a_template(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alike, "_FEWEST", 1)


def test_records_of_one_shape_are_all_read():
    values: list[bytes | None] = [line(f"u{row}", "x" * (row % 150), 1_600_000_000 + row, page=f"/{row}") for row in range(300)]
    expected = [(row, b"u%d" % row, b"x" * (row % 150), 1_600_000_000 + row) for row in range(300)]
    assert groups(values) == expected


def test_three_shapes_are_read_and_a_fourth_one_is_left():
    shapes = [{}, {"a": 1}, {"b": "c"}, {"d": [1]}]
    values: list[bytes | None] = [line(f"u{row}", **shapes[row % 4 if row % 16 == 0 else row * row % 4]) for row in range(64)]
    assert 0 < len(groups(values)) <= 64
    two: list[bytes | None] = [line(f"u{row}", **shapes[row % 2]) for row in range(64)]
    assert len(groups(two)) == 64


def test_a_string_of_unusual_length_is_read_or_left():
    values: list[bytes | None] = [line(f"u{row}", "n" * (5_000 if row == 7 else row)) for row in range(100)]
    rows = [row for row, *_ in groups(values)]
    assert set(range(100)) - {7} <= set(rows)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        b"",
        b"{",
        line(at=-5),
        line(at=1.5),
        line(at=10**11),
        line(at="1700000000"),
        line(at=True),
        line(at=10**15),
        line(at=10**17),
        line().replace(b"1700000000", b"0700000000"),
        line().replace(b"1700000000", b""),
        line().replace(b"1700000000", b"17e8"),
        line().replace(b"1700000000", b"170000000\n"),
        line().replace(b'"who"', b'"whO"'),
        line().replace(b'"v"', b'"note"'),
        line().replace(b'"u1"', b'"u\\u0031"'),
        line().replace(b'"u1"', b'"u"1"'),
        line().replace(b'"u1"', b'"u1'),
        line().replace(b'"u1"', b'"u\t1"'),
        line().replace(b'"u1"', b'"u\x7f"'),
        line().replace(b'"u1"', b'"u\xff"'),
        line().replace(b'"u1"', '"é"'.encode()),
        line().replace(b'"u1"', b"null"),
        line().replace(b'": 1,', b'" : 1,'),
        line().replace(b'": 1,', b'": 01,'),
        line()[:-1],
        line() + b"}",
        line() + b" ",
        b"\xef\xbb\xbf" + line(),
    ],
)
def test_a_record_that_differs_from_the_template_is_left(odd: bytes | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alike, "_SHAPES", 1)
    values = [line(f"u{row}", v=row) if row != 20 else odd for row in range(40)]
    assert [row for row, *_ in groups(values)] == [row for row in range(40) if row != 20]


def test_a_wanted_member_that_is_missing_or_double_has_no_template():
    for sample in (
        b'{"who": "a", "note": "b"}',
        b'{"who": "a", "note": "b", "at": 1.5}',
        b'{"who": "a", "note": "b", "at": {"at": 1}}',
        b'{"who": "a", "note": "b", "at": 1, "who": "c"}',
        b'{"who": "a", "note": "b", "at": 1, "v": 2, "v": 3}',
        b'{"wh\\u006f": "a", "note": "b", "at": 1}',
        '{"who": "é", "note": "b", "at": 1}'.encode(),
        b'[{"who": "a", "note": "b", "at": 1}]',
    ):
        assert Template.learned([sample], texts=("who", "note"), numbers=("at",)) is None
    assert Template.learned([], texts=("who",), numbers=()) is None


def test_a_member_inside_of_another_one_is_not_the_wanted_one():
    template = Template.learned([line("inner", "n", 5)], texts=("who", "note"), numbers=("at",))
    assert template is not None
    matched = template.match(Text.of([bytes(100), line("longer than before", "", 12_345), b""]), BELOW)
    assert matched.fits.tolist() == [False, True, False]
    assert matched.texts["who"].take(np.array([0])) == [b"longer than before"]
    assert matched.numbers["at"].tolist() == [12_345]


# Any change of any record --------------------------------------------------------------------------------------------


CHANGES = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b",", b":", b" ", b"0", b"9", b".", b"-", b"e", b"\xff", b"\n", b"\0", b"who"]
)
WHO = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text("abc ", max_size=70)
LINES = st.builds(
    line,
    WHO,
    st.text('ab \u00e9\\"', max_size=40),
    st.integers(-3, 10**18) | st.floats(0, 10**12) | st.just(1_700_000_000),
    page=st.integers(0, 10**6) | st.text("xy", max_size=3) | st.just(7),
)


@st.composite
def changed(draw: st.DrawFn) -> bytes | None:
    """Return a line with some bytes replaced, inserted or cut off, or a tombstone."""
    value = draw(LINES)
    for _ in range(draw(st.integers(0, 2))):
        at, change = draw(st.integers(0, len(value))), draw(CHANGES)
        value = value[:at] + change + value[at + draw(st.integers(0, 3)) :]
    return draw(st.sampled_from([value] * 8 + [value[: len(value) // 2], None]))


@given(st.lists(changed() | st.builds(line, st.text("abc", max_size=9)), min_size=1, max_size=40), st.sampled_from(FRAMES))
def test_any_record_is_read_as_the_parser_reads_it(values: list[bytes | None], frame: bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "_WORTH", 0.0)
        for row, who, note, at in groups(values, frame=frame, tail=8):
            event = read(values[row] or b"")
            assert (event.who.encode(), event.note.encode(), event.at) == (who, note, at)
            assert 0 <= at < BELOW
