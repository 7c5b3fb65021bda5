"""One rule for the bytes around a record's text, in all views: what is removed, and what is refused with which reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.record_text import ADVICE, BOM, bare, bare_all, defect
from actors.sources.line_file import file_source
from actors.sources.line_splitter import BLOCK
from actors.sources.polled import Place
from actors.views.kinds import VIEWS
from actors.views.view import View
from tests.support.polled import polled
from tests.support.samples import SAMPLES

RECORDS = {
    "sets": b"R_1685695916000",
    "top": b"g_1",
    "segments": json.dumps({"batch_id": 4, "segment_id": 2, "data": [1, 2]}).encode(),
    "uniques": json.dumps({"ts": 1_468_244_384, "uid": "u"}).encode(),
    "words": json.dumps({"event_type": "foo", "data": "a b", "timestamp": 1_513_765_893}).encode(),
}
LONG = json.dumps({"batch_id": 4, "segment_id": 2, "data": list(range(10_000))}).encode()
views = pytest.mark.parametrize("name", RECORDS)
pieces = st.lists(st.sampled_from([b"a", b"_", b"1", b"\r", b"\n", BOM, BOM[:2], b"\xbf"]), max_size=6).map(b"".join)


def view_of(name: str) -> View:
    made: View = VIEWS[name](**SAMPLES[name].options)
    return made


def contents(name: str, batch: Any) -> str:
    if name == "segments":
        return repr((batch.batch_ids, batch.segment_ids, [run.count for run in batch.runs]))
    if name == "top":
        return repr((batch.ids.take(np.arange(batch.values.size)), batch.values))
    return repr(batch)


@views
@pytest.mark.parametrize("around", [(b"", b"\r\n"), (b"", b"\n"), (b"", b"\r"), (BOM, b""), (BOM, b"\r\n")])
def test_a_byte_order_mark_and_one_line_end_are_removed(name: str, around: tuple[bytes, bytes]):
    plain, (before, after) = RECORDS[name], around
    for others in ([], [plain], [b"junk"]):
        for wrapped in (before + plain + after, *([before + LONG + after] if name == "segments" else [])):
            right = view_of(name).decode(polled([LONG if len(wrapped) > 10_000 else plain, *others]))
            found = view_of(name).decode(polled([wrapped, *others]))
            assert contents(name, found.batch) == contents(name, right.batch)
            assert found.refusals == right.refusals


FRAMES = {
    "Confluent": b"\0\0\0\0\7",
    "Confluent, Protobuf": b"\0\0\0\0\7\0",
    "Confluent, a large id": b"\0\1\2\3\4",
    "Apicurio": b"\0\0\0\0\0\0\0\0\7",
    "Glue": b"\3\0" + bytes(range(16)),
    "Glue, compressed": b"\3\5" + bytes(range(16)),
}


@views
@pytest.mark.parametrize("frame", FRAMES)
def test_a_framed_record_is_refused_as_framed(name: str, frame: str):
    plain = RECORDS[name]
    values = [plain, FRAMES[frame] + plain, FRAMES[frame] + b"\x02\xff\x0cabc", BOM + FRAMES[frame] + plain, plain]
    values.append(FRAMES[frame] + plain * 3_000)
    decoded = view_of(name).decode(polled(values))
    assert decoded.refusals == [(place, "framed") for place in (1, 2, 3, 5)]
    assert decoded.times.size == 2
    assert "frame" in ADVICE["framed"]
    assert all("`record`" in ADVICE[reason] for reason in ("no_underscore", "not_json"))


@views
@pytest.mark.parametrize(
    ("wrong", "reasons"),
    [
        ("UTF-16", {"not_utf8"}),
        ("UTF-16 without a byte order mark", {"not_text"}),
        ("big-endian UTF-16", {"not_text"}),
        ("UTF-32", {"not_utf8"}),
        ("a NUL at the end", {"not_text"}),
        ("a NUL at the start", {"not_text"}),
        ("a byte that is not UTF-8", {"not_utf8"}),
        ("two byte order marks", {"unknown_step", "white_space", "not_json"}),
        ("a byte order mark alone", {"empty"}),
        ("a line end alone", {"empty"}),
        ("nothing", {"empty"}),
        ("gzip", {"not_utf8"}),
    ],
)
def test_what_is_not_text_is_refused_with_a_reason(name: str, wrong: str, reasons: set[str]):
    plain = RECORDS[name]
    value = {
        "UTF-16": plain.decode().encode("utf-16"),
        "UTF-16 without a byte order mark": plain.decode().encode("utf-16-le"),
        "big-endian UTF-16": plain.decode().encode("utf-16-be"),
        "UTF-32": plain.decode().encode("utf-32"),
        "a NUL at the end": plain + b"\0",
        "a NUL at the start": b"\0" + plain[:3],
        "a byte that is not UTF-8": plain[:-1] + b"\xff" + plain[-1:],
        "two byte order marks": BOM + BOM + plain,
        "a byte order mark alone": BOM,
        "a line end alone": b"\r\n",
        "nothing": b"",
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + plain,
    }[wrong]
    decoded = view_of(name).decode(polled([plain, value, plain]))
    assert [place for place, _ in decoded.refusals] == [1]
    assert decoded.refusals[0].reason in reasons
    assert decoded.times.size == 2


@views
def test_a_tombstone_is_no_event(name: str):
    decoded = view_of(name).decode(polled([RECORDS[name], None, None], keys={2: b"a_key"}))
    assert [place for place, _ in decoded.refusals] == [1, 2]
    assert decoded.refusals[0].reason == "empty"


AROUND = [(b" ", b""), (b"\t", b""), (b"", b"\t"), (b"", b"\n\n"), (b"", b"\n\r"), (b"\n", b"")]


@pytest.mark.parametrize("around", [(b"", b" "), *AROUND])
def test_other_white_space_around_a_line_is_refused_by_sets_and_removed_by_top(around: tuple[bytes, bytes]):
    decoded = {name: view_of(name).decode(polled([around[0] + RECORDS[name] + around[1]])) for name in ("sets", "top")}
    assert [place for place, _ in decoded["sets"].refusals] == [0]
    assert contents("top", decoded["top"].batch) == contents("top", view_of("top").decode(polled([RECORDS["top"]])).batch)


def test_spaces_around_a_number_of_top_count_for_nothing():
    decoded = view_of("top").decode(polled([b"a_ -5 ", b"b_5 ", b"c_ +5"]))
    assert decoded.refusals == []
    assert decoded.batch.values.tolist() == [-5, 5, 5]


@pytest.mark.parametrize("name", ["segments", "uniques", "words"])
def test_white_space_around_json_belongs_to_json(name: str):
    assert view_of(name).decode(polled([b" \t\r\n" + RECORDS[name] + b" \t\r\n\n"])).refusals == []


@views
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("before", "end"), [(b"", b"\r\n"), (BOM, b"\n"), (BOM, b"\r\n")])
def test_files_of_other_systems_lose_no_line(name: str, packed: bool, before: bytes, end: bytes, tmp_path: Path):
    count = 2 * BLOCK // len(RECORDS[name]) if not packed else 100  # lines are cut at the ends of blocks
    text = before + (RECORDS[name] + end) * count
    path = tmp_path / "lines"
    path.write_bytes(gzip.compress(text) if packed else text)
    source = file_source(path, on_error=pytest.fail)
    assert source.open(Place())
    view, events = view_of(name), 0
    while not source.finished:
        decoded = view.decode(source.poll(4_000, 0.1))
        assert decoded.refusals == []
        events += decoded.times.size
    source.close()
    assert events == count


def test_a_blank_line_of_another_system_is_empty():
    assert view_of("sets").decode(polled([b"R_1\r", b"\r", b"", b"G_2\r"])).refusals == [(1, "empty"), (2, "empty")]


@given(st.lists(pieces, max_size=5), st.sampled_from([0, 70_000]))
def test_many_records_are_bared_like_each_one(values: list[bytes], filler: int):
    values.append(b"x" * filler)
    assert bare_all(values) == [bare(value) for value in values]


def test_a_character_at_a_block_boundary_and_a_cut_one_at_the_end():
    assert defect(b"x" * 65_535 + "é".encode()) is None
    assert defect(b"x" * 65_535 + "é".encode()[:1]) == "not_utf8"
