"""The matching of a funnel is the best of all choices, and final rows stay as they are. The oracles share no code with it."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.views.funnel import matching
from actors.views.funnel.matching import ABSENT, Events, match
from scripts.lab.truth import most

Event = tuple[int, int]
"""A time and a step."""

LATER = 10**15
"""A watermark behind all events and limits."""


def columns(keys: Sequence[Sequence[Event]]) -> Events:
    ordered = [sorted(events) for events in keys if events]
    flat = list(itertools.chain.from_iterable(ordered))
    return Events(
        np.cumsum([0, *map(len, ordered)]),
        np.array([time for time, _ in flat], np.int64),
        np.array([step for _, step in flat], np.int8),
    )


def sequences(
    keys: Sequence[Sequence[Event]], steps: int, within: int, watermark: int = LATER
) -> list[Counter[tuple[Event, ...]]]:
    """Return the rows of each key as tuples of events."""
    events = columns(keys)
    found = match(events, pattern=range(steps), within=within, watermark=watermark)
    places = found.rows[found.rows != ABSENT]
    assert sorted(places.tolist()) == list(range(events.times.size)), "every event is in one row"
    owners = np.searchsorted(events.offsets, found.rows.max(axis=1), side="right") - 1
    rows: list[Counter[tuple[Event, ...]]] = [Counter() for _ in keys]
    numbers = [number for number, own in enumerate(keys) if own]
    for owner, row in zip(owners.tolist(), found.rows.tolist(), strict=True):
        own = tuple((int(events.times[place]), int(events.steps[place])) for place in row if place != ABSENT)
        rows[numbers[owner]][own] += 1
    return rows


def of_length(rows: Counter[tuple[Event, ...]], length: int) -> int:
    return sum(count for row, count in rows.items() if len(row) == length and row[0][1] == 0)


def assert_right(rows: Counter[tuple[Event, ...]], events: Sequence[Event], steps: int, within: int) -> None:
    for row in rows:
        assert list(row) == sorted(row)
        assert row[-1][0] - row[0][0] <= within
        assert [step for _, step in row] == list(range(len(row))) or (len(row) == 1 and row[0][1] > 0)
    left = Counter(events)
    for length in range(steps, 0, -1):
        assert of_length(rows, length) == most([each for each in left.elements() if each[1] < length], length, within)
        for row, count in rows.items():
            if len(row) == length and row[0][1] == 0:
                left -= Counter({event: count * own for event, own in Counter(row).items()})


@pytest.mark.parametrize(("steps", "last", "count"), [(2, 4, 5), (3, 3, 5), (4, 2, 5)])
def test_every_small_case_is_the_best_of_all_choices(steps: int, last: int, count: int):
    kinds = list(itertools.product(range(last + 1), range(steps)))
    keys = [each for size in range(1, count + 1) for each in itertools.combinations_with_replacement(kinds, size)]
    for within in range(last + 1):
        for events, rows in zip(keys, sequences(keys, steps, within), strict=True):
            assert of_length(rows, steps) == most(events, steps, within)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[Event]], int, int]:
    steps = draw(st.integers(2, 8))
    last = draw(st.integers(1, 30))
    event = st.tuples(st.integers(0, last), st.integers(0, steps - 1))
    walked = st.lists(st.integers(0, 3), max_size=10).map(
        lambda gaps: [(time, place % steps) for place, time in enumerate(itertools.accumulate(gaps))]
    )
    keys = draw(st.lists(st.one_of(st.lists(event, max_size=10), walked), min_size=1, max_size=4))
    return keys, steps, draw(st.integers(0, last + 1))


@given(cases())
def test_each_level_is_the_best_of_all_choices(case: tuple[list[list[Event]], int, int]):
    keys, steps, within = case
    for events, rows in zip(keys, sequences(keys, steps, within), strict=True):
        assert_right(rows, events, steps, within)


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_keys_alone_among_others_and_by_rounds_are_matched_alike(seed: int, few: int):
    chance = random.Random(seed)
    steps, within = chance.randrange(2, 5), chance.randrange(30)
    keys = [[(chance.randrange(60), chance.randrange(steps)) for _ in range(chance.randrange(1, 30))] for _ in range(30)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_FEW", few)
        together = sequences(keys, steps, within)
    assert together == [sequences([events], steps, within)[0] for events in keys]


@given(st.integers(0, 10**6))
def test_final_rows_are_those_of_the_whole_whatever_comes(seed: int):
    """Events come in order of time. Events of final rows are forgotten, and all others are matched again."""
    chance = random.Random(seed)
    steps, within, step_of_time = chance.randrange(2, 6), chance.randrange(20), chance.choice([0.2, 1, 4])
    time, events = 0.0, list[Event]()
    for _ in range(chance.randrange(1, 60)):
        time += chance.expovariate(1 / step_of_time)
        events.append((int(time), chance.randrange(steps)))
    done: Counter[tuple[Event, ...]] = Counter()
    held: list[Event] = []
    came, left = 0, sorted(events)
    while left or held:
        watermark = chance.randrange(came, came + 10) if left else LATER
        size = sum(event[0] < watermark for event in left)
        size += chance.randrange(len(left) - size + 1) if left else 0
        held += left[:size]
        left, came = left[size:], watermark
        if not held:
            continue
        held.sort()
        found = match(columns([held]), pattern=range(steps), within=within, watermark=watermark)
        for row in found.rows[found.final].tolist():
            done[tuple(held[place] for place in row if place != ABSENT)] += 1
        gone = {place for row in found.rows[found.final].tolist() for place in row}
        held = [event for place, event in enumerate(held) if place not in gone]
        assert all(watermark - event[0] <= steps * within for event in held), "what is held is bounded by time"
    assert done == sequences([events], steps, within)[0]
