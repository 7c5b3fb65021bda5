"""Batches share their columns, never write to them, and neither lose nor invent events."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX, INT64_MIN, NO_TIMES
from actors.timeline.batch import Batch

times = st.one_of(st.integers(0, 12), st.integers(INT64_MIN, INT64_MAX))
ordered_columns = st.lists(st.lists(times, max_size=8).map(sorted), min_size=1, max_size=4)


def batch(columns: list[list[int]]) -> Batch:
    made = Batch(tuple(np.array(column, np.int64) for column in columns))
    for column in made.times:
        column.flags.writeable = False
    return made


def events(given_batch: Batch) -> Counter[tuple[int, int]]:
    return Counter((time, step) for step, column in enumerate(given_batch.times) for time in column.tolist())


@given(ordered_columns, st.data())
def test_a_split_by_counts_cuts_each_column_there_without_a_copy(columns: list[list[int]], data: st.DataObject):
    whole = batch(columns)
    cuts = [data.draw(st.integers(0, len(column))) for column in columns]
    before, after = whole.split_at(cuts)
    assert [column.size for column in before.times] == cuts
    assert events(before) + events(after) == events(whole)
    for number, column in enumerate(whole.times):
        for part in (before.times[number], after.times[number]):
            assert not part.size or np.shares_memory(part, column)


@given(ordered_columns, st.integers(INT64_MIN - 1, INT64_MAX + 2))
def test_a_split_by_time_is_half_open(columns: list[list[int]], time: int):
    before, after = batch(columns).split(time)
    assert all(each < time for each, _ in events(before))
    assert all(each >= time for each, _ in events(after))
    assert events(before) + events(after) == events(batch(columns))


@given(ordered_columns)
def test_first_and_last_are_the_ends_over_all_columns(columns: list[list[int]]):
    every = [time for column in columns for time in column]
    assert batch(columns).first() == min(every, default=None)
    assert batch(columns).last() == max(every, default=None)


@given(st.lists(st.lists(times, max_size=8), min_size=1, max_size=4))
def test_ordering_keeps_every_event_and_does_not_change_the_given_columns(columns: list[list[int]]):
    unordered = batch(columns)
    ordered = unordered.ordered()
    assert [column.tolist() for column in ordered.times] == [sorted(column) for column in columns]
    assert [column.tolist() for column in unordered.times] == columns
    assert ordered.count == sum(map(len, columns))
    assert ordered.nbytes == 8 * ordered.count


@given(st.lists(st.lists(st.lists(times, max_size=8), min_size=3, max_size=3), max_size=4))
def test_joined_batches_have_the_events_of_each_batch_in_the_given_order(batches: list[list[list[int]]]):
    joined = Batch.concatenate([batch(columns) for columns in batches], 3)
    expected = [[time for columns in batches for time in columns[step]] for step in range(3)]
    assert [column.tolist() for column in joined.times] == expected


def test_joining_no_batches_gives_an_empty_batch_of_the_given_width():
    none = Batch.concatenate([], 3)
    assert [column.size for column in none.times] == [0, 0, 0]
    assert none.times[0].dtype == np.int64
    assert (none.count, none.nbytes, none.first(), none.last()) == (0, 0, None, None)


def test_batches_of_different_widths_do_not_join():
    with pytest.raises(ValueError, match="zip"):
        Batch.concatenate([Batch.empty(2), Batch.empty(3)], 3)


def test_the_shared_empty_column_is_read_only():
    assert not NO_TIMES.flags.writeable
    with pytest.raises(ValueError, match="resize"):
        NO_TIMES.resize(1)
