"""Numbers of JSON without rounding, against fractions."""

import json
import math
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from actors.records.values import number_of, text_of

DIGITS = st.from_regex(r"(0|[1-9][0-9]{0,30})", fullmatch=True)
NUMBERS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-"]),
        DIGITS,
        st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,30}", fullmatch=True)),
        st.one_of(st.just(""), st.from_regex(r"[eE][+-]?0{0,12}[0-9]{1,3}", fullmatch=True)),
    ),
)


@given(NUMBERS, st.integers(-9, 9))
@example("-0", 0)
@example("0e999", 0)
@example("-0.000", 9)
@example("1e-400", 3)
@example("-1e-400", 3)
def test_a_number_is_rounded_down_exactly(text: str, power: int):
    exact = Fraction(text) * Fraction(10) ** power
    found = number_of(text.encode(), power)
    if found.value is None:
        assert abs(exact) >= 10**24
        assert found.negative == (exact < 0)
    else:
        assert (found.value, found.whole) == (math.floor(exact), exact.denominator == 1)


def test_exponents_of_any_length_cost_nothing():
    assert number_of(b"1e" + b"9" * 100_000).value is None
    assert number_of(b"1e-" + b"9" * 100_000) == (0, False, False)
    assert number_of(b"-1e-" + b"9" * 100_000).value == -1
    assert number_of(b"9" * 100_000).value is None
    assert number_of(b"1" + b"0" * 100_000 + b"e-100000").value == 1


@given(st.text())
def test_text_is_that_of_the_standard_parser(text: str):
    for raw in (json.dumps(text, ensure_ascii=False).encode(), json.dumps(text).encode()):
        assert text_of(raw).decode() == text
