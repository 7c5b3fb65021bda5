"""The cases of the exercise from which Firnline started."""

import pytest

from actors.timeline.span import Span
from tests.support.batches import Event, batch
from tests.views.test_slices import Chain

T = 1_685_695_916_000


def sets(*batches: list[Event]) -> tuple[list[tuple[int, ...]], Chain]:
    chain = Chain(3, 10**6)
    for events in batches:
        chain.add(batch(events), None)
    return chain.sets(), chain


def test_one_red_one_green_one_blue_make_a_set():
    assert sets([(1, 0), (2, 1), (3, 2)])[0] == [(1, 2, 3)]


def test_three_events_at_one_time_make_a_set():
    assert sets([(5, 2)], [(5, 0)], [(5, 1)])[0] == [(5, 5, 5)]


def test_a_burst_of_each_colour_in_turn_makes_ten_thousand_sets():
    bursts = [[(T + 10_000 * colour + number, colour) for number in range(10_000)] for colour in range(3)]
    assert len(sets(*bursts)[0]) == 10_000


def test_green_and_blue_before_their_red_by_time_make_no_set():
    assert sets([(1, 1), (2, 2)], [(3, 0)])[0] == []


def test_green_blue_red_in_that_arrival_with_valid_times_make_a_set():
    assert sets([(2, 1)], [(3, 2)], [(1, 0)])[0] == [(1, 2, 3)]


def test_a_hundred_reds_then_the_blues_then_the_greens_leave_no_residue():
    found, chain = sets([(n, 0) for n in range(1, 101)], [(300 + n, 2) for n in range(100)], [(200 + n, 1) for n in range(100)])
    assert len(found) == 100
    assert chain.live.meta().summary.residue == 0


def test_only_red_makes_no_set_and_keeps_every_red():
    found, chain = sets([(n, 0) for n in range(5_000)])
    assert found == []
    assert chain.live.meta().summary.residue == 5_000


def test_a_second_of_sets_every_ten_milliseconds_holds_exactly_a_hundred():
    _, chain = sets([(T + 10 * number + step, step) for number in range(1_000) for step in range(3)])
    found = chain.sets(Span(T + 5_000, T + 6_000))
    assert len(found) == 100
    assert (found[0][0], found[-1][0]) == (T + 5_000, T + 5_990)


@pytest.mark.parametrize("cut", [1, 10, 29, 300])
def test_a_full_slice_is_frozen_with_its_span_and_its_successor_takes_later_batches(cut: int):
    chain = Chain(3, 10)
    events = [(10 * number, number % 3) for number in range(75)]
    for place in range(0, 75, cut):
        chain.add(batch(events[place : place + cut]), None)
    assert [frozen.meta().span for frozen in chain.frozen] == [Span(0, 271), Span(300, 571)]
    assert chain.live.meta().span == Span(600, 721)
    assert [each.meta().summary.sets for each in (*chain.frozen, chain.live)] == [10, 10, 5]
