"""The bound of sets against the cheapest cut, and the laws of its algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.timeline.batch import Batch
from actors.views.sets import bound as module
from actors.views.sets.bound import Proof, Prover, identity, matrix, product
from scripts.lab.truth import brute, greedy, min_cut
from tests.support.batches import Event, batch
from tests.support.trees import kept

FAR = 2**60


def streams(most: int) -> st.SearchStrategy[tuple[int, list[Event]]]:
    return st.integers(2, 4).flatmap(
        lambda steps: st.tuples(
            st.just(steps), st.lists(st.tuples(st.integers(0, 12), st.integers(0, steps - 1)), max_size=most)
        )
    )


def cheapest_cuts(events: list[Event], steps: int) -> list[list[int]]:
    """Return, for each first and last part, the smallest number of events whose step is the part that they lie in."""
    result = []
    for first in range(steps):
        cost = [0 if part >= first else FAR for part in range(steps)]
        for _, step in sorted(events):
            cost[step] += 1
            cost = [min(cost[: part + 1]) for part in range(steps)]
        result.append(cost)
    return result


def costs(given_matrix: np.ndarray) -> list[list[int]]:
    return [[min(cell, FAR) for cell in row] for row in given_matrix.tolist()]


@given(streams(30))
def test_a_cell_is_the_cheapest_cut_from_its_first_to_its_last_part(case: tuple[int, list[Event]]):
    steps, events = case
    wanted = [[min(cell, FAR) for cell in row] for row in cheapest_cuts(events, steps)]
    assert costs(matrix(batch(events, steps))) == wanted


@given(streams(12))
def test_the_bound_of_ordered_events_is_the_number_of_sets_of_the_best_matching(case: tuple[int, list[Event]]):
    steps, events = case
    assert Proof(matrix(batch(events, steps))).bound == brute(events, steps)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=30))
def test_the_bound_of_three_steps_is_the_min_cut_formula(events: list[Event]):
    assert Proof(matrix(batch(events, 3))).bound == min_cut(events)


@given(streams(30), st.integers(0, 13), st.integers(0, 13))
def test_runs_compose_by_the_product_in_any_grouping_with_an_identity(case: tuple[int, list[Event]], one: int, other: int):
    steps, events = case
    whole = batch(events, steps)
    early, rest = whole.split(min(one, other))
    middle, late = rest.split(max(one, other))
    a, b, c = matrix(early), matrix(middle), matrix(late)
    left, right = product(product(a, b), c), product(a, product(b, c))
    assert costs(left) == costs(right) == costs(matrix(whole))
    assert costs(product(identity(steps), a)) == costs(product(a, identity(steps))) == costs(a)


@pytest.mark.parametrize("pending_limit", [3, 131_072])
@given(streams(40), st.data())
def test_a_prover_of_ordered_batches_is_exact_for_any_watermark(
    pending_limit: int, case: tuple[int, list[Event]], data: st.DataObject
):
    steps, events = case
    events = sorted(events)
    prover, place = Prover(steps), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PENDING_LIMIT", pending_limit)
        while place < len(events):
            size = data.draw(st.integers(1, 12))
            prover.add(batch(events[place : place + size], steps), data.draw(st.none() | st.integers(0, events[place][0])))
            place += size
            assert prover.proof().bound == len(greedy(events[:place], steps))


@given(streams(40), st.data())
def test_a_prover_of_unordered_events_is_exact_if_none_is_before_the_watermark(
    case: tuple[int, list[Event]], data: st.DataObject
):
    steps, events = case
    prover, place = Prover(steps), 0
    while place < len(events):
        size = data.draw(st.integers(1, 12))
        rest = min(time for time, _ in events[place:])
        prover.add(batch(events[place : place + size], steps), data.draw(st.none() | st.integers(0, rest)))
        place += size
    assert prover.proof().late == 0
    assert prover.proof().bound == len(greedy(events, steps))


@pytest.mark.parametrize("pending_limit", [3, 131_072])
@given(streams(40), st.data())
def test_a_late_event_never_makes_the_bound_too_low(pending_limit: int, case: tuple[int, list[Event]], data: st.DataObject):
    steps, events = case
    proofs, prover, place = [], Prover(steps), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PENDING_LIMIT", pending_limit)
        while place < len(events):
            size = data.draw(st.integers(1, 12))
            prover.add(batch(events[place : place + size], steps), data.draw(st.none() | st.integers(0, 14)))
            place += size
            if data.draw(st.booleans()):
                proof, prover = prover.close(data.draw(st.none() | st.integers(0, 14)))
                proofs.append(proof)
    total = Proof(identity(steps))
    for proof in (*proofs, prover.proof()):
        before, total = total, total.then(Proof.of_state(kept(proof.state())))
        assert total.bound >= before.bound
    assert total.bound >= len(greedy(events, steps))
    assert total.bound <= min(sum(step == each for _, each in events) for step in range(steps))
    assert total.late == sum(total.late_by_step) <= len(events)
    older = Proof.of_state({"matrix": total.matrix, "late": total.late})
    assert total.bound <= older.bound <= int(total.matrix[0, -1]) + total.late


@given(streams(40), st.integers(0, 13), st.integers(0, 14))
def test_a_closed_slice_and_its_successor_have_the_bound_of_one_slice(case: tuple[int, list[Event]], cut: int, watermark: int):
    steps, events = case
    prover = Prover(steps)
    early = [event for event in events if event[0] < cut]
    prover.add(batch(early, steps), min(watermark, cut))
    proof, successor = prover.close(max((time for time, _ in early), default=None))
    assert proof.bound == len(greedy(early, steps))
    successor.add(batch([event for event in events if event[0] >= cut], steps), None)
    assert proof.then(successor.proof()).bound == len(greedy(events, steps))


def test_an_event_of_an_earlier_step_at_a_settled_time_is_late():
    prover = Prover(3)
    prover.add(batch([(5, 1)], 3), 6)
    prover.add(batch([(5, 0), (6, 2)], 3), None)
    assert (prover.proof().bound, prover.proof().late) == (1, 1)
    prover.add(batch([(6, 2)], 3), 7)
    prover.add(batch([(6, 2)], 3), 7)
    assert prover.proof().late == 1


def test_the_bound_of_fifty_reds_is_never_above_fifty():
    chance = np.random.default_rng(3)
    for _ in range(20):
        prover, events = Prover(3), [(10 * number, number % 3) for number in range(150)]
        shuffled = [events[place] for place in chance.permutation(150)]
        for place in range(0, 150, 10):
            prover.add(batch(shuffled[place : place + 10], 3), shuffled[place][0])
        assert prover.proof().late > 0
        assert len(greedy(events, 3)) == 50 == prover.proof().bound


def test_events_that_wait_for_the_watermark_are_counted_in_bytes():
    prover = Prover(3)
    prover.add(batch([(time, time % 3) for time in range(30)], 3), 10)
    assert prover.nbytes == 8 * 20
    prover.add(Batch.empty(3), 30)
    assert prover.nbytes == 0
