"""The emergency brake: it drops generations at the second excess, at most its share, and pauses if that frees nothing."""

from hypothesis import given
from hypothesis import strategies as st

from actors.collecting.brake import Brake

BUDGET = 1_000


def test_a_single_excess_drops_nothing():
    brake = Brake()
    assert brake.pull(1_200, BUDGET, [10] * 8, 0.0) == 0
    assert brake.pull(900, BUDGET, [10] * 8, 1.0) == 0
    assert brake.pull(1_200, BUDGET, [10] * 8, 2.0) == 0
    assert brake.pulls == 0


def test_a_second_excess_drops_the_excess_but_at_most_a_quarter():
    brake = Brake()
    brake.pull(1_060, BUDGET, [10] * 100, 0.0)
    assert brake.pull(1_060, BUDGET, [10] * 100, 1.0) == 4
    brake = Brake()
    brake.pull(9_000, BUDGET, [10] * 100, 0.0)
    assert brake.pull(9_000, BUDGET, [10] * 100, 1.0) == 25


def test_dropping_ends_below_102_per_cent_of_the_budget():
    brake = Brake()
    brake.pull(1_060, BUDGET, [10] * 100, 0.0)
    brake.pull(1_060, BUDGET, [10] * 100, 1.0)
    assert brake.pull(1_030, BUDGET, [10] * 96, 2.0) == 1
    assert brake.pull(1_019, BUDGET, [10] * 95, 3.0) == 0
    assert brake.pull(1_040, BUDGET, [10] * 95, 4.0) == 0


def test_each_of_several_streams_drops_its_share():
    brake = Brake(streams=4)
    brake.pull(1_060, BUDGET, [10] * 100, 0.0)
    assert brake.pull(1_060, BUDGET, [10] * 100, 1.0) == 1


def test_the_brake_pauses_after_three_pulls_that_freed_nothing():
    brake = Brake()
    pulled = [brake.pull(2_000, BUDGET, [10] * 100, float(second)) for second in range(60)]
    first, rest = pulled[:5], pulled[5:34]
    assert first[1:4] == [25, 25, 25]
    assert not any(rest)
    assert any(pulled[34:])


@given(st.lists(st.integers(0, 3_000), max_size=60), st.integers(0, 20))
def test_the_brake_never_drops_more_generations_than_exist(residents: list[int], aged: int):
    brake = Brake()
    for second, resident in enumerate(residents):
        assert 0 <= brake.pull(resident, BUDGET, [10] * aged, float(second)) <= aged
