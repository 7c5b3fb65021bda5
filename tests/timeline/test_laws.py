"""Spans, batches, decimals and sealed pieces: the small laws that everything rests on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.decimal import parse
from actors.columns.sealed import seal, unseal
from actors.columns.times import INT64_MAX, INT64_MIN, count_before
from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span

times = st.integers(INT64_MIN, INT64_MAX)
small = st.integers(0, 20)
spans = st.tuples(small, small).map(lambda pair: Span(min(pair), max(pair)))


@given(spans, spans)
def test_spans_overlap_if_they_share_a_time(one: Span, other: Span):
    shared = set(range(one.start, one.end)) & set(range(other.start, other.end))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)
    assert one.hull(other).contains(one)
    assert EVER.contains(one)


def test_a_span_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="must not end before it starts"):
        Span(2, 1)


@given(st.lists(times), st.integers(INT64_MIN - 2, INT64_MAX + 2))
def test_counting_before_a_time_works_beyond_int64(values: list[int], time: int):
    assert count_before(np.array(sorted(values), np.int64), time) == sum(value < time for value in values)


@given(st.lists(st.lists(st.lists(small, max_size=9), min_size=3, max_size=3), max_size=4), small)
def test_batches_keep_their_events_when_joined_ordered_and_split(given_batches: list[list[list[int]]], time: int):
    batches = [Batch(tuple(np.array(column, np.int64) for column in columns)) for columns in given_batches]
    joined = Batch.concatenate(batches, 3).ordered()
    before, after = joined.split(time)
    assert before.count + after.count == joined.count == sum(batch.count for batch in batches)
    assert (before.last() or 0) <= max(0, time - 1)
    assert after.first() is None or after.first() >= time
    for number, column in enumerate(joined.times):
        assert column.tolist() == sorted(value for columns in given_batches for value in columns[number])


@given(st.integers(1, 19), st.data())
def test_digits_are_parsed_as_python_does(width: int, data: st.DataObject):
    alphabet = st.sampled_from(b"0123456789" * 4 + b"/:-+ _x\x00\xff")
    rows = data.draw(st.lists(st.lists(alphabet, min_size=width, max_size=width).map(bytes), min_size=1, max_size=20))
    rows += [b"0" * width, b"9" * width, str(INT64_MAX).encode()[:width], str(INT64_MAX + 1).encode()[:width]]
    numbers, valid = parse(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width))
    for row, number, ok in zip(rows, numbers.tolist(), valid.tolist(), strict=True):
        assert ok == (row.isdigit() and int(row) <= INT64_MAX)
        assert not ok or number == int(row)


@given(st.lists(times, min_size=1))
def test_compressed_values_are_restored(values: list[int]):
    ascending = np.sort(np.array(values, np.int64))
    assert unseal(seal(ascending)).tolist() == ascending.tolist()
