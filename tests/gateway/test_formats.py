"""The forms of an answer say the same rows; the forms of tables are written as their standards have it."""

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.replies import Answer, Coverage
from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.funnel.arguments import Listing as Sequences
from actors.views.funnel.arguments import Story, Totals
from actors.views.kinds import VIEWS
from actors.views.segments.arguments import Listing
from actors.views.sets.arguments import Cursor, Page
from actors.views.top.arguments import Top
from actors.views.uniques.arguments import Rows
from actors.views.view import Column, Field, Shape
from gateway.api.errors import Problem
from gateway.api.formats import FORMATS, chosen, weights, write
from gateway.coverage import coverage_within
from tests.support.samples import SAMPLES, Run, fed

MORE: dict[str, list[Any]] = {
    "top": [Top(7, values=True)],
    "sets": [Page(17), Page(40, Cursor((5, 6, 7), 1))],
    "segments": [Listing(pending=True), Listing(2, 3)],
    "funnel": [Totals(), Totals("minute"), Story(b"7"), Sequences(limit=3)],
    "uniques": [
        Rows("minute", limit=3),
        Rows(None, (("hour", 1_468_242_000_000), ("minute", 1_468_244_400_000), ("year", 0), ("day", 1_468_195_200_000))),
    ],
}
"""What is asked beside the samples' questions."""

for each, view in VIEWS.items():
    MORE.setdefault(each, []).extend(view.figures(by, 1_000, 9, ()) for by in (None, Grid.of("1m")))


def table(form: str, blocks: list[list[Column]], fields: tuple[Field, ...]) -> bytes:
    """Return columns in a format."""
    writer = FORMATS[form].writer(Shape("rows", fields), {}, {})
    return b"".join((writer.begin(), *map(writer.block, blocks), writer.end(None)))


def by_lines(name: str, lines: bytes, fields: tuple[Field, ...]) -> list[tuple[Any, ...]]:
    """Return the rows of NDJSON as tuples in the order of `fields`; a dataset's has its ids alone, unless values are asked for."""
    found = [json.loads(line) for line in lines.splitlines()]
    match name:
        case "sets":
            return [tuple(step["timestamp"] for step in each.values()) for each in found]
        case "top":
            return [tuple(each.values()) if isinstance(each, dict) else (each,) for each in found]
        case _:
            assert all(list(row(each)) == [field.name for field in fields] for each in found)
            return [tuple(row(each).values()) for each in found]


def by_json(name: str, answer: Any) -> list[tuple[Any, ...]]:
    match name:
        case "sets":
            return [tuple(step["timestamp"] for step in each.values()) for each in answer["sets"]]
        case "top":
            return [tuple(each.values()) if isinstance(each, dict) else (each,) for each in answer["data"]]
        case "words":
            return list(answer.items())
        case _:
            rows = next(iter(answer.values()))
            return [tuple(row(each).values()) for each in rows]


def row(given: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose groups are written out, as a table has it."""
    return {
        key: each
        for name, value in given.items()
        for key, each in (value if isinstance(value, dict) else {name: value}).items()
    }


def value(text: str, field: Field) -> Any:
    """Return a value of a CSV."""
    match field.kind:
        case "number":
            return None if field.optional and not text else float(text)
        case "integer":
            return None if field.optional and not text else int(text)
        case "flag":
            return {"true": True, "false": False}[text]
        case "integers":
            return json.loads(text)
        case _:
            return None if field.optional and not text else text


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", VIEWS)
def test_every_form_says_the_same_rows_in_the_same_order(name: str, seed: int):
    case, rows_seen = fed(name, seed), 0
    cuts = case.cuts()
    for arguments in [*SAMPLES[name].arguments, *MORE.get(name, [])]:
        for span in (EVER, Span(cuts[2], cuts[8])):
            partial = case.merged(span, arguments)
            fields = case.view.shape(arguments).fields
            assert case.view.shape(arguments) is case.view.shape(arguments)
            blocks = [block.columns for block in case.view.blocks(partial, span, arguments)]
            assert all(len(block) == len(fields) for block in blocks)
            columns = [[each.tolist() if isinstance(each, np.ndarray) else each for each in block] for block in blocks]
            rows = [row for block in columns for row in zip(*block, strict=True)]

            answer = Answer(case.view, partial, span, arguments, Coverage(None, None, None))
            texts = {form: b"".join(write(answer, form, metadata={"a": "b"})) for form in FORMATS}
            head, *lines = csv.reader(io.StringIO(texts["csv"].decode(), newline=""))
            assert head == [field.name for field in fields]
            as_text = [
                tuple(str(each) if field.kind == "key" else each for each, field in zip(row, fields, strict=True))
                for row in rows
            ]
            assert [tuple(value(*each) for each in zip(line, fields, strict=True)) for line in lines] == as_text
            found = pa.ipc.open_stream(texts["arrow"]).read_all()
            assert (found.column_names, found.schema.metadata) == (head, {b"a": b"b"})
            assert [tuple(each.values()) for each in found.to_pylist()] == as_text
            kind = "" if case.view.shape(arguments) is case.view.summarised else name
            in_json = [row[:1] for row in rows] if kind == "top" and not arguments.values else rows
            assert by_lines(kind, texts["ndjson"], fields) == in_json
            assert by_json(kind, json.loads(texts["json"])) == in_json
            rows_seen += len(rows)
    assert rows_seen > 10


def test_a_dataset_in_columns_has_the_value_of_each_id():
    run = Run("top")
    run.poll([b"a_5", b"b_7", b"a_9", b"c_-3", b"d_7"], idle=False)
    (block,) = run.view.blocks(run.live.read(EVER, SAMPLES["top"].arguments[0]), EVER, SAMPLES["top"].arguments[0])
    ids, values = block.columns
    assert (ids, values.tolist()) == (["a", "d", "b", "c"], [9, 7, 7, -3])


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.tuples(TEXTS, st.integers(-(2**63), 2**63 - 1), st.none() | st.integers(0, 9), st.booleans()), max_size=20)


@settings(max_examples=40)
@given(ROWS, st.integers(1, 7))
def test_text_with_quotes_commas_and_line_ends_comes_back_as_it_was(rows: list[tuple[Any, ...]], size: int):
    fields = (Field("te,xt", "text"), Field("number"), Field("some", optional=True), Field('"flag"', "flag"))
    blocks = []
    for low in range(0, len(rows), size):
        texts, numbers, some, flags = map(list, zip(*rows[low : low + size], strict=True))
        blocks.append([texts, np.array(numbers, np.int64), some, np.array(flags)])
    written = table("csv", blocks, fields)
    head, *lines = csv.reader(io.StringIO(written.decode(), newline=""))
    assert head == [field.name for field in fields]
    assert [tuple(value(*each) for each in zip(line, fields, strict=True)) for line in lines] == rows
    found = pa.ipc.open_stream(table("arrow", blocks, fields)).read_all()
    assert [tuple(each.values()) for each in found.to_pylist()] == rows
    assert [str(each.type) for each in found.schema] == ["string", "int64", "int64", "bool"]


def test_a_csv_of_numbers_is_ascii_lines_that_end_as_the_standard_says():
    blocks = [[np.array([-(2**63), 1]), np.array([0, 2**63 - 1])]]
    assert table("csv", blocks, (Field("r"), Field("g"))) == (b"r,g\r\n-9223372036854775808,0\r\n1,9223372036854775807\r\n")


def test_arrow_goes_out_in_batches_before_the_last_row_is_there():
    writer = FORMATS["arrow"].writer(Shape("rows", (Field("r"),)), {}, {})
    sizes = [len(writer.begin()), *(len(writer.block([np.arange(1_000)])) for _ in range(20)), len(writer.end(None))]
    assert sizes[0] > 0
    assert sum(size > 0 for size in sizes[1:-1]) == 4
    assert max(sizes) < 60_000


def test_an_answer_without_rows_still_has_its_columns():
    fields = (Field("r"), Field("name", "text"))
    assert table("csv", [], fields) == b"r,name\r\n"
    found = pa.ipc.open_stream(table("arrow", [], fields)).read_all()
    assert (found.num_rows, found.column_names) == (0, ["r", "name"])


def test_without_pyarrow_arrow_is_a_problem_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Problem, match=r"pip install pyarrow") as told:
        table("arrow", [], (Field("r"),))
    assert told.value.status == 501
    assert table("csv", [], (Field("r"),)) == b"r\r\n"


@pytest.mark.parametrize(
    ("named", "accept", "form"),
    [
        (None, "", "json"),
        (None, "*/*", "json"),
        (None, "text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        (None, "application/x-ndjson", "ndjson"),
        (None, "APPLICATION/X-NDJSON ; Q=0.3", "ndjson"),
        (None, "text/*", "csv"),
        (None, "text/csv;q=0.5, application/json;q=0.4", "csv"),
        (None, "application/json;q=0, */*;q=0.1", "ndjson"),
        (None, "application/vnd.apache.arrow.stream, */*;q=0.1", "arrow"),
        ("csv", "application/json", "csv"),
    ],
)
def test_a_form_goes_by_its_name_or_else_by_what_the_client_accepts_best(named: str | None, accept: str, form: str):
    assert chosen(named, accept).name == form


@pytest.mark.parametrize(
    ("named", "accept", "status"), [("xls", "", 400), ("", "", 400), (None, "image/png", 406), (None, "*/*;q=0", 406)]
)
def test_a_form_that_there_is_not_is_a_problem(named: str | None, accept: str, status: int):
    with pytest.raises(Problem) as told:
        chosen(named, accept)
    assert told.value.status == status


@given(st.text(max_size=40))
def test_any_accept_header_is_a_form_or_a_problem(header: str):
    assert all(0 <= weight <= 1 for weight in weights(header).values())
    try:
        assert chosen(None, header).name in FORMATS
    except Problem as problem:
        assert problem.status == 406


def test_the_coverage_in_a_table_is_that_of_the_range_and_nothing_else():
    coverage = Coverage(50, 900, 700, (Span(10, 60), Span(400, 410)))
    said = json.loads(coverage_within(coverage, Span(100, 500))["firnline.coverage"])
    assert said == {"completeFrom": None, "completeTo": 500, "finalUntil": 500, "missing": [[400, 410]]}
    said = json.loads(coverage_within(coverage, Span(20, 1_000))["firnline.coverage"])
    assert said == {"completeFrom": 50, "completeTo": 900, "finalUntil": 700, "missing": [[20, 60], [400, 410]]}
    later = Coverage(99, 2_000, 1_500, (Span(400, 410),))
    assert coverage_within(later, Span(100, 500)) == coverage_within(coverage, Span(100, 500))
