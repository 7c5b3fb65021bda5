"""The decoder of sets against one that decodes a record at a time."""

import random
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.columns.times import INT64_MAX
from actors.columns.values import Values
from actors.views.sets.decode import LONGEST, SetDecoder
from tests.support.polled import in_columns

STEPS = ("R", "G", "B")
plain = st.tuples(st.sampled_from(STEPS), st.integers(0, INT64_MAX)).map(lambda event: f"{event[0]}_{event[1]}".encode())
regular = st.integers(10**12, 10**12 + 10**6).map(lambda time: f"R_{time}".encode())


def near(base: int) -> st.SearchStrategy[list[bytes | None]]:
    """Return polls whose times are near `base`, and have mostly as many digits; few records are no event."""
    events = st.tuples(st.sampled_from(STEPS), st.integers(base - 10, base + 10)).map(
        lambda event: f"{event[0]}_{event[1]}".encode()
    )
    return st.lists(st.one_of(events, events, events, st.sampled_from([b"R_1000000000x1", b"Q_%d" % base, None])), max_size=40)


ODD = (
    *(b"", b"R", b"R_", b"_1", b"R_-1", b"R_1 ", b" R_1", b"r_1", b"R_1_2", b"V_1", b"R_\xff", b"\xff_1", b"R__1", b"G_0x1"),
    *(b"R_+1", b"R_" + b"0" * 30 + b"7", b"B_9223372036854775807", b"B_9223372036854775808", b"R_" + b"1" * 300),
    *(b"R_1\nG_2", b"\n", None, b"R_7\r", b"G_7\n", b"B_7\r\n", b"R_7\n\r", b"R_7\r\r", b"\xef\xbb\xbfR_7", b"\xef\xbb\xbf"),
    *(b"\xef\xbb\xbf\xef\xbb\xbfR_7", b"\0\0\0\0\7R_1", b"R_1\0", b"\xef\xbb\xbfB_7\r\n"),
)
odd = st.sampled_from(ODD)
polls = st.one_of(
    st.lists(regular, max_size=40),
    st.sampled_from([10**7, 10**8 - 5, 10**12, 10**16 - 9, INT64_MAX - 99_999_999, INT64_MAX]).flatmap(near),
    st.lists(st.one_of(plain, odd, st.binary(max_size=8)), max_size=40),
    st.lists(odd, max_size=10),
)


def reference(value: bytes | None, steps: tuple[str, ...]) -> tuple[int, int] | None:
    value = re.sub(rb"\A\xef\xbb\xbf", b"", re.sub(rb"(\r\n|\r|\n)\Z", b"", value or b""))
    for place, step in enumerate(steps):
        lead = f"{step}_".encode()
        number = value[len(lead) :]
        if value.startswith(lead) and number.isdigit() and int(number) <= INT64_MAX:
            return (place, int(number)) if len(value) <= LONGEST + max(map(len, steps)) + 1 else None
    return None


def check(values: list[bytes | None], steps: tuple[str, ...]) -> None:
    for form in (Values.of(values), in_columns(values)):
        check_form(form, steps)


def check_form(values: Values, steps: tuple[str, ...]) -> None:
    times, masks, accepted, refusals = SetDecoder(steps).decode(values)
    categories = np.argmax(masks, axis=0)
    assert (np.sum(masks, axis=0) == 1).all()
    wanted = [reference(value, steps) for value in values]
    assert list(zip(categories.tolist(), times.tolist(), strict=True)) == [each for each in wanted if each is not None]
    assert [refusal.place for refusal in refusals] == [place for place, each in enumerate(wanted) if each is None]
    assert ([True] * len(values) if accepted is None else accepted.tolist()) == [each is not None for each in wanted]


@given(polls)
@example([b"R_1", b"", b"G_2B_3"])
@example([b"R_12", b"G_3\nB", b"_4"])
@example([b"R_1\nG_2\nB_3"])
def test_a_poll_is_decoded_like_its_records_one_by_one(values: list[bytes | None]):
    check(values, STEPS)


@given(
    st.lists(
        st.sampled_from([b"created_5", b"paid_6", b"1_7", b"1_17", b"11_7", b"paid_", b"shipped_8", b"paid_66", b"5_1"]),
        max_size=12,
    )
)
def test_steps_may_have_names_of_any_length_even_digits(values: list[bytes | None]):
    check(values, ("created", "paid", "1", "11"))


def test_every_reason_of_refusal_occurs():
    reasons = {
        b"": "empty",
        None: "empty",
        b"R_" + b"1" * 1_000_000: "too_long",
        b"\xff\xfe": "not_utf8",
        b"R1685695916": "no_underscore",
        b"V_1": "unknown_step",
        b"R_-1": "negative",
        b"R_": "no_number",
        b"R_1.5": "no_number",
        "R_\u0661".encode(): "no_number",
        b"R_9223372036854775808": "too_large",
    }
    refusals = SetDecoder(STEPS).decode(Values.of(list(reasons))).refusals
    assert [refusal.reason for refusal in refusals] == list(reasons.values())


NOISE = st.lists(st.sampled_from([b"R", b"G", b"B", b"_", b"-", b"0", b"9", b"17", b"\n", b"\0", b"\xc3", b" "]), max_size=24)


@given(st.lists(st.one_of(NOISE.map(b"".join), st.binary(max_size=90), plain, st.none()), max_size=40))
def test_noise_is_decoded_record_by_record(values: list[bytes | None]):
    check(values, STEPS)


@pytest.mark.parametrize("seed", range(4))
def test_a_poll_of_every_width_is_decoded_like_its_records_one_by_one(seed: int):
    chance = random.Random(seed)
    values = [f"{chance.choice(STEPS)}_{chance.choice('0123456789') * width}".encode() for width in range(80)]
    values += [f"G_{chance.randrange(10**width):0{width}}".encode() for width in range(1, 20)]
    values += [b"B_1" + bytes([byte]) for byte in range(256)]
    chance.shuffle(values)
    check(values, STEPS)
    assert {len(value) for value in values} >= set(range(2, 80))


@pytest.mark.parametrize(
    "junk", [b"1" * 1_000_000, b"R_" + b"0" * 1_000_000, b"R_1\n" * 250_000, b"\xff" * 1_000_000, b"_" * 1_000_000]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_record_of_a_megabyte_is_refused_and_the_others_are_decoded(junk: bytes, place: int):
    values: list[bytes | None] = [b"R_1", b"B_2"]
    values.insert(place, junk)
    decoded = SetDecoder(STEPS).decode(Values.of(values))
    assert decoded.times.tolist() == [1, 2]
    assert np.argmax(decoded.masks, axis=0).tolist() == [0, 2]
    assert decoded.refusals == [(place, "too_long")]


def test_the_largest_time_and_leading_zeros_are_accepted():
    values = [f"R_{INT64_MAX}".encode(), b"G_0000000000000000000000000000007", b"B_0", b"R_00"]
    values.append(f"R_00{INT64_MAX}".encode())
    decoded = SetDecoder(STEPS).decode(Values.of(values))
    assert decoded.refusals == []
    assert decoded.times.tolist() == [INT64_MAX, 7, 0, 0, INT64_MAX]
    assert np.argmax(decoded.masks, axis=0).tolist() == [0, 1, 2, 0, 0]


def test_an_empty_poll_gives_no_events():
    decoded = SetDecoder(STEPS).decode(Values.of([]))
    assert (decoded.times.size, decoded.masks[0].size, decoded.accepted, decoded.refusals) == (0, 0, None, [])


def test_a_poll_of_tombstones_is_refused_completely():
    decoded = SetDecoder(STEPS).decode(Values.of([None, None]))
    assert decoded.refusals == [(0, "empty"), (1, "empty")]
    assert decoded.times.size == 0


def test_long_step_names_of_equal_length_are_compared_at_every_byte():
    steps = ("warehouse-a", "warehouse-b", "xarehouse-a")
    decoded = SetDecoder(steps).decode(Values.of([f"{step}_{time}".encode() for time, step in enumerate(steps)]))
    assert np.argmax(decoded.masks, axis=0).tolist() == [0, 1, 2]
    assert decoded.times.tolist() == [0, 1, 2]
