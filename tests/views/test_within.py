"""Sets with a limit against all choices and a plain oracle: any batches, ties, late events, retirement, restarts, and memory."""

import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns import column as column_module
from actors.columns.column import Column
from actors.columns.times import Times
from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views.sets import slices
from actors.views.sets.arguments import Page
from actors.views.sets.view import SetsView
from actors.views.sets.within import pairing
from actors.views.sets.within import slices as timed
from actors.views.sets.within.pairing import pair
from actors.views.sets.within.slices import TimedSets
from scripts.lab.truth import limited, most
from tests.support.batches import Event, batch
from tests.support.chains import Chain, sets_of
from tests.support.trees import kept


@pytest.fixture(params=["small chunks", "true chunks"])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small chunks":
        for module in (slices, timed):
            monkeypatch.setattr(module, "CHUNK", 4)
            monkeypatch.setattr(module, "OPEN_SETS", 8)
        monkeypatch.setattr(column_module, "CHUNK", 8)
        monkeypatch.setattr(column_module, "_SEAL_AT", 24)


def paired(columns: Batch, within: int) -> list[tuple[int, ...]]:
    rows = pair(columns.times, within).rows
    return list(zip(*(own[row].tolist() for own, row in zip(columns.times, rows, strict=True)), strict=True))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Event], int, int]:
    steps = draw(st.integers(2, 8))
    last = draw(st.integers(1, 30))
    event = st.tuples(st.integers(0, last), st.integers(0, steps - 1))
    return draw(st.lists(event, max_size=12)), steps, draw(st.integers(0, last + 1))


@given(cases())
def test_no_choice_has_more_sets(case: tuple[list[Event], int, int]):
    events, steps, within = case
    found = paired(batch(events, steps), within)
    assert found == limited(events, steps, within)
    assert len(found) == most(events, steps, within)


@given(st.integers(0, 10**9))
def test_blocks_of_events_give_the_sets_of_one_by_one(seed: int):
    chance = random.Random(seed)
    steps, spread = chance.randrange(2, 6), chance.choice([20, 200, 2_000])
    counts = [chance.randrange(1, 200) for _ in range(steps)]
    events = [(chance.randrange(spread), step) for step, count in enumerate(counts) for _ in range(count)]
    within = chance.randrange(spread) // chance.choice([1, 4, 20])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "_FEW", chance.choice([1, 48]))
        patch.setattr(pairing, "_LEAST_BLOCKS", chance.choice([1, 2, 16]))
        patch.setattr(pairing, "_PASSES", chance.choice([1, 2, 6]))
        assert paired(batch(events, steps), within) == limited(events, steps, within)


def stress(seed: int, *, ordered: bool) -> Iterator[tuple[Chain, list[Event], int, int]]:
    """Yield a chain after each batch of a random stream, with the events that it has so far, the steps and the limit."""
    chance = random.Random(seed)
    steps = chance.choice([2, 3, 3, 4])
    spread = chance.choice([5, 30, 400])
    within = chance.randrange(spread) // chance.choice([1, 3, 20])
    events = [(chance.randrange(spread), chance.randrange(steps)) for _ in range(chance.randrange(1, 200))]
    if ordered:
        events.sort()
    chain = Chain(steps, chance.choice([1, 2, 5, 10**6]) if ordered else 10**6, within)
    place = 0
    while place < len(events):
        size = chance.randrange(1, 25)
        part = events[place : place + size]
        place += size
        watermark = chance.choice([None, 0, part[-1][0]]) if ordered else None
        chain.add(batch(part, steps), watermark)
        if chance.random() < 0.2:
            chain.live = chain.view.revive(kept(chain.live.state()))
        yield chain, events[:place], steps, within


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(12))
def test_ordered_events_give_the_largest_number_of_sets_with_any_retirements(seed: int):
    for chain, events, steps, within in stress(seed, ordered=True):
        assert chain.sets() == limited(events, steps, within)
        assert chain.bound() == len(limited(events, steps, within))
        assert chain.events() == len(events)


@pytest.mark.parametrize("seed", range(12))
def test_events_in_any_order_give_the_same_sets_while_the_tail_is_open(seed: int):
    for chain, events, steps, within in stress(seed, ordered=False):
        assert chain.sets() == limited(events, steps, within)
        assert chain.bound() == len(limited(events, steps, within))
        assert chain.events() == len(events)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(12))
def test_late_events_across_retirements_lose_nothing_and_never_exceed_the_bound(seed: int):
    chance = random.Random(seed)
    steps, within = chance.randrange(2, 5), chance.choice([3, 20, 100])
    events = sorted((chance.randrange(200), chance.randrange(steps)) for _ in range(300))
    order = sorted(range(300), key=lambda place: place + chance.uniform(0, chance.choice([0, 5, 40])))
    chain = Chain(steps, chance.choice([1, 4, 13, 50, 10**6]), within)
    for place in range(0, 300, 20):
        chain.add(batch([events[number] for number in order[place : place + 20]], steps), chance.choice([None, 0]))
        came = [events[number] for number in order[: place + 20]]
        found = chain.sets()
        assert chain.events() == len(came)
        assert len(found) <= len(limited(came, steps, within)) <= chain.bound()
        assert all(list(each) == sorted(each) and each[-1] - each[0] <= within for each in found)
        for step in range(steps):
            assert not Counter(each[step] for each in found) - Counter(time for time, own in came if own == step)


@pytest.mark.parametrize("seed", range(10))
def test_shed_events_are_counted_and_the_bound_holds(seed: int):
    chance, gone = random.Random(seed), Counter[str]()
    chain, events = Chain(3, chance.choice([5, 10**6]), 25), list[Event]()
    for step in range(25):
        new = [(10 * step + chance.randrange(10), chance.choice([0, 0, 1, 2, 2])) for _ in range(chance.randrange(40))]
        events += new
        chain.add(batch(new), None)
        before = chain.sets()
        if chance.random() < 0.5:
            forgotten, until = chain.live.shed(chance.choice([1, 100, 10**6]))
            assert (until is not None) == ("residue" in forgotten)
            gone.update(forgotten)
        assert chain.sets() == before
        assert chain.events() == len(events) - gone.total()
        assert chain.bound() >= len(limited(events, 3, 25))
    assert gone.total()


def test_an_event_waits_until_its_limit_is_over_and_is_then_dead():
    live = TimedSets(steps=2, max_sets=100, within=10)
    live.add(batch([(0, 0), (5, 0)], 2), None)
    assert (sum(live._waiting), live.meta().dead_bytes) == (2, 0)
    live.add(batch([(11, 0)], 2), None)
    assert sum(live._waiting) == 2
    assert live.meta().dead_bytes > 0
    live.add(batch([(10, 1)], 2), None)  # late: it makes a set of the dead event
    assert sets_of([live.read(EVER, Page())]) == [(0, 10)]


def test_without_dead_events_a_budget_takes_the_oldest_waiting_ones():
    live = TimedSets(steps=3, max_sets=100, within=10**6)
    live.add(batch([(number, 0) for number in range(1_000)]), None)
    gone, until = live.shed(4_000)
    assert gone == {"residue": 500}
    assert until == 500
    live.add(batch([(5_000, 1), (6_000, 2)]), None)
    assert sets_of([live.read(EVER, Page())]) == [(500, 5_000, 6_000)]


@pytest.mark.parametrize("failing", range(9))
def test_an_add_that_fails_changes_nothing(failing: int, monkeypatch: pytest.MonkeyPatch):
    live = TimedSets(steps=3, max_sets=10**6, within=6)
    live.add(batch([(1, 0), (5, 1), (5, 2), (9, 0), (10, 1), (12, 2), (13, 1), (30, 0)]), None)
    state, extend, calls = kept(live.state()), Column.extend, []

    def fail_once(column: Column, values: Times) -> None:
        calls.append(values)
        if len(calls) == failing + 1:
            raise MemoryError
        extend(column, values)

    monkeypatch.setattr(Column, "extend", fail_once)
    with pytest.raises(MemoryError):
        live.add(batch([(4, 0), (11, 1), (11, 2), (31, 0)]), None)
    monkeypatch.undo()
    after = kept(live.state())
    assert repr(after) == repr(state)


def test_a_slice_of_another_kind_is_refused():
    plain, within = (SetsView(steps=["A", "B"], max_sets=10, within=each) for each in (None, 5))
    for one, other in ((plain, within), (within, plain)):
        with pytest.raises(ValueError, match="a limit"):
            one.revive(kept(other.open(None).state()))


def test_any_span_has_the_sets_whose_first_time_lies_in_it():
    *_, (chain, events, steps, within) = stress(3, ordered=True)
    every = limited(events, steps, within)
    for start in range(-1, 32, 3):
        for end in (start, start + 1, start + 7, 500):
            assert chain.sets(Span(start, end)) == [each for each in every if start <= each[0] < end]


def test_a_batch_draws_no_more_of_the_waiting_events_than_it_can_pass(monkeypatch: pytest.MonkeyPatch):
    live = TimedSets(steps=2, max_sets=10**6, within=10**9)
    live.add(Batch((np.arange(200_000), np.empty(0, np.int64))), None)
    sizes = []
    monkeypatch.setattr(timed, "pair", lambda times, within: (sizes.append(times[0].size), pair(times, within))[1])
    live.add(batch([(200_000, 1), (200_001, 1)], 2), None)
    assert sizes == [3]
    assert sets_of([live.read(EVER, Page())]) == [(0, 200_000), (1, 200_001)]
