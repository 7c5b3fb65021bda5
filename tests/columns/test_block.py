"""Blocks of columns, raw or compressed."""

from typing import Any

import numpy as np
import pytest

from actors.columns.block import Block, columns_of
from actors.columns.sealed import OVERHEAD_BYTES, seal

RAW = (np.arange(1_000), np.arange(1_000) * 7)


def test_a_compressed_block_opens_to_the_same_columns_and_counts_its_overhead():
    block = Block(RAW)
    sealed = block.sealed()
    assert (block.is_sealed, sealed.is_sealed) == (False, True)
    assert block.nbytes == 16_000
    assert sealed.nbytes == sum(len(each) for each in sealed.columns) + 2 * OVERHEAD_BYTES
    for one, other in zip(sealed.opened(), block.opened(), strict=True):
        assert np.array_equal(one, other)
    assert sealed.sealed().columns == sealed.columns


@pytest.mark.parametrize("columns", [Block(RAW).columns, Block(RAW).sealed().columns], ids=["raw", "compressed"])
def test_the_columns_of_a_state_are_not_copied(columns: Any):
    found = columns_of(list(columns), 2)
    assert all(
        np.shares_memory(np.asarray(one), np.asarray(memoryview(other))) for one, other in zip(found, columns, strict=True)
    )


@pytest.mark.parametrize(
    "wrong",
    [[], [RAW[0]], [RAW[0], RAW[1][:5]], [RAW[0], seal(RAW[1])], [RAW[0], RAW[1].astype(float)], [RAW[0], None], None, 7],
    ids=repr,
)
def test_columns_that_do_not_belong_together_are_refused(wrong: Any):
    with pytest.raises((ValueError, TypeError), match="expected"):
        columns_of(wrong, 2)


def test_a_block_has_at_least_one_column():
    with pytest.raises(ValueError, match="expected"):
        columns_of([])
