"""The watermark and the order buffer: in order, nothing lost, moved by nothing false."""

import random

import numpy as np
import pytest

from actors.timeline.batch import Batch
from actors.timeline.order import OrderBuffer
from actors.timeline.watermark import Watermark


def column(*times: int) -> np.ndarray:
    return np.array(times, np.int64)


def at(number: int, count: int) -> np.ndarray:
    return np.full(count, number, np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_released_events_are_ordered_and_none_is_lost(seed: int):
    chance = random.Random(seed)
    limit = chance.choice([5, 40, 10_000])
    buffer, added, released, last = OrderBuffer(categories=3, limit=limit), [], [], -1
    for step in range(80):
        events = [(10 * step + chance.randrange(100), chance.randrange(3)) for _ in range(chance.randrange(12))]
        added += events
        buffer.add(Batch(tuple(column(*(t for t, c in events if c == each)) for each in range(3))))
        if chance.random() < 0.5:
            continue
        watermark = chance.choice([None, 10 * step])
        batch = buffer.release(watermark)
        got = [(t, c) for c in range(3) for t in batch.times[c].tolist()]
        assert all(np.all(np.diff(each) >= 0) for each in batch.times)
        if len(added) <= limit and got:
            assert watermark is not None
            assert max(got)[0] < watermark
        released += got
        assert len(buffer) == len(added) - len(released)
        assert len(buffer) <= limit
        assert buffer.nbytes == 8 * len(buffer)
        last = max([last, *(t for t, _ in got)])
    rest = buffer.flush()
    released += [(t, c) for c in range(3) for t in rest.times[c].tolist()]
    assert sorted(released) == sorted(added)
    assert not len(buffer)


def test_an_event_is_sorted_about_twice_however_long_it_waits():
    buffer = OrderBuffer(categories=1, limit=10**6)
    sorts = 0
    for step in range(1_000):
        buffer.add(Batch((column(10**9 + step),)))
        if buffer.due:
            sorts += len(buffer)
            buffer.release(0)
    assert sorts <= 3 * 1_000


def test_the_watermark_is_the_lowest_frontier_minus_the_lateness():
    watermark = Watermark(lateness=20, idle_s=1)
    watermark.saw(np.concatenate((at(0, 50), at(1, 50))), np.concatenate((np.arange(50), np.arange(100, 150))), 0.0)
    assert watermark.at(0.0) == 49 - 20
    assert watermark.holding(0.0) == 0


def test_a_partition_with_unread_records_holds_the_watermark_back_and_an_idle_one_does_not():
    watermark = Watermark(lateness=10, idle_s=1)
    watermark.expect(0, at_end=False, now=0.0)
    watermark.saw(at(1, 20), np.arange(20), 0.0)
    assert watermark.at(0.0) is None
    assert watermark.holding(5.0) == 0
    watermark.expect(0, at_end=True, now=0.0)
    assert watermark.at(0.5) is None
    assert watermark.at(1.5) == 19 - 10
    assert not watermark.idle(1.5)
    watermark.expect(1, at_end=True, now=1.5)
    assert watermark.idle(1.5)
    assert watermark.at(1.5) == 19 - 10


@pytest.mark.parametrize("share", [0.001, 0.01, 0.02])
def test_far_future_times_do_not_move_the_watermark(share: float):
    chance = np.random.default_rng(3)
    watermark = Watermark(lateness=100, idle_s=1)
    for poll in range(200):
        times = np.arange(poll * 500, poll * 500 + 500)
        flipped = chance.random(500) < share
        watermark.saw(at(0, 500), np.where(flipped, times | 2**55, times), 0.0)
        now = watermark.at(0.0)
        assert now is not None
        assert poll * 500 + 250 <= now <= poll * 500 + 500 - 100


def test_a_frontier_moved_by_false_times_steps_back():
    watermark = Watermark(lateness=10, idle_s=1)
    watermark.saw(at(0, 100), np.full(100, 10**15), 0.0)
    assert watermark.at(0.0) == 10**15 - 10
    watermark.saw(at(0, 200), np.arange(200), 0.0)
    assert watermark.at(0.0) == 199 - 10


def test_times_near_the_end_of_int64_work():
    watermark = Watermark(lateness=500, idle_s=1)
    watermark.saw(at(0, 3), column(2**63 - 1, 2**63 - 1, 2**63 - 1), 0.0)
    assert watermark.at(0.0) == 2**63 - 1 - 500


def test_more_than_256_partitions_work():
    watermark = Watermark(lateness=10, idle_s=1)
    watermark.saw(np.repeat(np.arange(300, dtype=np.uint32), 10), np.tile(np.arange(10), 300) + 7, 0.0)
    assert watermark.at(0.0) == 16 - 10


@pytest.mark.parametrize("seed", range(8))
def test_beyond_its_limit_a_buffer_releases_the_earliest_events_with_all_ties(seed: int):
    chance = random.Random(seed)
    buffer = OrderBuffer(categories=2, limit=10)
    events = [(chance.randrange(15), chance.randrange(2)) for _ in range(40)]
    buffer.add(Batch(tuple(column(*(t for t, c in events if c == each)) for each in range(2))))
    released = buffer.release(None)
    held = len(buffer)
    rest = buffer.flush()
    assert held <= 10
    assert released.count + rest.count == 40
    assert rest.first() is None or released.last() < rest.first()


def test_no_event_leaves_without_a_watermark_or_at_it():
    buffer = OrderBuffer(categories=1, limit=10)
    buffer.add(Batch((column(3, 1, 2),)))
    assert buffer.release(None).count == 0
    assert buffer.release(2).times[0].tolist() == [1]
    assert buffer.release(4).times[0].tolist() == [2, 3]


def test_a_restored_buffer_has_the_events_of_the_state_only():
    buffer = OrderBuffer(categories=1, limit=100)
    buffer.add(Batch((column(3, 1),)))
    state = buffer.state()
    buffer.add(Batch((column(2),)))
    buffer.restore(state)
    assert len(buffer) == 2
    assert buffer.flush().times[0].tolist() == [1, 3]
