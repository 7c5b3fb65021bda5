"""Retention drops the oldest generations first, and not more of them than the limits require."""

from hypothesis import given
from hypothesis import strategies as st

from actors.timeline.retention import Holding, Limits, Verdict, decide

sizes = st.lists(st.integers(0, 100), max_size=8)


def verdict(limits: Limits, aged: list[int], *, active: int = 0, dead: int = 0, other: int = 0, watermark: int | None = None):
    holdings = [Holding(size, 10 * (number + 1)) for number, size in enumerate(aged)]
    return decide(limits, holdings, active_bytes=active, dead_bytes=dead, other_bytes=other, watermark=watermark)


@given(sizes, st.integers(0, 200), st.integers(0, 100), st.integers(0, 100), st.integers(0, 500))
def test_the_verdict_frees_enough_and_drops_no_generation_too_many(aged, active, dead, other, budget):
    dead = min(dead, active)
    result = verdict(Limits(budget), aged, active=active, dead=dead, other=other)
    left = sum(aged[len(result.drop) :]) + active + other - result.shed_bytes
    assert left <= budget
    if result.drop:
        assert sum(aged[len(result.drop) - 1 :]) + active + other - min(dead, result.shed_bytes) > budget
    if len(result.drop) < len(aged):
        assert result.shed_bytes <= dead
    assert set(result.drop) <= {"memory"}


@given(sizes, st.integers(0, 8))
def test_a_limit_by_count_keeps_the_newest(aged, most):
    assert verdict(Limits(10**9, max_aged=most), aged).drop == ("max_aged",) * max(0, len(aged) - most)


def test_a_limit_by_age_follows_event_time():
    limits = Limits(10**9, max_age=15)
    assert verdict(limits, [1, 1, 1, 1], watermark=40).drop == ("max_age", "max_age")
    assert verdict(limits, [1, 1, 1, 1], watermark=None) == Verdict()
    # A span is half-open: a generation that ends at the age limit has no event within it.
    assert verdict(limits, [1, 1, 1, 1], watermark=35).drop == ("max_age", "max_age")
    assert verdict(limits, [1, 1, 1, 1], watermark=34).drop == ("max_age",)


def test_the_order_is_dead_residue_then_generations_then_residue():
    assert verdict(Limits(100), [50], active=60, dead=10) == Verdict((), 10)
    assert verdict(Limits(100), [50], active=70, dead=10) == Verdict(("memory",), 10)
    assert verdict(Limits(100), [50], active=170, dead=10) == Verdict(("memory",), 70)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8),
    st.builds(Limits, st.integers(0, 400), st.none() | st.integers(0, 8), st.none() | st.integers(1, 60)),
    st.none() | st.integers(0, 120),
    st.integers(0, 200),
)
def test_a_generation_is_dropped_only_for_a_reason_and_after_all_older_ones(aged, limits, watermark, active):
    budget, most, age = limits.budget_bytes, limits.max_aged, limits.max_age
    holdings = [Holding(size, end) for size, end in aged]
    given = {"active_bytes": active, "dead_bytes": 0, "other_bytes": 0, "watermark": watermark}
    result = decide(limits, holdings, **given)
    assert result == decide(limits, tuple(holdings), **given)
    for place, reason in enumerate(result.drop):
        fits = sum(size for size, _ in aged[place:]) + active <= budget
        assert {
            "max_aged": most is not None and len(aged) - place > most,
            "max_age": age is not None and watermark is not None and aged[place][1] <= watermark - age,
            "memory": not fits,
        }[reason]
    left = aged[len(result.drop) :]
    if left:
        assert sum(size for size, _ in left) + active <= budget
        assert most is None or len(left) <= most
        assert age is None or watermark is None or left[0][1] > watermark - age
        assert result.shed_bytes == 0


def decided(spill_bytes: int, budget_bytes: int, aged: list[Holding], *, active: int = 0) -> Verdict:
    limits = Limits(budget_bytes, spill_bytes=spill_bytes)
    return decide(limits, aged, active_bytes=active, dead_bytes=active, other_bytes=0, watermark=None)


def in_a_file(end: int) -> Holding:
    return Holding(100_000, end, file_bytes=90_000)


def test_generations_with_a_file_are_spilled_before_any_is_dropped():
    assert decided(1 << 30, 250_000, [in_a_file(index) for index in range(4)], active=50_000) == Verdict(spill=(0, 1, 2))


def test_a_generation_that_is_being_written_is_not_dropped():
    assert decided(1 << 30, 150_000, [Holding(100_000, index, coming=True) for index in range(2)]) == Verdict()


def test_a_generation_that_cannot_be_written_is_dropped():
    assert decided(1 << 30, 150_000, [Holding(100_000, index) for index in range(2)]).drop == ("memory",)


def test_if_the_disk_limit_is_exceeded_the_oldest_generation_is_dropped():
    spilled = [Holding(8_000, index, file_bytes=90_000, spilled=True) for index in range(2)]
    assert decided(200_000, 60_000, [*spilled, in_a_file(2)]) == Verdict(drop=("disk",), spill=(2,))


def test_if_nothing_is_to_be_dropped_memory_is_coarsened_and_the_rest_is_shed():
    aged = [Holding(40_000, index, coarse_bytes=30_000) for index in range(3)]
    found = decide(Limits(60_000), aged, active_bytes=100_000, dead_bytes=0, other_bytes=0, watermark=None, drops=False)
    assert found == Verdict(coarsen=3, shed_bytes=70_000)
    old = decide(Limits(60_000, max_aged=1), aged, active_bytes=0, dead_bytes=0, other_bytes=0, watermark=None, drops=False)
    assert old.drop == ("max_aged", "max_aged")
