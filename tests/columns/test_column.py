"""A column against a sorted list with the same operations."""

import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.columns import column as module
from actors.columns.column import Column
from actors.columns.times import INT64_MAX, INT64_MIN, count_before


@given(st.lists(st.integers(INT64_MIN, INT64_MAX)), st.integers(INT64_MIN - 2, INT64_MAX + 2))
@example([INT64_MIN, 0, INT64_MAX], INT64_MAX)
@example([INT64_MIN, 0, INT64_MAX], INT64_MAX + 1)
@example([INT64_MIN, 0, INT64_MAX], INT64_MIN)
@example([INT64_MIN, 0, INT64_MAX], INT64_MIN - 1)
def test_values_before_a_time_are_counted_also_beyond_int64(values: list[int], time: int):
    assert count_before(np.array(sorted(values), np.int64), time) == sum(value < time for value in values)


@pytest.mark.parametrize("seed", range(12))
def test_a_column_behaves_like_a_sorted_list(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHUNK", 16)
    monkeypatch.setattr(module, "_SEAL_AT", 48)
    chance = random.Random(seed)
    column, model, newest, sealed = Column(), [], 0, 0
    for _ in range(300):
        match chance.randrange(6):
            case 0 | 1:
                values = sorted(newest + chance.randrange(40) for _ in range(chance.randrange(60)))
                column.extend(np.array(values, np.int64))
                model += values
            case 2:
                count = chance.randrange(80)
                assert column.popleft(count).tolist() == model[:count]
                del model[:count]
            case 3:
                time = newest - chance.randrange(200)
                values = sorted(time + chance.randrange(50) for _ in range(chance.randrange(20)))
                column.replace_from(time, np.array(values, np.int64))
                model = [value for value in model if value < time] + values
            case 4:
                low = chance.randrange(len(model) + 2)
                high = low + chance.randrange(60)
                assert column.peek(low, high).tolist() == model[low:high]
            case _:
                time = newest - chance.randrange(300)
                assert column.before(time) == sum(value < time for value in model)
        newest = max([newest, *model[-1:]])
        sealed = max(sealed, len(column._sealed))
        column._check()
        assert len(column) == len(model)
        assert (column.first(), column.last()) == ((model[0], model[-1]) if model else (None, None))
    assert sealed > 1


def test_waiting_times_take_about_a_byte_each():
    column = Column()
    column.extend(np.sort(np.random.default_rng(1).integers(0, 10**9, 1_000_000)))
    assert column.nbytes < 3.5 * 1_000_000


def test_peek_and_popleft_return_copies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "_SEAL_AT", 12)
    column = Column()
    column.extend(np.arange(30))
    peeked, popped = column.peek(3, 28), column.popleft(2)
    column.replace_from(10, np.arange(500, 530))
    column.extend(np.arange(600, 700))
    assert peeked.tolist() == list(range(3, 28))
    assert popped.tolist() == [0, 1]
    column._check()
    column = Column()
    column.extend(np.arange(1_000))
    popped = column.popleft(600)
    column.extend(np.arange(1_000, 1_100))
    assert popped.tolist() == list(range(600))
    assert column.peek(0, 500).tolist() == list(range(600, 1_100))


def test_a_column_holds_both_ends_of_int64_open_and_sealed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "_SEAL_AT", 8)
    least, most = INT64_MIN, INT64_MAX
    column, values = Column(), [least] * 6 + [0] * 6 + [most] * 6
    column.extend(np.array(values))
    assert len(column._sealed) > 1
    asked = (least - 1, least, least + 1, 0, 1, most, most + 1)
    assert [column.before(time) for time in asked] == [sum(value < time for value in values) for time in asked]
    assert column.peek(0, 18).tolist() == values
    column.replace_from(least, np.array([], np.int64))
    assert len(column) == 0
    column._check()


def test_an_emptied_column_frees_its_memory():
    column = Column()
    column.extend(np.arange(100_000))
    column.popleft(100_000)
    assert len(column) == 0
    assert column.nbytes <= 8 * 1024
    column._check()
