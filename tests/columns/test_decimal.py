"""Digits are parsed to numbers, and numbers written as digits: every byte at every place, every width, and both sides of the largest int64."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.decimal import AT_ONCE, MAX_DIGITS, digits_of, parse_at, text_of
from actors.columns.times import INT64_MAX


def read(rows: list[bytes]) -> list[int | None]:
    """Parse rows of one width, once with that width and once with a column of widths."""
    width, between = len(rows[0]), b"7x"
    blob = np.frombuffer(between.join([b"", *rows, bytes(8)]), np.uint8)
    starts = np.arange(len(rows)) * (width + len(between)) + len(between)
    found = []
    for widths in (width, np.full(len(rows), width)):
        numbers, valid = parse_at(blob, starts, widths)
        assert numbers.dtype == np.int64
        found.append([number if ok else None for number, ok in zip(numbers.tolist(), valid.tolist(), strict=True)])
    assert found[0] == found[1]
    return found[0]


def plain(row: bytes) -> int | None:
    return int(row) if all(48 <= byte <= 57 for byte in row) and int(row) <= INT64_MAX else None


@pytest.mark.parametrize("width", range(1, MAX_DIGITS + 1))
def test_one_byte_that_is_not_a_digit_makes_the_number_invalid(width: int):
    base = b"1234567890123456789"[:width]
    rows = [base[:place] + bytes([byte]) + base[place + 1 :] for place in range(width) for byte in range(256)]
    assert read(rows) == [plain(row) for row in rows]


@pytest.mark.parametrize("width", range(1, MAX_DIGITS + 1))
def test_random_digits_are_parsed_as_python_does_and_two_wrong_bytes_never_cancel_out(width: int):
    chance = random.Random(width)
    rows = []
    for number in range(2_000):
        row = bytearray(chance.choice(b"0123456789") for _ in range(width))
        for _ in range(number % 3):
            row[chance.randrange(width)] = chance.randrange(256)
        rows.append(bytes(row))
    assert read(rows) == [plain(row) for row in rows]


@pytest.mark.parametrize("width", range(1, MAX_DIGITS + 1))
def test_leading_zeros_change_nothing(width: int):
    assert read([b"7".rjust(width, b"0"), b"0" * width]) == [7, 0]


def test_the_largest_int64_is_the_largest_number():
    near = [INT64_MAX - 1, INT64_MAX, INT64_MAX + 1, 10**19 - 1]
    assert read([str(number).encode() for number in near]) == [INT64_MAX - 1, INT64_MAX, None, None]


def test_numbers_of_different_widths_are_parsed_together():
    chance = random.Random(0)
    rows = [b"%d" % chance.randrange(10 ** chance.randrange(1, 20)) for _ in range(500)] + [b"", b"1" * 20, b"x" * 300]
    chance.shuffle(rows)
    lengths = np.array([len(row) for row in rows])
    numbers, valid = parse_at(np.frombuffer(b"".join([*rows, bytes(8)]), np.uint8), np.cumsum(lengths) - lengths, lengths)
    assert valid.tolist() == [0 < len(row) <= MAX_DIGITS and plain(row) is not None for row in rows]
    assert numbers[valid].tolist() == [int(row) for row, ok in zip(rows, valid.tolist(), strict=True) if ok]


def test_no_starts_give_no_numbers():
    numbers, valid = parse_at(np.zeros(8, np.uint8), np.empty(0, np.int64), 5)
    assert numbers.size == valid.size == 0


SEPARATORS = {0x202C: b", ", 0x0A: b"\n", 0x3B3B: b";;"}
WRITABLE = st.integers(0, 10**8 - 1) | st.integers(0, 8).flatmap(lambda k: st.sampled_from([10**k - 1, 10**k % 10**8]))


@given(st.lists(st.tuples(WRITABLE, st.sampled_from(list(SEPARATORS))), max_size=60), st.sampled_from([np.int32, np.int64]))
def test_numbers_are_written_as_python_writes_them(rows: list[tuple[int, int]], kind: type):
    numbers, separators = np.array([row[0] for row in rows], kind), np.array([row[1] for row in rows], np.uint16)
    assert text_of(numbers, separators) == b"".join(b"%d" % number + SEPARATORS[separator] for number, separator in rows)


def test_many_numbers_are_written_in_their_order():
    numbers = np.arange(3 * AT_ONCE + 1)
    assert text_of(numbers, np.full(numbers.size, 0x0A, np.uint16)) == b"".join(b"%d\n" % each for each in numbers.tolist())


@pytest.mark.parametrize("number", [-1, 10**8, -(2**63), INT64_MAX])
def test_other_numbers_are_not_written(number: int):
    assert text_of(np.array([5, number]), np.full(2, 0x0A, np.uint16)) is None


@given(
    st.lists(st.one_of(st.integers(0, INT64_MAX), st.integers(0, MAX_DIGITS - 1).map(lambda power: 10**power - 1)), max_size=20)
)
def test_a_table_of_digits_has_each_number_at_the_right_end_of_its_row(numbers: list[int]):
    table = digits_of(np.array(numbers, np.int64))
    assert [bytes(row).lstrip(b"\0") for row in table] == [str(number).encode() for number in numbers]
    assert table.shape[1] == len(str(max(numbers, default=0)))
