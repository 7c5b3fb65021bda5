"""Rows of integers by a template: the bytes that Python's `%` writes, whatever the numbers and however many rows there are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.digits import filled

INT64 = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.sampled_from([1, 127, 128, 300])


@st.composite
def columns(draw: st.DrawFn) -> list[np.ndarray]:
    """Return columns of one length: numbers that are near each other, of one length, of any length, or with a sign."""
    count, chance = draw(COUNTS), np.random.default_rng(draw(st.integers(0, 99)))
    found = []
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.one_of(INT64, st.integers(-5, 10**6), st.integers(10**12, 10**13 - 1)))
        width = draw(st.sampled_from([0, 1, 10, 10**4, 10**7, 10**12]))
        found.append(chance.integers(first, min(first + width, 2**63 - 1), count, endpoint=True))
    return found


@given(columns(), st.lists(st.sampled_from([b"", b"%%", b",", b'{"a":']), min_size=5, max_size=5))
def test_rows_are_as_python_writes_them(given_columns: list[np.ndarray], between: list[bytes]):
    parts = between[: len(given_columns) + 1]
    template = b"%d".join(parts)
    rows = zip(*(column.tolist() for column in given_columns), strict=True)
    assert filled(template, given_columns) == b"".join(template % row for row in rows)


def test_the_longest_numbers_and_those_next_to_a_longer_one_are_whole():
    chance, most = np.random.default_rng(3), 2**63 - 1
    for low, high in (
        (9 * 10**18, most),
        (most - 200, most),
        (10**18 - 1, 10**18),
        (10**17, 10**18 - 1),
        (0, 9),
        (0, 0),
        (9, 10),
    ):
        column = chance.integers(low, high, 200, endpoint=True)
        column[:2] = low, high
        assert filled(b"%d;", [column]) == b"".join(b"%d;" % each for each in column.tolist())
