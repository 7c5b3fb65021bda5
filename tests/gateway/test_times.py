"""The grammar of times and ranges, which `docs/times.md` describes: one grammar for every parameter that takes a time."""

import itertools
from fractions import Fraction
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.span import EVER, Span
from actors.timeline.unit import UNITS
from gateway.api.errors import Problem
from gateway.api.instants import implausible, meant, unbounded
from gateway.api.params import GIVEN, NOW, Moment, Time, between

NOW_NS = 1_795_861_845_123_456_789
DAY_MS = 1_795_824_000_000  # 2026-11-28
SET_START, SET_END = (Time(name=name, description="A time.", end=name == "end") for name in ("start", "end"))
START, END = (Moment(name=name, description="A time.", end=name == "end") for name in ("start", "end"))


def request(query: str) -> Request:
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": [], NOW: NOW_NS}
    return Request(scope)


def span(start: str, end: str, low: Time = START, high: Time = END) -> Span:
    asked = request(f"start={quote(start)}&end={quote(end)}")
    asked.scope[GIVEN] = {each.name: each.parse(asked) for each in (low, high)}
    return between(asked, low, high)


def problem(text: str, *, parameter: Time = START) -> Problem:
    with pytest.raises(Problem) as found:
        parameter.parse(request(f"{parameter.name}={quote(text)}"))
    assert (found.value.status, found.value.where) == (400, f"query {parameter.name}")
    return found.value


@pytest.mark.parametrize("parameter", [SET_START, START], ids=["sets", "words and uniques"])
@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-28", DAY_MS),
        ("2026-11-28T00:00", DAY_MS),
        ("2026-11-28 00:00:00.0009", DAY_MS),
        ("2026-11-28T00:00:01.5", DAY_MS + 1_500),
        ("2026-11-28T00:00Z", DAY_MS),
        ("2026-11-28t01:30:00+01:30", DAY_MS),
        ("2026-11-28 01:30 01:30", DAY_MS),
        ("2026-11-28T01:30+0130", DAY_MS),
        ("2026-11-27T22:30-01:30", DAY_MS),
        ("2016-W28-1T13:00Z", 1_468_242_000_000),
        ("20160711T130000Z", 1_468_242_000_000),
        ("1969-12-31T23:59:59.9999", -1),
        ("2024-02-29", 1_709_164_800_000),
        ("0000-01-01", -62_167_219_200_000),
        ("now", NOW_NS // 10**6),
        ("-5m", NOW_NS // 10**6 - 300_000),
        ("now-5m", NOW_NS // 10**6 - 300_000),
        ("+1h30m", NOW_NS // 10**6 + 5_400_000),
        (" 1h30m", NOW_NS // 10**6 + 5_400_000),
        ("now 2d", NOW_NS // 10**6 + 2 * 86_400_000),
        ("-1w1d1h1m1s1ms1us", (NOW_NS - 694_861_001_001_000) // 10**6),
        ("-999999999w", (NOW_NS - 999_999_999 * 604_800 * 10**9) // 10**6),
        ("0", 0),
        ("-0", 0),
    ],
)
def test_every_parameter_reads_every_form(parameter: Time, text: str, ms: int):
    assert parameter.parse(request(f"start={quote(text)}")) == ms


HOSTILE = [
    "", " ", "-", "+", ".", "1.", ".5", "1e3", "1E3", "1_000", "1,000", "0x10", "NaN", "nan", "inf", "-inf", "Infinity", "٣", "\uff11\uff12",
    "1 ", "\t1", "1\n", "--5", "+-5", "5m", "-5M", "-5x", "-m", "-1.5h", "now5m", "now+", "Now", "tomorrow", "-1h 5m",
    "2026-11", "2026-13-01", "2026-11-31", "2023-02-29", "1900-02-29", "2026-1-1", "2026-11-28T24:00", "2026-11-28T10", "2026-11-28T10:60",
    "2026-11-28T10:00:61Z", "2026-11-28T10:00+24:00", "2026-11-28Z", "2026-11-28T10:00 Europe/Berlin", "٢٠٢٦-11-28", "20261-11-28",
    "9" * 21, "9" * 5_000, "1" * 21 + ".5", "-5m" * 5_000 + "x", "2016-W28-1T13:00:00,1234567Z", "\x00", "2026-11-28\x00", "[1]", "null", "true",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_any_other_text_is_refused(text: str):
    for parameter in (SET_START, START, SET_END, END):
        problem(text, parameter=parameter)


@pytest.mark.parametrize(
    ("text", "expected", "got"),
    [
        ("1513765893000", "seconds since 1970, perhaps 1513765893", "1513765893000, which looks like milliseconds"),
        ("1513765893000.25", "seconds since 1970, perhaps 1513765893", "1513765893000, which looks like milliseconds"),
        ("1513765893000000", "seconds since 1970, perhaps 1513765893", "1513765893000000, which looks like microseconds"),
        ("1513765893000000000", "seconds since 1970, perhaps 1513765893", "1513765893000000000, which looks like nanoseconds"),
    ],
)
def test_a_number_in_a_finer_unit_is_refused_with_its_probable_meaning(text: str, expected: str, got: str):
    for parameter in (START, END):
        found = problem(text, parameter=parameter)
        assert (found.expected, found.got) == (expected, got)


@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)), st.integers(631_152_000, 4_102_444_799))
def test_a_present_time_is_refused_if_and_only_if_it_is_in_a_finer_unit(unit: str, given_unit: str, second: int):
    value = second * UNITS[given_unit] + UNITS[given_unit] - 1
    found = meant(value, unit)
    finer = UNITS[given_unit] > UNITS[unit]
    assert (found is not None) == finer
    assert any(value in gap for gap in implausible(unit)) == finer
    if found is not None:
        assert (found.unit, found.value * UNITS[given_unit] // UNITS[unit] <= value) == (given_unit, True)
        assert found.value // UNITS[unit] == second


@pytest.mark.parametrize("unit", UNITS)
def test_the_described_gaps_are_exactly_the_refused_numbers(unit: str):
    gaps = implausible(unit)
    for value in {0, INT64_MIN, INT64_MAX, *(edge + by for gap in gaps for edge in (gap.start, gap.stop) for by in (-1, 0))}:
        assert (meant(value, unit) is not None) == any(value in gap for gap in gaps)


def test_a_round_number_as_the_end_means_no_end_and_every_set_can_be_asked_for():
    assert unbounded(999_999_999_999_999)
    assert unbounded(10**15)
    assert not unbounded(1_685_695_916_000_000)
    for text in ("999999999999999", "1000000000000000", "9999999999999", "9223372036854775807"):
        assert SET_END.parse(request(f"end={text}")) == int(text)
    assert problem("999999999999999", parameter=SET_START).got.endswith("microseconds")
    last = span(str(INT64_MAX), str(INT64_MAX + 1), SET_START, SET_END)
    assert last == Span(INT64_MAX, INT64_MAX + 1)
    assert span(str(INT64_MIN), str(INT64_MAX + 1), SET_START, SET_END) == EVER
    problem(str(INT64_MAX + 1), parameter=SET_START)
    problem(str(INT64_MAX + 2), parameter=SET_END)
    problem(str(INT64_MIN - 1), parameter=SET_START)
    ns = Time(name="end", description="A time.", unit="ns", end=True)
    assert ns.parse(request("end=9999-12-31")) == INT64_MAX + 1
    assert START.parse(request(f"start={INT64_MIN}")) == INT64_MIN


exact_s = st.builds(Fraction, st.integers(-(10**7), 10**7), st.sampled_from([1, 10, 1_000, 10**4, 10**7, 10**9]))


def written(seconds: Fraction) -> str:
    """Return seconds as a decimal number with nine digits."""
    sign, whole = "-" if seconds < 0 else "", int(abs(seconds) * 10**9)
    return f"{sign}{whole // 10**9}.{whole % 10**9:09d}"


@given(exact_s, exact_s)
def test_a_range_is_the_smallest_one_of_whole_units_that_holds_all_of_it(one: Fraction, other: Fraction):
    low, high = sorted((one, other))
    found = span(written(low), written(high))
    if low == high:
        assert found.start == found.end
    else:
        assert found.start <= low * 1_000 < found.start + 1
        assert found.end - 1 < high * 1_000 <= found.end
        with pytest.raises(Problem, match="or later"):
            span(written(high), written(low))


def test_a_negative_fraction_of_a_unit_is_rounded_down_and_not_towards_zero():
    problem("1.5", parameter=SET_START)  # a fraction of a unit has no meaning unless the numbers are seconds
    assert START.parse(request("start=-0.0005")) == -1
    assert END.parse(request("end=-0.0005")) == 0
    assert END.parse(request("end=0.0005")) == 1
    assert span("-0.0005", "-0.0005") == Span(-1, -1)


def test_both_ends_of_a_range_are_relative_to_one_moment(monkeypatch: pytest.MonkeyPatch):
    looks = itertools.count(NOW_NS, 10**9)
    monkeypatch.setattr("gateway.api.params.time.time_ns", lambda: next(looks))
    asked = request("start=-5m&end=now")
    del asked.scope[NOW]
    asked.scope[GIVEN] = {each.name: each.parse(asked) for each in (START, END)}
    found = between(asked, START, END)
    assert found.end - found.start in {300_000, 300_001}
    assert span("now", "now").start == span("now", "now").end
    with pytest.raises(Problem, match="or later"):
        span("now", "-1ns")
