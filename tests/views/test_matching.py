"""The matching on columns against queues that serve one event at a time."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.views.sets.matching import match
from scripts.lab.truth import brute
from tests.support.batches import Event, batch

cases = st.integers(2, 4).flatmap(
    lambda steps: st.tuples(
        st.lists(st.integers(0, 5), min_size=steps - 1, max_size=steps - 1),
        st.lists(st.tuples(st.integers(0, 15), st.integers(0, steps - 1)), max_size=40),
    )
)


def served(waiting: list[int], events: list[Event]) -> tuple[list[list[int]], list[list[int]]]:
    queues = [*waiting, 0]
    taken, dead = [[] for _ in queues], [[] for _ in queues]
    for time, step in sorted(events):
        if step and not queues[step - 1]:
            dead[step].append(time)
            continue
        if step:
            queues[step - 1] -= 1
        queues[step] += 1
        taken[step].append(time)
    return taken, dead


def lists(columns: list[np.ndarray]) -> list[list[int]]:
    return [column.tolist() for column in columns]


@given(cases)
def test_each_event_takes_the_oldest_waiting_event_or_is_dead(case: tuple[list[int], list[Event]]):
    waiting, events = case
    matched = match(waiting, batch(events, len(waiting) + 1))
    taken, dead = served(waiting, events)
    assert lists(matched.taken) == taken
    assert lists(matched.dead) == dead


@given(cases, st.integers(0, 16))
def test_two_parts_of_a_batch_match_like_the_whole(case: tuple[list[int], list[Event]], cut: int):
    waiting, events = case
    whole = batch(events, len(waiting) + 1)
    early, late = whole.split(cut)
    first = match(waiting, early)
    between = [before + first.taken[step].size - first.taken[step + 1].size for step, before in enumerate(waiting)]
    second = match(between, late)
    together = match(waiting, whole)
    for one, other, both in zip(first.taken, second.taken, together.taken, strict=True):
        assert one.tolist() + other.tolist() == both.tolist()
    for one, other, both in zip(first.dead, second.dead, together.dead, strict=True):
        assert one.tolist() + other.tolist() == both.tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=12))
def test_the_number_of_sets_is_the_largest_possible(events: list[Event]):
    matched = match([0, 0], batch(events, 3))
    assert matched.taken[-1].size == brute(events, 3)
    for earlier, later in zip(matched.taken, matched.taken[1:], strict=False):
        assert np.all(earlier[: later.size] <= later)


@pytest.mark.parametrize("seed", range(8))
def test_long_random_batches_match_like_the_queues(seed: int):
    chance = random.Random(seed)
    steps = chance.choice([2, 3, 5])
    waiting = [chance.choice([0, 0, 50]) for _ in range(steps - 1)]
    weights = [chance.random() + 0.05 for _ in range(steps)]
    spread = chance.choice([10, 10_000])
    events = [(chance.randrange(spread), chance.choices(range(steps), weights)[0]) for _ in range(3_000)]
    matched = match(waiting, batch(events, steps))
    assert (lists(matched.taken), lists(matched.dead)) == served(waiting, events)
