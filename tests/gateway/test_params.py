"""What a parameter takes is what it says that it takes: each kind of it, against its own JSON Schema."""

import asyncio
import datetime as dt
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.grid import LENGTH, Grid
from actors.timeline.unit import DURATION, UNITS, duration_ns
from actors.views.funnel.arguments import Cursor
from config.units import duration_ms
from gateway.api.errors import Problem
from gateway.api.instants import moment as read
from gateway.api.operation import Operation, routes
from gateway.api.params import Flag, Integer, Length, Moment, OneOf, Parameter, Text, Time
from gateway.routes.funnel import CURSOR

PARAMETERS: list[Parameter[Any]] = [
    Integer(name="x", description="An integer."),
    Integer(name="x", description="A small one.", low=-3, high=30),
    *(Length(name="x", description=f"A length in {unit}.", high=2**62, unit_of=lambda unit=unit: unit) for unit in UNITS),
    Flag(name="x", description="A flag."),
    OneOf(name="x", description="A word.", words=("day", "hour"), default="day"),
    Text(name="x", description="A pair.", pattern=r"[0-9]{1,3}\.[0-9]", read=str, expected="a pair"),
    *(Time(name="x", description="A time.", unit=unit) for unit in UNITS),
    Moment(name="x", description="A moment."),
]
TEXTS = st.one_of(
    st.text(max_size=12),
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-40, 40).map(str),
    st.from_regex(r"\A[0-9]{0,4}\.[0-9]{0,2}\Z"),
    st.sampled_from(["day", "hour", "0", "1", "true", "+5", "-0", "1e3", "٣", "1_0", " 1", "0x1", "1970-01-01"]),
    st.from_regex(r"\A([0-9]{1,3}(ms|s|min|m|h|d|w|y)){1,3}\Z"),
    st.datetimes(timezones=st.just(dt.UTC)).map(lambda each: each.isoformat().replace("+00:00", "Z")),
    st.datetimes(timezones=st.timezones()).map(lambda each: each.isoformat(timespec="microseconds")),
)


def request(text: str) -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": f"x={quote(text)}".encode(), "headers": []})


def by_schema(parameter: Parameter[Any], text: str, number: str) -> bool:
    """Whether a text is right by the schema, as a query parameter is read: as a number too, where it looks like one."""
    values: list[Any] = [text]
    if re.fullmatch(number, text):
        values.append(int(text))
    validator = jsonschema_rs.Draft202012Validator(parameter.schema(), validate_formats=True)
    return any(validator.is_valid(each) for each in values)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda each: f"{type(each).__name__} {each.description}")
@settings(max_examples=60)
@given(TEXTS)
@example("2016-07-11T24:00:00Z")
@example("2016-12-31T23:59:60Z")
@example("2016-02-30T00:00:00Z")
@example("0000-01-01T00:00:00Z")
@example("2016-07-11t13:00:00.1234567890123z")
def test_what_is_right_by_the_schema_is_taken_and_the_rest_is_told(parameter: Parameter[Any], text: str):
    try:
        parameter.parse(request(text))
    except Problem as problem:
        assert (problem.status, problem.where) == (400, "query x")
        assert not by_schema(parameter, text, "0|-?[1-9][0-9]*")
    else:
        # Beside RFC 3339, moments take other ISO 8601 that names its zone.
        assert by_schema(parameter, text, "[+-]?[0-9]+") or isinstance(parameter, Moment)


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_is_what_the_calendar_says(moment: dt.datetime):
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60:
        return  # RFC 3339 has no seconds of a zone
    since = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert read(moment.isoformat(), int) * 10**6 == since


def test_a_time_that_no_int64_holds_is_the_last_that_it_holds():
    ns = Time(name="x", description="A time.", unit="ns")
    assert ns.parse(request("9999-12-31T23:59:59Z")) == INT64_MAX
    assert ns.parse(request("0001-01-01T00:00:00Z")) == INT64_MIN
    assert ns.parse(request("1970-01-01T00:00:00.000000001Z")) == 1


def test_an_endpoint_gets_the_parameters_that_its_operation_describes_and_no_other():
    one, other = Integer(name="one", description="One."), Integer(name="other", description="Another.")

    async def endpoint(request: Request) -> Response:
        """Look at both."""
        assert one.of(request) == 1
        other.of(request)
        return Response()

    operation = Operation(method="GET", path="/", endpoint=endpoint, tag="test", parameters=(one,))
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"one=1", "headers": []}
    with pytest.raises(KeyError, match="other"):
        asyncio.run(operation.respond(Request(scope)))
    with pytest.raises(Problem, match="unknown"):
        asyncio.run(operation.respond(Request({**scope, "query_string": b"one=1&other=2"})))
    with pytest.raises(AssertionError, match="twice"):
        routes([operation, operation])


@given(st.integers(0, INT64_MAX), st.integers(0, 2**64 - 1), st.integers(0, INT64_MAX))
@example(INT64_MAX, 2**64 - 1, INT64_MAX)
def test_each_cursor_that_a_page_of_a_funnel_can_give_is_taken_for_the_next_page(time: int, mark: int, equal: int):
    cursor = Cursor(time, mark, equal)
    assert replace(CURSOR, name="x").parse(request(str(cursor))) == cursor


# Durations -----------------------------------------------------------------------------------------------------------

DURATIONS = st.one_of(
    st.from_regex(rf"\A{DURATION}\Z"),
    st.from_regex(r"\A([0-9]{1,4}(ns|us|ms|s|min|m|h|d|w|mo|y|H|-5m| )){1,3}\Z"),
    st.text(max_size=6),
)


@given(DURATIONS)
def test_settings_and_requests_have_one_grammar_of_durations(text: str):
    found = duration_ns(text) if re.fullmatch(DURATION, text) else None
    if found is None or found % 10**6:
        with pytest.raises(ValueError, match="a duration such as"):
            duration_ms(text)
    else:
        assert duration_ms(text) == found // 10**6
    ago = read(f"-{text}", lambda: 0) if found is not None else None
    assert ago is None or ago * 10**9 == -(found or 0)


@given(st.from_regex(rf"\A{LENGTH}\Z"))
def test_the_length_of_a_bucket_is_a_duration(text: str):
    assert Grid.of(text).seconds * 10**9 == duration_ns(text)


@pytest.mark.parametrize(
    ("text", "unit", "length"),
    [("5min", "ms", 300_000), ("1h30m", "s", 5_400), ("1ms", "s", 1), ("1001us", "ms", 2), ("7", "s", 7)],
)
def test_a_length_is_in_the_unit_of_the_stream_and_rounded_up(text: str, unit: str, length: int):
    assert Length(name="x", description="A length.", unit_of=lambda: unit).parse(request(text)) == length
