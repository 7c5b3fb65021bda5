"""The lines of final sequences in the output: as columns they are what a writer of JSON makes of each row."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.text import Text
from actors.columns.times import INT64_MAX, INT64_MIN
from actors.records.roles import NUMERIC
from actors.views.funnel import lines
from actors.views.funnel.pieces import NOT_REACHED, Rows, pieces_of
from actors.views.funnel.render import Listed, columns_of, states_of
from actors.views.funnel.slices import Part
from actors.views.view import listed

WITHIN = 60_000
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=12)
NUMBERS = st.integers(INT64_MIN, INT64_MAX).map(lambda number: NUMERIC + str(number).encode())
ODD = ["k" * 256, "k" * 257, '"', "\x7f", ""]
STEPS = st.lists(st.text(max_size=5), min_size=2, max_size=5, unique=True)
# A piece keeps how much later each step is, plus one: so 0 and the last time never stand together.
TIMES = st.one_of(st.integers(1, 200), st.integers(1_685_695_916_000, 1_685_695_917_000), st.integers(1, INT64_MAX))


@st.composite
def found(draw: st.DrawFn, keys: st.SearchStrategy[bytes]) -> tuple[Listed, list[str]]:
    """Return final sequences with all kinds of times, in any order."""
    steps = draw(STEPS)
    rows = draw(st.lists(st.tuples(keys, st.lists(TIMES, min_size=1, max_size=len(steps))), min_size=1, max_size=20))
    times = np.full((len(steps), len(rows)), NOT_REACHED)
    for number, (_, own) in enumerate(rows):
        times[: len(own), number] = sorted(own)
    text = Text.of([key for key, _ in rows])
    return Listed(Rows(times, text, text.hashes()), states_of(times, None, WITHIN)), steps


@given(found(PLAIN.map(str.encode)) | found(NUMBERS))
def test_a_table_of_bytes_has_the_lines_of_a_writer_of_json(case: tuple[Listed, list[str]]):
    rows, steps = case
    keys, numbers = rows.rows.keys, lines._numbers(rows.rows.keys)
    assert (numbers is None) == lines._is_plain(keys)
    shown, quote = (keys, b'"') if numbers is None else (numbers, b"")
    assert lines._as_columns(rows, shown, quote, steps, WITHIN) == lines._one_by_one(rows, steps, WITHIN)


@given(found(NUMBERS | st.one_of(PLAIN, st.text(max_size=5), st.sampled_from(ODD)).map(str.encode)))
def test_a_key_of_any_kind_is_written(case: tuple[Listed, list[str]]):
    rows, steps = case
    parts = [Part(piece, piece.span) for piece in pieces_of(rows.rows)]
    keys, states, *times, limits = map(listed, columns_of(rows, WITHIN))
    expected = [
        {"key": key, "state": state, "steps": dict(zip(steps, own, strict=True)), "lapsesAt": limit}
        for key, state, own, limit in zip(keys, states, zip(*times, strict=True), limits, strict=True)
    ]
    written = [msgspec.json.decode(line) for line in b"".join(lines.lines(parts, steps, WITHIN)).splitlines()]
    assert sorted(map(repr, written)) == sorted(map(repr, expected))
