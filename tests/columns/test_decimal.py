"""Digits are parsed to numbers: every byte at every place, every width, and both sides of the largest int64."""

import random

import numpy as np
import pytest

from actors.columns.decimal import MAX_DIGITS, parse
from actors.columns.times import INT64_MAX


def read(rows: list[bytes]) -> list[int | None]:
    numbers, valid = parse(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), len(rows[0])))
    assert numbers.dtype == np.int64
    return [number if ok else None for number, ok in zip(numbers.tolist(), valid.tolist(), strict=True)]


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


def test_an_empty_matrix_gives_no_numbers():
    numbers, valid = parse(np.empty((0, 5), np.uint8))
    assert numbers.size == valid.size == 0


def test_rows_inside_a_wider_matrix_are_parsed_alike():
    lines = np.frombuffer(b"R_1234567890\nG_0987654321\n", np.uint8).reshape(2, 13)
    numbers, valid = parse(lines[:, 2:12])
    assert numbers.tolist() == [1_234_567_890, 987_654_321]
    assert valid.all()
