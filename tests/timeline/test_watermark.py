"""The watermark against a plain implementation of its definition, and times that must not move it."""

import random
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX, INT64_MIN
from actors.timeline.watermark import Watermark

LATENESS = 50
WINDOW, SUPPORT = 128, 8


def column(times: list[int]) -> np.ndarray:
    return np.array(times, np.int64)


def at(number: int, count: int) -> np.ndarray:
    return np.full(count, number, np.uint8)


@cache
def supported(recent: tuple[int, ...]) -> int | None:
    """Return the latest time with eight others, or all others, at most the lateness before it or after it."""
    wanted = min(SUPPORT, len(recent) - 1)
    return max((time for time in recent if sum(other >= time - LATENESS for other in recent) > wanted), default=None)


@dataclass
class Plain:
    """One partition: its times so far, the time of its last poll, and whether it is at its end."""

    seen_at: float
    times: list[int] = field(default_factory=list)
    at_end: bool = False

    def frontier(self) -> int | None:
        return supported(tuple(sorted(self.times[-WINDOW:])))

    def idle(self, now: float) -> bool:
        return self.at_end and now - self.seen_at >= 1


def plain_watermark(partitions: dict[int, Plain], now: float) -> int | None:
    active = [each for each in partitions.values() if not each.idle(now)]
    if any(not each.times for each in active):
        return None
    chosen = [each.frontier() for each in (active or partitions.values()) if each.times]
    proven = [each.frontier() for each in partitions.values() if len(each.times) > SUPPORT]
    reached = None if not chosen else min(chosen) if active else max(chosen)
    return None if reached is None else min([reached, *([max(proven)] if proven else [])]) - LATENESS


@pytest.mark.parametrize("seed", range(12))
def test_the_watermark_after_any_polls_equals_its_definition(seed: int):
    chance = random.Random(seed)
    watermark, partitions, now = Watermark(lateness=LATENESS, idle_s=1), {}, 0.0
    for poll in range(60):
        now += chance.choice([0.0, 0.2, 0.7])
        if chance.random() < 0.5:
            number, ended = chance.randrange(4), chance.random() < 0.7
            watermark.expect(number, at_end=ended, now=now)
            partitions.setdefault(number, Plain(now)).at_end = ended
        else:
            events = [(chance.randrange(4), 20 * poll + chance.randrange(100)) for _ in range(chance.choice([1, 3, 40, 400]))]
            events = [(number, time + (2**50 if chance.random() < 0.02 else 0)) for number, time in events]
            if chance.random() < 0.5:  # as Kafka gives them
                events.sort(key=lambda event: event[0] % 3)
            watermark.saw(np.array([number for number, _ in events], np.uint8), column([time for _, time in events]), now)
            for number, time in events:
                partition = partitions.setdefault(number, Plain(now))
                partition.times.append(time)
                partition.seen_at, partition.at_end = now, False
        for later in (now, now + 0.5, now + 1.5):
            assert watermark.at(later) == plain_watermark(partitions, later)
            assert watermark.idle(later) == all(each.idle(later) for each in partitions.values())
            holding, active = watermark.holding(later), [n for n, each in partitions.items() if not each.idle(later)]
            assert (holding is None) == (not active)
            if active:
                unknown = [number for number in active if not partitions[number].times]
                lowest = min((partitions[number].frontier() for number in active if partitions[number].times), default=None)
                assert holding in unknown if unknown else partitions[holding].frontier() == lowest


@given(st.lists(st.integers(0, 400), min_size=1, max_size=200), st.data(), st.integers(1_000, INT64_MAX))
def test_a_single_far_future_time_never_moves_the_frontier(times: list[int], data: st.DataObject, far: int):
    place = data.draw(st.integers(0, len(times)))
    watermark = Watermark(lateness=LATENESS, idle_s=1)
    for part in (times[:place], [far], times[place:]):
        # The first poll of a partition cannot tell that its only time is false, so another time comes with it.
        if part == [far] and not place:
            part = [far, times[0]]  # noqa: PLW2901
        if part:
            watermark.saw(at(0, len(part)), column(part), 0.0)
    assert watermark.at(0.0) <= max(times) - LATENESS


def test_up_to_eight_far_future_times_do_not_move_the_frontier_and_nine_do():
    for count in range(1, 10):
        watermark = Watermark(lateness=LATENESS, idle_s=1)
        watermark.saw(at(0, 100), np.arange(100), 0.0)
        watermark.saw(at(0, count), column([10**15] * count), 0.0)
        assert watermark.at(0.0) == (99 if count <= SUPPORT else 10**15) - LATENESS


def test_the_slowest_of_several_partitions_decides_until_it_is_idle():
    watermark = Watermark(lateness=LATENESS, idle_s=1)
    for number in range(3):
        watermark.saw(at(number, 20), np.arange(20) + 1_000 * number, 0.0)
    assert (watermark.at(0.0), watermark.holding(0.0)) == (19 - LATENESS, 0)
    watermark.expect(0, at_end=True, now=0.0)
    assert (watermark.at(0.9), watermark.holding(0.9)) == (19 - LATENESS, 0)
    assert (watermark.at(1.0), watermark.holding(1.0)) == (1_019 - LATENESS, 1)


def test_a_silent_partition_that_is_not_at_its_end_holds_the_watermark_back_for_any_time():
    watermark = Watermark(lateness=LATENESS, idle_s=1)
    watermark.expect(0, at_end=False, now=0.0)
    watermark.saw(at(1, 20), np.arange(20), 0.0)
    assert watermark.at(10**6) is None
    watermark.saw(at(0, 20), np.arange(20), 10.0**6)
    assert watermark.at(10**6) == 19 - LATENESS


def test_an_idle_partition_with_new_records_holds_the_watermark_back_again():
    watermark = Watermark(lateness=LATENESS, idle_s=1)
    watermark.saw(np.concatenate((at(0, 20), at(1, 20))), np.concatenate((np.arange(20), np.arange(20) + 1_000)), 0.0)
    watermark.expect(0, at_end=True, now=0.0)
    assert watermark.at(5.0) == 1_019 - LATENESS
    watermark.saw(at(0, 1), column([30]), 5.0)
    assert watermark.at(5.0) == 30 - LATENESS


def test_without_partitions_there_is_no_watermark():
    watermark = Watermark(lateness=LATENESS, idle_s=1)
    assert watermark.at(0.0) is None
    assert watermark.holding(0.0) is None
    assert watermark.idle(0.0)
    watermark.saw(at(0, 0), column([]), 0.0)
    assert watermark.at(0.0) is None


@pytest.mark.parametrize("all_idle", [True, False])
def test_a_single_far_future_time_of_a_quiet_partition_moves_nothing_if_the_others_become_idle(all_idle: bool):
    watermark = Watermark(lateness=LATENESS, idle_s=1)
    watermark.saw(at(0, 500), np.arange(500), 0.0)
    watermark.expect(0, at_end=True, now=0.0)
    watermark.saw(at(1, 1), column([10**15]), 2.0)
    watermark.expect(1, at_end=all_idle, now=2.0)
    now = watermark.at(5.0)
    assert now is None or now <= 499 - LATENESS


def test_the_watermark_never_falls_below_int64():
    watermark = Watermark(lateness=LATENESS, idle_s=1.0)
    watermark.saw(at(0, 1), column([INT64_MIN]), 0.0)
    assert watermark.at(0.0) == INT64_MIN
    watermark.expect(0, at_end=True, now=0.0)
    assert watermark.at(9.0) == INT64_MIN


def test_the_watermark_works_at_the_end_of_int64_and_with_more_than_256_partitions():
    watermark = Watermark(lateness=500, idle_s=1)
    watermark.saw(at(0, 3), column([INT64_MAX] * 3), 0.0)
    assert watermark.at(0.0) == INT64_MAX - 500
    watermark = Watermark(lateness=10, idle_s=1)
    watermark.saw(np.repeat(np.arange(300, dtype=np.uint32), 10), np.tile(np.arange(10), 300) + 7, 0.0)
    assert watermark.at(0.0) == 16 - 10


def test_far_future_times_of_one_event_in_fifty_do_not_move_the_watermark():
    chance, watermark = np.random.default_rng(3), Watermark(lateness=100, idle_s=1)
    for poll in range(60):
        times = np.arange(poll * 500, poll * 500 + 500)
        watermark.saw(at(0, 500), np.where(chance.random(500) < 0.02, times | 2**55, times), 0.0)
        now = watermark.at(0.0)
        assert now is not None
        assert poll * 500 + 250 <= now <= poll * 500 + 500 - 100


def test_a_partition_holds_nothing_back_while_it_delivers_only_events_ahead_of_the_clock():
    mark = Watermark(lateness=LATENESS, idle_s=1.0)
    for number in (0, 1):
        mark.expect(number, at_end=False, now=0.0)
        mark.saw(at(number, 10), column([1_000] * 10), 0.0)
    mark.saw(at(1, 10), column([9_000] * 10), 0.0)
    mark.saw_ahead(at(0, 1), 0.9)
    assert mark.holding(1.2) == 0, "too short a time to know"
    mark.saw_ahead(at(0, 1), 1.5)
    assert mark.holding(1.8) == 0
    mark.saw_ahead(at(0, 1), 2.0)
    assert mark.holding(2.0) == 1
    assert mark.at(2.0) == 9_000 - LATENESS
    assert mark.holding(3.0) == 0, "the partition delivers nothing now, and may have other events"
    assert mark.at(3.0) == 1_000 - LATENESS
    mark.saw(at(0, 10), column([2_000] * 10), 3.1)
    assert mark.at(9.0) == 2_000 - LATENESS
