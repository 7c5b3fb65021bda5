"""Retention: the oldest goes first, enough goes, and no more than is needed."""

from hypothesis import given
from hypothesis import strategies as st

from actors.timeline.retention import Holding, Limits, Verdict, decide

sizes = st.lists(st.integers(0, 100), max_size=8)


def verdict(limits: Limits, aged: list[int], *, active: int = 0, dead: int = 0, other: int = 0, watermark: int | None = None):
    holdings = [Holding(size, 10 * (number + 1)) for number, size in enumerate(aged)]
    return decide(limits, holdings, active_bytes=active, dead_bytes=dead, other_bytes=other, watermark=watermark)


@given(sizes, st.integers(0, 200), st.integers(0, 100), st.integers(0, 100), st.integers(0, 500))
def test_after_the_verdict_all_fits_and_one_generation_less_would_not(aged, active, dead, other, budget):
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
    # A span is half-open: one that ends where the age begins has nothing young enough.
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
def test_a_generation_goes_only_for_a_reason_and_with_all_that_are_older(aged, limits, watermark, active):
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


def in_a_file(end: int) -> Holding:
    return Holding(100_000, end, file_bytes=90_000)


def test_generations_with_a_file_are_spilled_before_any_is_dropped():
    limits = Limits(250_000, spill_bytes=1 << 30)
    aged = [in_a_file(index) for index in range(4)]
    verdict = decide(limits, aged, active_bytes=50_000, dead_bytes=50_000, other_bytes=0, watermark=None)
    assert verdict == Verdict(spill=(0, 1, 2))


def test_a_generation_that_is_being_written_is_not_dropped():
    aged = [Holding(100_000, 0, coming=True), Holding(100_000, 1, coming=True)]
    limits = Limits(150_000, spill_bytes=1 << 30)
    assert decide(limits, aged, active_bytes=0, dead_bytes=0, other_bytes=0, watermark=None) == Verdict()


def test_a_generation_that_cannot_be_written_is_dropped():
    aged = [Holding(100_000, 0), Holding(100_000, 1)]
    limits = Limits(150_000, spill_bytes=1 << 30)
    assert decide(limits, aged, active_bytes=0, dead_bytes=0, other_bytes=0, watermark=None).drop == ("memory",)


def test_if_the_disk_limit_is_exceeded_the_oldest_generation_is_dropped():
    aged = [Holding(8_000, index, file_bytes=90_000, spilled=True) for index in range(2)] + [in_a_file(2)]
    limits = Limits(60_000, spill_bytes=200_000)
    verdict = decide(limits, aged, active_bytes=0, dead_bytes=0, other_bytes=0, watermark=None)
    assert verdict == Verdict(drop=("disk",), spill=(2,))
