"""Sealed columns are restored exactly, for any values, and are small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.sealed import CHUNK, seal, unseal
from actors.columns.times import INT64_MAX, INT64_MIN

ODD = {
    "one": [0],
    "one_far": [INT64_MAX],
    "both_ends": [INT64_MIN, INT64_MAX],
    "ends_and_middle": [INT64_MIN, INT64_MIN, -1, 0, 1, INT64_MAX, INT64_MAX],
    "all_equal": [1_685_695_916_000] * CHUNK,
    "one_outlier": [*range(CHUNK - 1), 2**60],
}


@pytest.mark.parametrize("name", ODD)
def test_an_unusual_column_is_restored(name: str):
    values = np.array(ODD[name], np.int64)
    back = unseal(seal(values))
    assert back.dtype == np.int64
    assert back.tolist() == values.tolist()


@given(st.integers(1, 5), st.lists(st.integers(INT64_MIN, INT64_MAX), min_size=1, max_size=60))
def test_a_strided_column_is_restored(step: int, values: list[int]):
    column = np.sort(np.array(values, np.int64))[::step]
    column.flags.writeable = False
    assert unseal(seal(column)).tolist() == column.tolist()


@pytest.mark.parametrize(("most_bytes", "times"), [(0.05, "every 10 ms"), (1.5, "random ms"), (0.05, "all at once")])
def test_a_time_takes_about_a_byte_and_less_if_times_are_regular(most_bytes: float, times: str):
    start = 1_685_695_916_000
    made = {
        "every 10 ms": start + 10 * np.arange(CHUNK),
        "random ms": start + np.sort(np.random.default_rng(5).integers(0, 100 * CHUNK, CHUNK)),
        "all at once": np.full(CHUNK, start),
    }
    assert len(seal(made[times])) < most_bytes * CHUNK
