"""Sequences in which a step is listed twice, against all choices; and final rows stay as they are."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.views.funnel.matching import ABSENT, Events, match
from scripts.lab.truth import most

Event = tuple[int, int]
"""A time, and the number of a name."""

Row = tuple[int, ...]
"""The places of the events of a sequence."""

LATER = 10**15


def columns(keys: Sequence[Sequence[Event]]) -> Events:
    flat = [event for events in keys for event in events]
    times, kinds = (np.array([event[at] for event in flat]) for at in (0, 1))
    return Events(np.cumsum([0, *map(len, keys)]), times.astype(np.int64), kinds.astype(np.int8))


def rows_of(keys: Sequence[Sequence[Event]], pattern: Sequence[int], within: int) -> list[list[tuple[Row, int]]]:
    """Return for each key, whose events are in order, the rows with the step of their first event."""
    events = columns(keys)
    found = match(events, pattern=pattern, within=within, watermark=LATER)
    assert sorted(found.rows[found.rows != ABSENT].tolist()) == list(range(events.times.size)), "every event is in one row"
    assert found.final.all()
    rows: list[list[tuple[Row, int]]] = [[] for _ in keys]
    owners = np.searchsorted(events.offsets, found.rows.max(axis=1), side="right") - 1
    for owner, row in zip(owners.tolist(), found.rows.tolist(), strict=True):
        low = int(events.offsets[owner])
        steps = [step for step, place in enumerate(row) if place != ABSENT]
        rows[owner].append((tuple(row[step] - low for step in steps), steps[0]))
    return rows


def most_apart(events: Sequence[Event], places: Sequence[int], pattern: Sequence[int], within: int) -> int:
    """Return the largest number of sequences of which each begins behind the end of another one, by trying all choices."""
    spans = {
        (chosen[0], chosen[-1])
        for chosen in itertools.combinations(places, len(pattern))
        if [events[place][1] for place in chosen] == list(pattern) and events[chosen[-1]][0] - events[chosen[0]][0] <= within
    }

    @cache
    def best(start: int) -> int:
        return max((1 + best(last + 1) for first, last in spans if first >= start), default=0)

    return best(0)


def assert_right(
    rows: list[tuple[Row, int]], events: Sequence[Event], places: Sequence[int], pattern: Sequence[int], within: int
) -> None:
    """Assert that the rows of the events at `places` are the best of all choices for each length."""
    if not pattern:
        assert sorted(rows) == sorted(((place,), events[place][1]) for place in places)
        return
    own = sorted(row for row, first in rows if first == 0 and len(row) == len(pattern))
    for row in own:
        assert [events[place][1] for place in row] == list(pattern)
        assert list(row) == sorted(row)
        assert events[row[-1]][0] - events[row[0]][0] <= within
    shorter, parts = pattern[:-1], [list(places)]
    if len(set(pattern)) == len(pattern):
        assert len(own) == most([events[place] for place in places if events[place][1] < len(pattern)], len(pattern), within)
    else:
        assert len(own) == most_apart(events, places, pattern, within)
        ends = [row[-1] for row in own]
        parts = [[place for place in places if low < place <= high] for low, high in itertools.pairwise([-1, *ends, LATER])]
    used = {place for row in own for place in row}
    left = [(row, first) for row, first in rows if not (first == 0 and len(row) == len(pattern))]
    for part in parts:
        inside = [each for each in left if set(each[0]) & set(part)]
        assert all(set(row) <= set(part) for row, _ in inside), "what a sequence spans is decided with it"
        assert_right(inside, events, [place for place in part if place not in used], shorter, within)


@st.composite
def patterns(draw: st.DrawFn) -> list[int]:
    """Draw the steps: each is the first step with its name, and two have the same one."""
    names = draw(st.lists(st.integers(0, 4), min_size=2, max_size=8).filter(lambda names: len(set(names)) < len(names)))
    return [names.index(name) for name in names]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[list[Event]], int]:
    pattern = draw(patterns())
    kinds = sorted(set(pattern))
    last = draw(st.integers(1, 20))
    event = st.tuples(st.integers(0, last), st.sampled_from(kinds))
    walked = st.lists(st.integers(0, 3), max_size=9).map(
        lambda gaps: [(time, pattern[place % len(pattern)]) for place, time in enumerate(itertools.accumulate(gaps))]
    )
    keys = draw(st.lists(st.one_of(st.lists(event, max_size=9), walked).filter(len).map(sorted), min_size=1, max_size=3))
    return pattern, keys, draw(st.integers(0, last + 1))


@given(cases())
def test_each_length_is_the_best_of_all_choices(case: tuple[list[int], list[list[Event]], int]):
    pattern, keys, within = case
    for events, rows in zip(keys, rows_of(keys, pattern, within), strict=True):
        assert_right(rows, events, range(len(events)), pattern, within)


@pytest.mark.parametrize("pattern", [[0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
def test_every_small_case_is_the_best_of_all_choices(pattern: list[int]):
    kinds = list(itertools.product(range(4), sorted(set(pattern))))
    keys = [list(each) for size in range(1, 5) for each in itertools.combinations_with_replacement(kinds, size)]
    for within in range(4):
        for events, rows in zip(keys, rows_of(keys, pattern, within), strict=True):
            assert_right(rows, events, range(len(events)), pattern, within)


@given(patterns(), st.integers(0, 10**6))
def test_final_rows_are_those_of_the_whole_whatever_comes(pattern: list[int], seed: int):
    """Events come in order of time. Events of final rows are forgotten, and all others are matched again."""
    chance = random.Random(seed)
    within, step_of_time = chance.randrange(20), chance.choice([0.2, 1, 4])
    kinds = sorted(set(pattern))
    time, events = 0.0, list[Event]()
    for _ in range(chance.randrange(1, 60)):
        time += chance.expovariate(1 / step_of_time)
        events.append((int(time), chance.choice(kinds)))
    done: Counter[tuple[Event, ...]] = Counter()
    held: list[Event] = []
    came, left = 0, sorted(events)
    while left or held:
        watermark = chance.randrange(came, came + 10) if left else LATER
        size = sum(event[0] < watermark for event in left)
        size += chance.randrange(len(left) - size + 1) if left else 0
        held, left, came = sorted(held + left[:size]), left[size:], watermark
        if not held:
            continue
        found = match(columns([held]), pattern=pattern, within=within, watermark=watermark)
        final = found.rows[found.final].tolist()
        done.update(tuple(held[place] for place in row if place != ABSENT) for row in final)
        gone = {place for row in final for place in row}
        held = [event for place, event in enumerate(held) if place not in gone]
        assert all(watermark - event[0] <= len(pattern) * within for event in held), "what is held is bounded by time"
    whole = sorted(events)
    assert done == Counter(tuple(whole[place] for place in row) for row, _ in rows_of([whole], pattern, within)[0])


def test_one_event_is_one_step_and_the_next_sequence_begins_behind_the_last():
    created, paid = 0, 1
    walk = [(1, created), (2, created), (3, paid), (4, paid), (5, created), (6, created), (7, paid), (8, created)]
    (rows,) = rows_of([walk], [created, paid, created], 100)
    assert sorted(rows) == [((0, 2, 4), 0), ((1, 3), 0), ((5, 6, 7), 0)]
