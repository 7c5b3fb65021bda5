"""The orders of the benchmark as Avro and Protobuf are what the libraries of both formats read."""

from io import BytesIO

import fastavro
from google.protobuf import message_factory  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.encoded import AVRO, avro, descriptors, protobuf

MESSAGE = message_factory.GetMessages(list(descriptors().file))["Order"]
TEXTS = st.text(st.characters(max_codepoint=127), max_size=200)


@given(TEXTS, TEXTS, st.integers(0, 2**62))
def test_an_order_is_read_by_both_libraries(key: str, kind: str, ts: int):
    assert fastavro.schemaless_reader(BytesIO(avro(key, kind, ts)), AVRO, None) == {"id": key, "type": kind, "ts": ts}
    order = MESSAGE.FromString(protobuf(key, kind, ts))
    assert (order.id, order.type, order.ts) == (key, kind, ts)
