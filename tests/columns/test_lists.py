"""Lists of whole numbers are read as columns if their records have one shape; all other records are left to the parser."""

import json
from typing import Any

import msgspec
import pytest

from actors.columns.json import lists
from actors.columns.json.lists import NumberLists
from tests.support.framed import FRAMES, framed

LONGEST = 4_000


class Event(msgspec.Struct):
    at: int
    data: list[int]


LISTS = NumberLists(msgspec.json.Decoder(Event).decode, (msgspec.DecodeError,), members=("at",), longest=LONGEST)


def line(at: Any, data: Any, separator: str = ",", **more: object) -> bytes:
    return json.dumps({"kind": "measured", **more, "at": at, "data": data}, separators=(separator, ":")).encode()


def read(values: list[bytes | None], frame: bytes = b"") -> list[tuple[int, int, list[int]]]:
    """Return the row, the member and the numbers of each record that was read."""
    found = LISTS.read(framed(values, frame).text)
    if found is None:
        return []
    data = []
    for part in found.parts:
        ends = part.starts + part.counts
        assert (ends[:-1] <= part.starts[1:]).all()
        data += [part.values[start:end].tolist() for start, end in zip(part.starts.tolist(), ends.tolist(), strict=True)]
    return list(zip(found.rows.tolist(), found.members["at"].tolist(), data, strict=True))


@pytest.fixture(autouse=True)
def _few_records_are_worth_a_template(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lists, "_FEWEST", 1)


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("frame", FRAMES)
def test_records_of_one_shape_are_all_read(separator: str, frame: bytes):
    numbers = [[10 ** (place % 16) for place in range(row % 40)] for row in range(200)]
    values: list[bytes | None] = [line(row, data, separator, key=f"k{row}") for row, data in enumerate(numbers)]
    rows = [(row, row, data) for row, data in enumerate(numbers)]
    assert read([*values, b" " * lists.WIDEST], frame) == rows


@pytest.mark.parametrize("size", [1, 100, 1_000])
def test_lists_are_read_alike_whatever_is_cut_at_once(size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lists, "_BYTES", size)
    values: list[bytes | None] = [line(row, list(range(row % 50))) for row in range(100)]
    assert read([*values, b" " * lists.WIDEST]) == [(row, row, list(range(row % 50))) for row in range(100)]


ODD = [
    None,
    b"",
    b"[",
    b"]}",
    b"[]}",
    line(-1, [1]),
    line(1.5, [1]),
    line(1, [-1]),
    line(1, [1.5]),
    line(1, [[1]]),
    line(1, ["1"]),
]
ODD += [line(1, [10**16]), line(1, [1], more=[2]), line(1, list(range(2_000))), line(1, [1]) + b"\n", line(1, [1])[:-1]]
ODD += [
    line(1, [10]).replace(b"10", wrong) for wrong in (b"01", b"1,", b",1", b"1 ", b"1,,2", b"1]2", b"1e3", b"+1", b"  1", b" ")
]


@pytest.mark.parametrize("odd", ODD)
def test_a_record_of_another_shape_is_left(odd: bytes | None):
    values: list[bytes | None] = [line(row, [row, 7]) for row in range(50)]
    expected = [(row, row, [row, 7]) for row in range(50)]
    assert read([*values[:20], odd, *values[20:], b" " * lists.WIDEST]) == [
        (row + (row >= 20), at, data) for row, at, data in expected
    ]


def test_values_that_overlap_are_left():
    values = framed([line(row, [row]) for row in range(9)], b"").text
    assert LISTS.read(type(values)(values.blob, values.starts[::-1], values.lengths[::-1])) is None
