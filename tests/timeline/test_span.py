"""Spans are half-open, everywhere and at both ends of int64."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.span import EVER, Span, span_of_state, span_state

small = st.integers(0, 12)
spans = st.tuples(small, small).map(lambda pair: Span(min(pair), max(pair)))


def within(span: Span) -> set[int]:
    return set(range(span.start, span.end))


@given(spans.filter(within), spans)
def test_a_span_contains_another_if_no_time_of_it_is_outside(one: Span, other: Span):
    if within(other):
        assert one.contains(other) == (within(other) <= within(one))


@given(spans, spans)
def test_spans_overlap_if_they_share_a_time(one: Span, other: Span):
    assert one.overlaps(other) == other.overlaps(one) == bool(within(one) & within(other))


@given(spans, spans)
def test_the_hull_is_the_smallest_span_around_both_and_order_does_not_matter(one: Span, other: Span):
    hull = one.hull(other)
    assert hull == other.hull(one)
    assert hull.contains(one)
    assert hull.contains(other)
    assert {hull.start, hull.end} <= {one.start, one.end, other.start, other.end}


@given(spans, small, small)
def test_cutting_a_span_in_two_leaves_every_time_in_exactly_one_half(span: Span, cut: int, time: int):
    cut = min(max(cut, span.start), span.end)
    halves = (Span(span.start, cut), Span(cut, span.end))
    point = Span(time, time + 1)
    assert not halves[0].overlaps(halves[1])
    assert sum(half.overlaps(point) for half in halves) == span.overlaps(point)


def test_an_empty_span_is_allowed_and_overlaps_nothing_not_even_around_it():
    empty = Span(5, 5)
    assert not empty.overlaps(empty)
    assert not empty.overlaps(Span(0, 10))
    assert not Span(0, 10).overlaps(empty)


def test_the_largest_int64_is_in_ever():
    assert EVER.contains(Span(INT64_MAX, INT64_MAX + 1))
    assert EVER.contains(Span(INT64_MIN, INT64_MIN + 1))
    assert Span(INT64_MAX, INT64_MAX + 1).overlaps(EVER)


def test_the_error_for_a_backward_span_names_both_ends():
    with pytest.raises(ValueError, match=r"\[20, 10\)"):
        Span(20, 10)


def test_a_span_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Span(1, 2).start = 0  # type: ignore[misc]


def test_a_span_is_restored_from_its_state_and_one_beyond_int64_is_refused():
    for span in (EVER, Span(1, 2), None):
        assert span_of_state(span_state(span)) == span
    for wrong in ((EVER.start - 1, 0), (0, EVER.end + 1)):
        with pytest.raises(ValueError, match="expected"):
            span_of_state(wrong)
