"""Polls of JSON records as columns of roles, against a reading of each record by Python's own parser and fractions."""

import json
import math
import random
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX
from actors.records.form import Form, TimeAt
from actors.records.reader import TIME, Reader
from actors.records.roles import Name, Range
from actors.sources.polled import of_one_partition
from actors.timeline.unit import UNITS
from tests.support.polled import in_columns, polled

WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def reader(unit: str, to: str = "ms", pointer: str | None = "/at") -> Reader:
    form = Form({"step": "/type"}, TimeAt(pointer, unit), to)
    return Reader(form, {"step": Name({b"created": 0, b"paid": 1})}, Range())


def read(record: object, unit: str, to: str = "ms") -> int | str | None:
    """Return the time of one record, or the reason of its refusal, or None if it is another one."""
    raw = record if isinstance(record, bytes | None) else json.dumps(record).encode()
    rows = reader(unit, to).read(polled([raw]))
    if rows.refusals:
        return rows.refusals[0].reason
    return None if rows.accepted is not None else int(rows.columns[TIME][0])


def at(time: object) -> dict[str, object]:
    return {"type": "paid", "at": time}


ZONES = st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES),  # noqa: DTZ001  # bounds have no zone
    st.from_regex(r"(\.[0-9]{1,30})?", fullmatch=True),
    st.sampled_from(list(UNITS)),
)
def test_a_time_by_rfc_3339_is_rounded_down_exactly(moment: datetime, fraction: str, to: str):
    whole = moment.replace(microsecond=0)
    text = whole.isoformat().replace("+00:00", "Z")
    text = text[:19] + fraction + text[19:]
    seconds = (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) + Fraction(fraction or "0")
    exact = math.floor(seconds * UNITS[to])
    found = read(at(text), "rfc3339", to)
    if 0 <= exact <= INT64_MAX:
        assert found == exact
    else:
        words = f"from 1970 on, within 64 bits of {WORDS[to]}"
        assert found == f"/at: expected a time by RFC 3339, {words}, got {'a later' if exact > 0 else 'an earlier'} one"


@given(st.decimals(-(10**12), 10**21, allow_nan=False, places=12), st.sampled_from(list(UNITS)), st.sampled_from(list(UNITS)))
def test_a_number_is_a_time_rounded_down_exactly(number: Any, unit: str, to: str):
    raw = f'{{"type":"created","at":{number:f}}}'.encode()
    exact = math.floor(Fraction(number) * UNITS[to] / UNITS[unit])
    found = read(raw, unit, to)
    if 0 <= exact <= INT64_MAX:
        assert found == exact
    else:
        assert isinstance(found, str)
        assert found.endswith("a later one" if exact > 0 else "an earlier one")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-27T10:00:00Z", 1_795_773_600_000),
        ("2026-11-27t10:00:00.9999999z", 1_795_773_600_999),
        ("2026-11-27 10:00:00", 1_795_773_600_000),
        ("2026-11-27", 1_795_737_600_000),
        ("2026-11-27T10:00:00.5+05:30", 1_795_753_800_500),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2026-11-27T10:00:00 01:00", None),
        ("2026-02-29T10:00:00Z", None),
        ("2026-11-27T24:00:00Z", None),
        ("now", None),
        ("-5m", None),
        ("1795773600", None),
        ("", None),
    ],
)
def test_only_dates_and_times_are_times_by_rfc_3339(text: str, wanted: int | None):
    found = read(at(text), "rfc3339")
    assert found == (wanted if wanted is not None else "/at: expected a time by RFC 3339, got other text")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\0\0\0\0\7{}", "framed"),
        (b'{"type":"paid","at":1,"x":"\xff"}', "not_utf8"),
        (b'{"type":"paid","at":1,"x":"\xed\xa0\x80"}', "not_utf8"),
        (b'{"type":"paid","at":1,"x":"\0"}', "not_text"),
        (b'{"type":"paid","at":1', "not_json"),
        (b'{"type":"paid","at":NaN}', "not_json"),
        (b'{"type":"paid","at":01}', "not_json"),
        (b'{"type":"paid","at":1,"x":"\\ud800"}', "not_json"),
        (b"paid_1", "not_json"),
        (b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "too_deep"),
        ({"at": 1}, "/type: expected text, got nothing"),
        ({"type": None, "at": 1}, "/type: expected text, got null"),
        ({"type": True, "at": 1}, "/type: expected text, got true or false"),
        ({"type": ["paid"], "at": 1}, "/type: expected text, got a list"),
        ({"type": "paid"}, "/at: expected a number of milliseconds since 1970, got nothing"),
        (at("1"), "/at: expected a number of milliseconds since 1970, got text"),
        (at({}), "/at: expected a number of milliseconds since 1970, got an object"),
        (
            at(-1),
            "/at: expected a number of milliseconds since 1970, from 1970 on, within 64 bits of milliseconds, got an earlier one",
        ),
        (
            at(2**63),
            "/at: expected a number of milliseconds since 1970, from 1970 on, within 64 bits of milliseconds, got a later one",
        ),
        ([], "/type: expected text, got nothing"),
        (7, "/type: expected text, got nothing"),
    ],
)
def test_a_refused_record_has_its_reason(record: Any, reason: str):
    assert read(record, "ms") == reason


@pytest.mark.parametrize(
    ("record", "time"),
    [
        (b'{"type":"paid","at":1}\r\n', 1),
        (b'\xef\xbb\xbf{"type":"paid","at":1}', 1),
        (b' {"type" : "paid" ,\n"at":\t1 } ', 1),
        (b'{"type":"paid","at":1,"at":2}', 2),
        (b'{"type":7,"at":1,"type":"paid"}', 1),
        (b'{"\\u0074ype":"p\\u0061id","at":1.9e1}', 19),
        (b'{"type":"paid","at":1e18}', 10**18),
        (b'{"type":"paid","at":9223372036854775807}', INT64_MAX),
        (b'{"type":"paid","at":-0}', 0),
        (b'{"type":"paid","at":1,"x":"\\u0000"}', 1),
        (b'{"type":"parcel_out","at":"broken"}', None),
        (b'{"type":""}', None),
    ],
)
def test_a_record_in_an_unusual_form_is_read(record: bytes, time: int | None):
    assert read(record, "ms") == time


def test_a_poll_is_read_in_its_order():
    records = [at(1), {"type": "x"}, b"{", at(2), None, {"type": "created", "at": 3}]
    rows = reader("s", "ms").read(polled([r if isinstance(r, bytes | None) else json.dumps(r).encode() for r in records]))
    assert rows.columns[TIME].tolist() == [1_000, 2_000, 3_000]
    assert rows.columns["step"].tolist() == [1, 1, 0]
    assert rows.accepted is not None
    assert rows.accepted.tolist() == [True, False, False, True, False, True]
    assert rows.refusals == [(2, "not_json"), (4, "empty")]


@pytest.mark.parametrize(("to", "times"), [("s", [1, 7]), ("ms", [1_999, 7_000]), ("us", [1_999_000, 7_000_000])])
def test_the_time_may_be_that_of_the_record_in_kafka(to: str, times: list[int]):
    values = in_columns([b'{"type":"paid"}'] * 4 + [b"{}"])
    stamps = np.array([1_999, -1, -5, 7_000, 8_000])
    rows = reader("ms", to, None).read(of_one_partition(values, 0, lambda: stamps))
    assert rows.columns[TIME].tolist() == times
    lead = f"time: expected a time in Kafka, from 1970 on, within 64 bits of {WORDS[to]}, got"
    assert rows.refusals == [(1, f"{lead} nothing"), (2, f"{lead} an earlier one"), (4, "/type: expected text, got nothing")]
    edge = reader("ms", "ns", None).read(
        of_one_partition(values, 0, lambda: np.array([INT64_MAX // 10**6, INT64_MAX // 10**6 + 1, 0, 0, 0]))
    )
    assert edge.columns[TIME].tolist() == [INT64_MAX // 10**6 * 10**6, 0, 0]
    assert edge.refusals[0].reason.endswith("got a later one")


FIELDS = Form({"step": "/type"}, TimeAt("/meta/at", "rfc3339"), "us")


def many(chance: random.Random) -> list[bytes | None]:
    """Return records of a few shapes, most of them usual."""
    values: list[bytes | None] = []
    zones = chance.sample(["Z", "+00:00", "-05:30", "", "z", "+0100", " 01:00", "+25:00"], 3)
    for _ in range(chance.randrange(250, 700)):
        moment = datetime(2026, 11, 27, tzinfo=UTC) + timedelta(seconds=chance.randrange(10 ** chance.randrange(1, 7)))
        text = moment.isoformat()[:19].replace("T", chance.choice("TTTTt "))
        text += chance.choice(["", ".5", ".123456789", ".12345", ".999999999999"]) + chance.choice(zones)
        if chance.random() < 0.05:
            text = chance.choice(
                ["2016-12-31T23:59:60Z", "2026-02-29T00:00:00Z", "2026-11-27", "0000-02-29T00:00:00Z", "", "x" * 60]
            )
        if chance.random() < 0.05:
            text = text.replace(text[chance.randrange(len(text))], chance.choice("9:é/;"), 1) if text else text
        kind = chance.choice(["created", "paid", "paid", "refund", "create", "paid\n"])
        record: Any = {"id": chance.randrange(99), "type": kind, "meta": {"type": "x", "at": text}, "of": [{"type": 1}]}
        if chance.random() < 0.1:
            record = chance.choice(
                [{"meta": {"at": text}, "type": kind}, {**record, "meta": 7}, {"type": 1, **record}, [record]]
            )
        raw = json.dumps(record, ensure_ascii=chance.random() < 0.5).encode()
        values.append(chance.choice([raw[:-1], raw + b"\n", raw + b" ", b"\xff" + raw]) if chance.random() < 0.03 else raw)
    return [*values, None]


@pytest.mark.parametrize("seed", range(60))
def test_a_poll_is_read_as_each_of_its_records_alone(seed: int):
    values = many(random.Random(seed))
    own = Reader(FIELDS, {"step": Name({b"created": 0, b"paid": 1})}, Range())
    rows = own.read(polled(values))
    accepted = np.ones(len(values), np.bool_) if rows.accepted is None else rows.accepted
    alone = [own.read(polled([value])) for value in values]
    assert accepted.tolist() == [each.accepted is None for each in alone]
    assert rows.refusals == [(place, each.refusals[0].reason) for place, each in enumerate(alone) if each.refusals]
    kept = [each for each in alone if each.accepted is None]
    assert rows.columns[TIME].tolist() == [int(each.columns[TIME][0]) for each in kept]
    assert rows.columns["step"].tolist() == [int(each.columns["step"][0]) for each in kept]


@pytest.mark.parametrize("unit", [*UNITS, "rfc3339"])
@pytest.mark.parametrize("to", UNITS)
def test_a_poll_of_one_shape_is_read_as_each_of_its_records_alone(unit: str, to: str):
    chance = random.Random(f"{unit} {to}")
    own, values = reader(unit, to), list[bytes]()
    for _ in range(400):
        number = chance.randrange(10 ** chance.randrange(1, 17))
        year = chance.randrange(1960, 2400)
        value = f"{year}-11-27T10:00:{chance.randrange(70):02}.{chance.randrange(1000):03}Z" if unit == "rfc3339" else number
        values.append(json.dumps({"type": "paid", "at": value}).encode())
    rows, alone = own.read(polled(values)), [own.read(polled([value])) for value in values]
    assert rows.columns[TIME].tolist() == [time for each in alone for time in each.columns[TIME].tolist()]
    assert rows.refusals == [(place, each.refusals[0].reason) for place, each in enumerate(alone) if each.refusals]


@pytest.mark.parametrize(
    "form", [FIELDS, Form({"step": "/type"}, TimeAt("/n", "ms")), Form({"step": "/meta/kind"}, TimeAt(None))]
)
def test_records_of_one_shape_are_not_parsed(form: Form, monkeypatch: pytest.MonkeyPatch):
    parsed = []
    row = Reader._row
    monkeypatch.setattr(Reader, "_row", lambda self, record: parsed.append(record) or row(self, record))
    values = [
        json.dumps(
            {
                "type": "paid",
                "n": number,
                "of": [1, {"n": 2}],
                "meta": {"kind": "paid", "at": f"2026-11-27T10:00:00.{number:03}Z"},
            }
        ).encode()
        for number in range(1_000)
    ]
    rows = Reader(form, {"step": Name({b"paid": 0})}, Range()).read(polled(values))
    assert (rows.columns[TIME].size, rows.accepted) == (1_000, None)
    assert len(parsed) < 10, "the samples of a template"
