"""The oracle of sets against itself: three plain ways to compute the same number."""

from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.truth import brute, greedy, min_cut

events = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=13)


@given(events)
def test_all_matchings_the_greedy_one_and_the_min_cut_agree(given_events: list[tuple[int, int]]):
    assert brute(given_events, 3) == len(greedy(given_events, 3)) == min_cut(given_events)


@given(
    st.integers(2, 4).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, 9), st.integers(0, n - 1)), max_size=12))
    )
)
def test_the_greedy_is_the_maximum_for_any_number_of_steps(case: tuple[int, list[tuple[int, int]]]):
    steps, given_events = case
    assert brute(given_events, steps) == len(greedy(given_events, steps))
