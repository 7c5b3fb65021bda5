"""Slices of sets against the oracle: any arrival, any batches, ties, late events, retirement, and memory."""

import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from actors.columns import column as column_module
from actors.columns.times import NO_TIMES, Times
from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views.sets import slices
from actors.views.sets.arguments import Page
from actors.views.sets.slices import LiveSets
from scripts.lab.truth import greedy
from tests.support.batches import Event, batch
from tests.support.chains import Chain, sets_of


@pytest.fixture(params=["small chunks", "true chunks"])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small chunks":
        monkeypatch.setattr(slices, "CHUNK", 4)
        monkeypatch.setattr(slices, "OPEN_SETS", 8)
        monkeypatch.setattr(column_module, "CHUNK", 8)
        monkeypatch.setattr(column_module, "_SEAL_AT", 24)


def stress(seed: int, *, ordered: bool) -> Iterator[tuple[Chain, list[Event], int]]:
    """Yield a chain after each batch of a random stream, with the events that it has so far."""
    chance = random.Random(seed)
    steps = chance.choice([2, 3, 3, 4])
    spread = chance.choice([5, 30, 400])
    events = [(chance.randrange(spread), chance.randrange(steps)) for _ in range(chance.randrange(1, 150))]
    if ordered:
        events.sort()
    chain = Chain(steps, chance.choice([1, 2, 5, 10**6]) if ordered else 10**6)
    place = 0
    while place < len(events):
        size = chance.randrange(1, 25)
        part = events[place : place + size]
        place += size
        watermark = chance.choice([None, 0, part[-1][0]]) if ordered else None
        chain.add(batch(part, steps), watermark)
        yield chain, events[:place], steps


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(15))
def test_ordered_events_give_the_largest_number_of_sets_with_any_retirements(seed: int):
    for chain, events, steps in stress(seed, ordered=True):
        assert chain.sets() == greedy(events, steps)
        assert chain.bound() == len(greedy(events, steps))
        assert chain.events() == len(events)


@pytest.mark.parametrize("seed", range(15))
def test_events_in_any_order_give_the_same_sets_while_the_tail_is_open(seed: int):
    for chain, events, steps in stress(seed, ordered=False):
        assert chain.sets() == greedy(events, steps)
        assert chain.bound() >= len(greedy(events, steps))
        assert chain.events() == len(events)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(10))
def test_late_events_before_closed_sets_give_valid_disjoint_sets_and_lose_nothing(seed: int):
    chance = random.Random(seed)
    events = [(number, chance.randrange(3)) for number in range(400)]
    arrival = sorted(events, key=lambda event: event[0] + chance.uniform(0, 60))
    chain = Chain(3, chance.choice([7, 50, 10**6]))
    for place in range(0, 400, 20):
        chain.add(batch(arrival[place : place + 20]), arrival[place][0] - 10)
    found = chain.sets()
    assert all(a < b < c for a, b, c in found)
    for step in range(3):
        used = [each[step] for each in found]
        assert len(set(used)) == len(used)
        assert {(time, step) for time in used} <= set(events)
    assert found == sorted(found)
    assert chain.events() == 400
    assert chain.bound() >= len(found)


def test_settle_compresses_one_piece_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slices, "CHUNK", 4)
    live = LiveSets(steps=3, max_sets=100)
    live.add(batch([(time, step) for time in range(12) for step in range(3)]), None)
    frozen, _ = live.freeze()
    for raw in (3, 2, 1):
        assert sum(not piece.is_sealed for piece in frozen._pieces) == raw
        assert frozen.settle() == (raw > 1)
    assert frozen.settle() is False


@pytest.mark.parametrize("counted", [False, True])
def test_a_state_has_whether_the_pending_events_are_counted(counted: bool):
    live = LiveSets(steps=3, max_sets=100)
    live._pending_counted = counted
    assert LiveSets.of_state(live.state(), max_sets=100)._pending_counted is counted


def test_a_limited_read_copies_no_more_than_the_page_needs():
    live = LiveSets(steps=3, max_sets=10**6)
    live.add(batch([(10 * number, number % 3) for number in range(9_000)]), None)
    (piece,) = live.read(EVER, Page(5))
    assert piece.count == 6


def test_shed_takes_dead_events_first_then_the_oldest_and_keeps_the_sets():
    live = LiveSets(steps=3, max_sets=10**6)
    events = [(1, 0), (2, 1), (3, 2), *((4, 2) for _ in range(50)), *((10 + number, 0) for number in range(1_000))]
    live.add(batch(events), None)
    held = live.meta().events
    first, until = live.shed(1)
    assert until is None
    assert set(first) == {"dead_residue"}
    second, until = live.shed(10**6)
    assert until == 1_010
    assert second["dead_residue"] + first["dead_residue"] == 50
    assert second["residue"] > 0
    assert live.meta().events == held - sum(first.values()) - sum(second.values())
    assert sets_of([live.read(EVER, Page())]) == [(1, 2, 3)]


def test_shed_frees_the_requested_bytes_and_not_much_more():
    live, budget = LiveSets(steps=3, max_sets=10**6), 300_000
    for first in range(0, 60_000, 6_000):
        live.add(Batch((np.arange(first, first + 6_000), NO_TIMES, NO_TIMES)), first)
        if (over := live.meta().nbytes - budget) > 0:
            live.shed(over)
            assert live.meta().nbytes <= budget
    assert live.meta().events > 25_000


def test_shed_takes_the_oldest_waiting_events():
    live = LiveSets(steps=3, max_sets=10**6)
    live.add(batch([(number, 0) for number in range(1_000)]), None)
    gone = live.shed(4_000)[0]["residue"]
    assert gone == 500
    live.add(batch([(5_000, 1), (6_000, 2)]), None)
    assert sets_of([live.read(EVER, Page())]) == [(gone, 5_000, 6_000)]


def test_an_add_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    live = LiveSets(steps=3, max_sets=10**6)
    live.add(batch([(1, 0), (5, 1), (9, 0)]), None)
    before = live.meta().events

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(slices, "match", fail)
    with pytest.raises(MemoryError):
        live.add(batch([(4, 1), (6, 2)]), None)
    monkeypatch.undo()
    assert live.meta().events == before
    live.add(batch([(6, 2)]), None)
    assert sets_of([live.read(EVER, Page())]) == [(1, 5, 6)]


def arrivals(seed: int) -> Iterator[tuple[Chain, list[Event]]]:
    """Yield a chain that retires often, after each batch of a stream whose events come up to 40 places late."""
    chance = random.Random(seed)
    events = sorted((chance.randrange(200), chance.randrange(3)) for _ in range(300))
    order = sorted(range(300), key=lambda place: place + chance.uniform(0, chance.choice([0, 5, 40])))
    chain = Chain(3, chance.choice([1, 4, 13, 50]))
    place = 0
    while place < 300:
        size = chance.randrange(1, 30)
        part = [events[number] for number in order[place : place + size]]
        place += size
        chain.add(batch(part), chance.choice([None, 0, part[0][0]]))
        yield chain, [events[number] for number in order[: min(place, 300)]]


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(10))
def test_late_events_across_retirements_lose_nothing_and_never_exceed_the_bound(seed: int):
    for chain, events in arrivals(seed):
        found = chain.sets()
        assert chain.events() == len(events)
        assert len(found) <= len(greedy(events, 3)) <= chain.bound()
        assert all(a <= b <= c for a, b, c in found)
        for step in range(3):
            assert not Counter(each[step] for each in found) - Counter(time for time, own in events if own == step)
        for frozen in chain.frozen:
            assert frozen.meta().summary.sets == chain.live._max_sets


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(12))
def test_any_span_has_the_sets_whose_first_time_lies_in_it(seed: int):
    *_, (chain, events, steps) = stress(seed, ordered=True)
    every = greedy(events, steps)
    for start in range(-1, 32, 3):
        for end in (start, start + 1, start + 7, 500):
            assert chain.sets(Span(start, end)) == [each for each in every if start <= each[0] < end]


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("seed", range(15))
def test_shed_events_are_counted_and_later_events_still_match(seed: int):
    chance, gone, count = random.Random(seed), Counter(), 0
    chain = Chain(3, chance.choice([5, 10**6]))
    for step in range(25):
        events = [(10 * step + chance.randrange(10), chance.choice([0, 0, 1, 2, 2])) for _ in range(chance.randrange(40))]
        chain.add(batch(events), None)
        count += len(events)
        before = chain.sets()
        if chance.random() < 0.5:
            dead, waiting = sum(map(len, chain.live._dead)), sum(chain.live._waiting)
            forgotten, until = chain.live.shed(chance.choice([1, 100, 10**6]))
            assert forgotten.get("dead_residue", 0) <= dead
            assert forgotten.get("residue", 0) <= waiting
            assert (until is not None) == ("residue" in forgotten)
            assert "residue" not in forgotten or sum(map(len, chain.live._dead)) == 0
            gone.update(forgotten)
        assert chain.sets() == before
        assert chain.events() == count - gone.total()
        assert chain.bound() >= len(before)
    assert gone.total()


def test_shedding_more_than_the_slice_has_forgets_all_waiting_events_and_no_set():
    live = LiveSets(steps=3, max_sets=10**6)
    live.add(batch([(1, 0), (2, 1), (3, 2), (4, 0), (5, 0), (6, 1), (7, 0)]), None)
    assert live.shed(10**9) == ({"residue": 4}, 8)
    assert live.shed(10**9) == ({}, None)
    assert (sum(live._waiting), live.meta().events, live.meta().summary.residue) == (0, 3, 0)


def test_before_the_final_time_late_events_add_sets_and_change_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slices, "CHUNK", 4)
    monkeypatch.setattr(slices, "OPEN_SETS", 8)
    live = LiveSets(steps=3, max_sets=10**6)
    for number in range(40):
        live.add(batch([(100 + 10 * number + step, step) for step in range(3)]), None)
    final = Span(0, live.meta().final_until or 0)
    before = sets_of([live.read(final, Page())], final)
    assert before
    for late in range(5):
        live.add(batch([(50 + late, 0), (51 + late, 1), (52 + late, 2), (141 + late, 2)]), None)
        after = sets_of([live.read(final, Page())], final)
        assert not Counter(before) - Counter(after)
        assert len(after) >= len(before)
        before = after
    assert (50, 51, 52) in before


@pytest.mark.parametrize("failing", ["too few columns", "no memory for the proof", "no memory for the last column"])
def test_an_add_that_fails_late_changes_nothing(failing: str, monkeypatch: pytest.MonkeyPatch):
    live = LiveSets(steps=3, max_sets=10**6)
    live.add(batch([(1, 0), (5, 1), (9, 0), (12, 2), (13, 1)]), None)
    held, shown = live.meta().events, sets_of([live.read(Span(0, 100), Page())], Span(0, 100))
    bound = live.meta().summary.proof.bound

    def fail(*_: object) -> None:
        raise MemoryError

    if failing == "no memory for the proof":
        monkeypatch.setattr(live._prover.__class__, "add", fail)
    if failing == "no memory for the last column":
        replace_from, calls = column_module.Column.replace_from, []

        def fail_at_the_sixth(column: column_module.Column, time: int, values: Times) -> None:
            calls.append(time)
            if len(calls) == 6:
                raise MemoryError
            replace_from(column, time, values)

        monkeypatch.setattr(column_module.Column, "replace_from", fail_at_the_sixth)
    with pytest.raises((MemoryError, ValueError)):
        live.add(batch([(10, 0), (10, 1), (10, 2)], 2 if failing == "too few columns" else 3), None)
    monkeypatch.undo()
    assert live.meta().events == held
    assert sets_of([live.read(Span(0, 100), Page())], Span(0, 100)) == shown
    assert live.meta().summary.proof.bound == bound
