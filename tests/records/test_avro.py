"""Records of Avro as columns of roles, against JSON records with the same values; and schemas that are not supported."""

import json
import math
import random
from contextlib import suppress
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.columns.values import Values
from actors.records.encoding import UnreadableError
from actors.records.form import Form, TimeAt
from actors.records.reader import TIME, Reader
from actors.records.roles import Chars, Key, Name, Range, Whole
from actors.records.schemas.avro import AvroSchema
from actors.records.schemas.decoded import BySchema
from actors.records.schemas.framing import MISSING, OneSchema, frame_of, names_in
from actors.records.values import kind_of
from tests.support.polled import polled

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": ["null", "string", "long"], "default": None},
        {"name": "type", "type": {"type": "enum", "name": "Type", "symbols": ["created", "paid", "refund"]}},
        {
            "name": "meta",
            "type": {
                "type": "record",
                "name": "Meta",
                "fields": [
                    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                    {"name": "by", "type": {"type": "map", "values": "string"}},
                    {"name": "of", "type": {"type": "array", "items": "double"}},
                ],
            },
        },
    ],
}
FRAME = b"\0\0\0\1\2"


def record(schema: Any, value: object) -> bytes:
    """Return a value as fastavro writes it."""
    written = BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), value)  # type: ignore[arg-type]
    return written.getvalue()


def order(name: str = "paid", at: int = 7, **more: Any) -> dict[str, Any]:
    return {"id": None, "type": name, "meta": {"at": at, "by": {}, "of": []}, **more}


def reader(schema: Any = ORDER, *, framed: bool = False, at: str = "/meta/at") -> Reader:
    encoding = BySchema(OneSchema(AvroSchema(json.dumps(schema)), framed=framed))
    form = Form({"step": "/type"}, TimeAt(at, "ms"), "ms", encoding=encoding)
    return Reader(form, {"step": Name({b"created": 0, b"paid": 1})}, Range())


def read(raw: bytes | None, **more: Any) -> int | str | None:
    """Return the time of one record, or the reason of its refusal, or None if it is another one."""
    rows = reader(**more).read(polled([raw]))
    if rows.refusals:
        return rows.refusals[0].reason
    return None if rows.accepted is not None else int(rows.columns[TIME][0])


NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(INT64_MIN, INT64_MAX),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "string": st.text(max_size=5),
}


@st.composite
def shapes(draw: st.DrawFn, depth: int = 0) -> tuple[Any, st.SearchStrategy[Any]]:
    """Draw a schema, and the strategy of its values, which are those of JSON."""
    kind = draw(st.sampled_from([*PRIMITIVES, "record", "array", "map", "enum", "union"] if depth < 3 else list(PRIMITIVES)))
    if kind in PRIMITIVES:
        logical = draw(st.sampled_from([None, "timestamp-millis", "timestamp-nanos", "uuid", "date", "time-micros"]))
        return ({"type": kind, "logicalType": logical} if logical else kind), PRIMITIVES[kind]
    if kind == "enum":
        symbols = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        return {"type": "enum", "name": f"E{draw(st.uuids()).hex}", "symbols": symbols}, st.sampled_from(symbols)
    if kind == "union":
        one, values = draw(shapes(depth=3))
        return ("null" if empty(one) else ["null", one]), (st.none() if empty(one) else st.none() | values)
    if kind == "record":
        names = draw(st.lists(NAMES, max_size=3, unique=True))
        own = [draw(shapes(depth=depth + 1)) for _ in names]
        fields = [{"name": name, "type": schema} for name, (schema, _) in zip(names, own, strict=True)]
        values = st.fixed_dictionaries({name: values for name, (_, values) in zip(names, own, strict=True)})
        return {"type": "record", "name": f"R{draw(st.uuids()).hex}", "fields": fields}, values
    schema, values = draw(shapes(depth=depth + 1))
    if kind == "map":
        return {"type": "map", "values": schema}, st.dictionaries(st.text(max_size=3), values, max_size=2)
    if empty(schema):
        schema, values = "string", PRIMITIVES["string"]
    return {"type": "array", "items": schema}, st.lists(values, max_size=3)


def empty(schema: Any) -> bool:
    """Whether a value takes no bytes."""
    if isinstance(schema, dict) and schema["type"] == "record":
        return all(empty(field["type"]) for field in schema["fields"])
    return schema == "null" or (isinstance(schema, dict) and schema["type"] == "null")


def ways(value: Any) -> list[str]:
    """Return the JSON Pointers of a value and of all values in it."""
    found = [""]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in pairs:
        token = str(name).replace("~", "~0").replace("/", "~1")
        found += [f"/{token}{way}" for way in ways(each)]
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])  # the speed of a machine is no law
@given(st.data())
def test_a_record_of_avro_is_read_as_the_json_record_with_the_same_values(data: st.DataObject):
    schema, values = data.draw(shapes())
    schema = {"type": "record", "name": "Root", "fields": [{"name": "v", "type": schema}, {"name": "at", "type": "long"}]}
    several = [{"v": data.draw(values), "at": data.draw(st.integers(-1, INT64_MAX))} for _ in range(3)]
    pointers = sorted({way for value in several for way in ways(value["v"])})
    field = "/v" + data.draw(st.sampled_from([*pointers, "/x", "/0", "/01"]))
    role = data.draw(st.sampled_from([Key(), Whole(), Chars(), Chars(letters=True), Name({b"a": 0})]))
    encoding = BySchema(OneSchema(AvroSchema(json.dumps(schema)), framed=False))
    rows = [
        Reader(Form({"own": field}, TimeAt("/at", "ms"), "us", encoding=each), {"own": role}, Range()).read(polled(records))
        for each, records in (
            (encoding, [record(schema, value) for value in several]),
            (None, [json.dumps(value).encode() for value in several]),
        )
    ]
    assert rows[0].refusals == rows[1].refusals
    assert (rows[0].accepted is None) == (rows[1].accepted is None)
    assert rows[0].columns[TIME].tolist() == rows[1].columns[TIME].tolist()
    ours, theirs = (each.columns["own"] for each in rows)
    if isinstance(ours, np.ndarray):
        assert ours.tolist() == theirs.tolist()
    else:
        assert ours.take(np.arange(ours.starts.size)) == theirs.take(np.arange(theirs.starts.size))


RAW = record(ORDER, order())


@pytest.mark.parametrize(
    ("raw", "more", "wanted"),
    [
        (RAW, {}, 7),
        (FRAME + RAW, {"framed": True}, 7),
        (record(ORDER, order("refund")), {}, None),
        (record(ORDER, order(at=INT64_MAX)), {}, INT64_MAX),
        (record(ORDER, order(at=253_402_300_800_000)), {}, 253_402_300_800_000),
        (None, {}, "empty"),
        (b"", {"framed": True}, "empty"),
        (record(ORDER, order(id="A17")), {"framed": True}, "not_framed"),
        (FRAME[:4], {"framed": True}, "not_framed"),
        (b"\1" + FRAME[1:] + RAW, {"framed": True}, "not_framed"),
        (FRAME, {"framed": True}, "not_avro"),
        (RAW[:-1], {}, "not_avro"),
        (RAW + b"\0", {}, "not_avro"),
        (b"\6" + RAW[1:], {}, "not_avro"),
        (b"R_1685695916000", {}, "not_avro"),
        (RAW, {"at": "/meta"}, "/meta: expected a number of milliseconds since 1970, got an object"),
        (RAW, {"at": "/meta/of"}, "/meta/of: expected a number of milliseconds since 1970, got a list"),
        (RAW, {"at": "/id"}, "/id: expected a number of milliseconds since 1970, got null"),
        (RAW, {"at": "/type"}, "/type: expected a number of milliseconds since 1970, got text"),
        (RAW, {"at": "/meta/of/0"}, "/meta/of/0: expected a number of milliseconds since 1970, got nothing"),
    ],
)
def test_a_record_is_read_or_has_its_reason(raw: bytes | None, more: dict[str, Any], wanted: int | str | None):
    assert read(raw, **more) == wanted


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("bytes", b"7", "bytes"),
        ({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}, bytes(16), "bytes"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, b"\7", "bytes"),
        ("double", math.nan, "no finite number"),
        ("double", -math.inf, "no finite number"),
    ],
)
def test_what_json_has_not_is_refused_by_its_kind(kind: Any, value: object, words: str):
    schema = {**ORDER, "fields": [*ORDER["fields"], {"name": "x", "type": kind}]}
    plain = {
        **schema,
        "fields": [*ORDER["fields"], {"name": "x", "type": kind if isinstance(kind, str) else {**kind, "logicalType": "x"}}],
    }
    assert read(record(plain, order(x=value)), schema=schema, at="/x").endswith(f"got {words}")


@pytest.mark.parametrize(
    ("place", "byte"), [(0, 1), (0, 3), (0, 5), (0, 6), (1, 1), (0, 15), (0, 23), (1, 3), (1, 6), (1, 255)]
)
def test_an_index_that_does_not_exist_is_refused_and_not_counted_from_the_end(place: int, byte: int):
    raw = bytearray(RAW)  # the branch of the id, then the symbol of the type
    raw[place] = byte
    assert read(bytes(raw)) == "not_avro"
    assert read(RAW) == 7


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_raise_an_error(raw: bytes, framed: bool):
    found = read((FRAME if framed else b"") + raw, framed=framed)
    assert found is None or isinstance(found, int) or found in {"empty", "not_avro"} or found.startswith("/meta/at: ")


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_byte_gives_an_event_or_a_reason(seed: int):
    chance = random.Random(seed)
    raw = bytearray(record(ORDER, order(id="A17", meta={"at": 10**12, "by": {"a": "b"}, "of": [1.5, 2.5]})))
    for _ in range(200):
        changed = bytearray(raw)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(raw))] = chance.randrange(256)
        read(bytes(changed))


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("[", "a schema of Avro in JSON"),
        ("[" * 3_000 + "]" * 3_000, "a schema of Avro in JSON"),
        ("{}", "a schema of Avro (KeyError: 'type')"),
        ("7", "a schema of Avro ("),
        ('"Foo"', "a schema of Avro (UnknownType: Foo)"),
        ('{"type":"fixed","name":"x","size":"a"}', "whose fixed types have a size"),
        ('{"type":"fixed","name":"x","size":-1}', "whose fixed types have a size"),
        ('{"type":"array","items":"null"}', "without lists of items that take no bytes"),
        ('{"type":"array","items":{"type":"record","name":"E","fields":[]}}', "without lists of items that take no bytes"),
        ('{"type":"record","name":"A","fields":[{"name":"a","type":["null","A"]}]}', "do not contain themselves, as A does"),
        (
            json.dumps(
                {
                    "type": "record",
                    "name": "R",
                    "fields": [{"name": "f0", "type": {"type": "record", "name": "T0", "fields": []}}]
                    + [
                        {
                            "name": f"f{level}",
                            "type": {
                                "type": "record",
                                "name": f"T{level}",
                                "fields": [{"name": name, "type": f"T{level - 1}"} for name in "ab"],
                            },
                        }
                        for level in range(1, 60)
                    ],
                }
            ),
            "at most 10,000 types",
        ),
    ],
)
def test_a_schema_that_is_not_supported_is_refused(schema: str, problem: str):
    with pytest.raises(ValueError, match="a schema of Avro") as caught:
        AvroSchema(schema)
    assert problem in str(caught.value)


def test_a_schema_may_refer_to_types_of_others():
    meta = {"type": "record", "name": "shop.Meta", "fields": [{"name": "at", "type": "long"}]}
    whole = {"type": "record", "name": "shop.Order", "fields": [{"name": "meta", "type": "Meta"}]}
    schema = AvroSchema(json.dumps(whole), [json.dumps(meta)])
    assert schema.values(b"\x0e", 0, [("meta", "at"), ("meta", "of")]) == [7, MISSING]
    with pytest.raises(UnreadableError):
        schema.values(b"", 0, [])


@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([bytes(5), b"\1" + bytes(16), b"\1" + b"a" * 18]) | st.none(), max_size=30
    )
)
def test_the_names_of_schemas_are_those_of_each_frame(records: list[bytes | None]):
    found: set[int | bytes] = set()
    for record in records:
        with suppress(UnreadableError):
            found.add(frame_of(record or b"")[0])
    names = names_in(Values.of(records))
    assert (set(names), len(names)) == (found, len(found))


def test_bytes_have_a_kind_of_their_own():
    assert [kind_of(each) for each in (b'b"YQ=="', b"NaN")] == ["bytes", "no finite number"]
