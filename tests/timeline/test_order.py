"""The order buffer releases events in order of time and loses none."""

import random

import numpy as np
import pytest

from actors.timeline.batch import Batch
from actors.timeline.order import OrderBuffer


def column(*times: int) -> np.ndarray:
    return np.array(times, np.int64)


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
