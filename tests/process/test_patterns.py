"""Properties of the producer's patterns. `test_scripts.py` has those that all patterns share."""

import re
from itertools import islice

import numpy as np
import pytest

from actors.columns.values import Values
from actors.views.sets.decode import SetDecoder
from scripts.produce.patterns import PATTERNS, chunks
from scripts.produce.producer import STEP_MS, default_start
from scripts.produce.spec import Spec


def values(pattern: str, count: int, start: int = 1_000) -> list[bytes]:
    return [value for chunk in chunks(pattern, Spec(count, start)) for value in chunk.values]


@pytest.mark.parametrize("start", [0, 7, 99_990, 1_685_695_916_000])
def test_a_record_is_its_colour_and_its_time_at_every_width(start: int):
    """The first chunk of the small starts passes powers of ten, later ones do not."""
    plain = [f"{'RGB'[number % 3]}_{start + 10 * number}".encode() for number in range(70_000)]
    assert values("steady", 70_000, start) == plain


def test_burst_has_ten_thousand_events_of_each_colour_in_turn():
    colours = [value[:1] for value in values("burst", 60_000)]
    assert colours == ([b"R"] * 10_000 + [b"G"] * 10_000 + [b"B"] * 10_000) * 2


def test_every_triple_of_out_of_order_is_a_set():
    triples = np.array([int(value[2:]) for value in values("out-of-order", 3_000)]).reshape(-1, 3)
    green, blue, red = triples.T
    assert (red < green).all()
    assert (green < blue).all()


def test_junk_has_every_reject_reason_and_a_few_times_of_the_far_future():
    sent = values("junk", 300_000)
    times, _, _, refusals = SetDecoder("RGB").decode(Values.of(sent))
    assert {reason for _, reason in refusals} >= {"not_utf8", "no_underscore", "empty", "negative"}
    assert len({reason for _, reason in refusals}) >= 7, "each kind of broken record has its reason"
    far = int((times > 10**14).sum())
    assert 0 < far < 0.003 * len(sent)
    assert times.size + len(refusals) == len(sent)


def test_another_seed_gives_other_records_in_random_patterns():
    for pattern in PATTERNS:
        one, other = (list(chunks(pattern, Spec(40_000, 5, seed=seed))) for seed in (1, 2))
        assert (one != other) == (pattern not in {"steady", "burst", "out-of-order", "only-red", "orders"})


@pytest.mark.parametrize("pattern", PATTERNS)
def test_without_a_count_a_pattern_never_ends(pattern: str):
    assert sum(len(chunk.values) for chunk in islice(chunks(pattern, Spec(None, 5)), 4)) >= 4 * 10_000


@pytest.mark.parametrize(("count", "rate"), [(1, None), (3_000_000, None), (100, 5.0), (0, 100.0), (0, None)])
def test_no_event_is_ahead_of_the_clock_by_default(count: int, rate: float | None):
    """At the end of an hour of sending, or of all records."""
    now_ms = 1_795_879_243_000
    a_second = rate or 300_000
    sent = min(count or 3_600 * a_second, 3_600 * a_second)
    last = default_start(now_ms, count, rate) + 10 * (sent - 1)
    assert last <= now_ms + 1_000 * sent / a_second


@pytest.mark.parametrize("pattern", ["words", "uniques", "steady"])
def test_the_last_of_many_records_is_not_ahead_of_the_clock(pattern: str):
    now_ms, count = 1_795_879_243_000, 100_000
    first = default_start(now_ms, count, None, step_ms=STEP_MS.get(pattern, 10))
    *_, last = chunks(pattern, Spec(count, first))
    numbers = [int(number) for number in re.findall(rb"\d{10,13}", last.values[-1] + last.values[-2])]
    seconds = [number if number < 10**11 else number // 1_000 for number in numbers if number > 1_700_000_000]
    assert len(seconds) > 0
    assert max(seconds) <= now_ms // 1_000
