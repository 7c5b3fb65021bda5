"""Messages of Protobuf as columns of roles, against JSON records with the same values; and the frames of several messages."""

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.records.encoding import UnreadableError
from actors.records.form import Form, TimeAt
from actors.records.reader import TIME, Reader
from actors.records.roles import Chars, Key, Name, Range, Whole
from actors.records.schemas.decoded import BySchema
from actors.records.schemas.framing import OneSchema
from actors.records.schemas.protobuf import ProtobufSchema
from scripts.service.schemas.protoc import compiled
from tests.support.polled import polled

IMPORTED = 'syntax = "proto3"; package shop; message Part { string name = 1; }'
TEXT = """syntax = "proto3"; package shop;
import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto"; import "shop/part.proto";
message Other { string id = 1; }
message Order {
  enum Type { CREATED = 0; PAID = 1; }
  message Meta { string by = 1; map<string, int64> counts = 2; repeated sint64 data = 3; repeated Part parts = 4; }
  message Last { string x = 1; }
  string id = 1;
  Type type = 2;
  int64 at = 3;
  Meta meta = 4;
  optional uint64 large = 5;
  double share = 6;
  bytes raw = 7;
  google.protobuf.Timestamp stamp = 8;
  google.protobuf.StringValue wrapped = 9;
  map<int32, string> names = 10;
  bool flag = 11;
}
"""
FILES = compiled(TEXT, {"shop/part.proto": IMPORTED})


def classes() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(FILES).file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


CLASS = classes()
Order = CLASS("shop.Order")
PLAIN = ProtobufSchema(FILES, "shop.Order", framed=False)


def form(encoding: Any, field: str = "/type", at: str = "/at", unit: str = "ms") -> Form:
    return Form({"own": field}, TimeAt(at, unit), "ms", encoding=encoding)


ORDERS = st.fixed_dictionaries(
    {
        "id": st.text(max_size=4),
        "type": st.sampled_from(["CREATED", "PAID"]),
        "at": st.integers(INT64_MIN, INT64_MAX),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "names": st.dictionaries(st.integers(-9, 9), st.text(max_size=2), max_size=2),
        "flag": st.booleans(),
    },
    optional={
        "large": st.integers(0, 2**64 - 1),
        "meta": st.fixed_dictionaries(
            {
                "by": st.text(max_size=3),
                "counts": st.dictionaries(st.sampled_from(["a", "b/c", "~"]), st.integers(INT64_MIN, INT64_MAX), max_size=2),
                "data": st.lists(st.integers(-9, 9), max_size=3),
                "parts": st.lists(st.fixed_dictionaries({"name": st.text(max_size=2)}), max_size=2),
            }
        ),
    },
)
POINTERS = [
    *("/id", "/type", "/at", "/share", "/names", "/names/7", "/names/-1", "/names/07", "/names/99999999999", "/flag", "/large"),
    *("/meta", "/meta/by", "/meta/counts/a", "/meta/counts/b~1c", "/meta/counts/~0", "/meta/counts", "/meta/data"),
    *("/meta/data/0", "/meta/data/2", "/meta/data/x", "/meta/parts/1/name", "/meta/parts/0", "/nothing", "/id/x", "/at/0"),
]


@settings(suppress_health_check=[HealthCheck.too_slow])  # the speed of a machine is no law
@given(ORDERS, st.sampled_from(POINTERS), st.sampled_from([Key(), Whole(), Chars(), Name({b"PAID": 0})]))
def test_a_message_is_read_as_the_json_record_with_the_same_values(order: dict[str, Any], field: str, role: Any):
    raw = Order(**order).SerializeToString()
    rows = [
        Reader(form(each, field), {"own": role}, Range(INT64_MIN)).read(polled([record]))
        for each, record in ((BySchema(OneSchema(PLAIN, framed=False)), raw), (None, json.dumps(order).encode()))
    ]
    if raw:
        assert rows[0].refusals == rows[1].refusals
        assert rows[0].columns[TIME].tolist() == rows[1].columns[TIME].tolist()
        ours, theirs = (each.columns["own"] for each in rows)
        assert (
            ours.tolist() == theirs.tolist() if hasattr(ours, "tolist") else ours.hashes().tolist() == theirs.hashes().tolist()
        )


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"raw": b"a"}, "/raw", b"a"),
        ({"stamp": {"seconds": 1_795_773_600, "nanos": 123_456_789}}, "/stamp", "2026-11-27T10:00:00.123456789Z"),
        ({"stamp": {"seconds": 1_795_773_600}}, "/stamp/seconds", 1_795_773_600),
        ({"stamp": {"seconds": 2**60}}, "/stamp", {}),
        ({"wrapped": {"value": "x"}}, "/wrapped", "x"),
        ({"type": 7}, "/type", 7),
        ({"large": 0}, "/large", 0),
        ({"meta": {}}, "/meta/by", ""),
    ],
)
def test_a_value_is_read_by_its_kind(given: dict[str, Any], field: str, value: object):
    assert PLAIN.values(Order(**given).SerializeToString(), 0, [tuple(field.split("/")[1:])]) == [value]


@given(st.binary(max_size=60))
def test_no_bytes_raise_another_error(raw: bytes):
    for framed in (False, True):
        schema = ProtobufSchema(FILES, "shop.Order", framed=framed)
        try:
            schema.values(raw, 0, [("id",), ("meta", "by"), ("type",)])
        except UnreadableError as error:
            assert str(error) in {"not_protobuf", "not_framed", "other_message"}


ORDER = Order(id="A17").SerializeToString()


@pytest.mark.parametrize(
    ("name", "indexes", "wanted"),
    [
        ("shop.Other", b"\0", "A17"),
        ("shop.Other", b"\2\0", "A17"),
        ("shop.Order", b"\0", "other_message"),
        ("shop.Order", b"\2\2", "A17"),
        ("shop.Order.Meta", b"\4\2\2", "other_message"),
        ("shop.Order", b"\4\2\0", "other_message"),
        ("shop.Order", b"\2\x80", "not_framed"),
        ("shop.Order", b"", "not_framed"),
        ("shop.Order", b"\xff\xff\xff\xff\xff", "not_framed"),
        ("shop.Order", b"\x01", "not_framed"),
    ],
)
def test_the_message_in_the_frame_is_compared(name: str, indexes: bytes, wanted: str):
    schema = ProtobufSchema(FILES, name, framed=True)
    try:
        (found,) = schema.values(b"\0\0\0\0\7" + indexes + (ORDER if wanted == "A17" else b""), 5, [("id",)])
    except UnreadableError as error:
        found = str(error)
    assert found == wanted


def test_places_that_mean_two_messages_are_refused():
    text = (
        'syntax = "proto3"; message A { message B { string id = 1; } map<string, string> m = 1; message C { string id = 1; } '
    )
    files = compiled(f"{text} message D {{ string id = 1; }} }}", {})

    def places(name: str) -> set[int]:
        schema, found = ProtobufSchema(files, name, framed=True), set()
        for index in range(5):
            try:
                schema.values(bytes([4, 0, 2 * index]), 0, [])
                found.add(index)
            except UnreadableError:
                pass
        return found

    # protoc puts the entry of the map between B and C: C is 1 without it and 2 with it, D is 2 or 3.
    assert (places("A.B"), places("A.C"), places("A.D")) == ({0}, {1}, {3})


@pytest.mark.parametrize(
    ("text", "imports", "problem"),
    [
        ("message A {", {}, "protoc says: firnline.schema.proto"),
        ('syntax = "proto3"; import "b.proto"; message A { B b = 1; }', {}, "b.proto: File not found"),
        ("", {"../b.proto": ""}, "imports with plain names"),
        ("", {"a/../../b.proto": ""}, "imports with plain names"),
        ("", {"/b.proto": ""}, "imports with plain names"),
        ("{" * 200, {}, "at most 100 braces"),
    ],
)
def test_a_schema_that_protoc_cannot_compile_is_refused(text: str, imports: dict[str, str], problem: str):
    with pytest.raises(ValueError, match=r"a schema of Protobuf|imports") as caught:
        compiled(text, imports)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("files", "name", "problem"), [(b"no", "A", "a file of descriptors"), (FILES, "shop.None", "a message shop.None")]
)
def test_descriptors_without_the_message_are_refused(files: bytes, name: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        ProtobufSchema(files, name, framed=True)
