"""The newest records of a stream for display: the last ones of every poll, with what the view made of them, in bounded memory."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.values import Values
from actors.reading.newest import COUNT, Newest
from actors.sources.polled import of_one_partition
from actors.timeline.samples import HEADERS_BYTES, KEY_BYTES, VALUE_BYTES, Sample
from actors.views.view import Decoded

Poll = list[tuple[bytes | None, bool]]


def sampled(ring: Newest, poll: Poll, first: int, now: float) -> None:
    """Take a poll whose record k has the offset `first` + k, the key of this number and, if it is an event, this time."""
    values = Values.of([value for value, _ in poll])
    accepted = np.array([is_event for _, is_event in poll], np.bool_)
    offsets = np.arange(first, first + len(poll))
    polled = of_one_partition(
        values,
        first,
        lambda: offsets * 10,
        key_of=lambda index: b"%d" % (first + index),
        headers_of=lambda index: [("n", b"%d" % (first + index))],
    )
    ring.take(polled, Decoded(offsets[accepted], None, None if accepted.all() else accepted, []), now)


@given(st.lists(st.tuples(st.lists(st.tuples(st.none() | st.binary(max_size=9), st.booleans()), max_size=40), st.floats(0, 3))))
def test_the_end_of_every_poll_is_kept_as_it_was_decoded(polls: list[tuple[Poll, float]]):
    ring = Newest(timed=True)
    now, first, least = 0.0, 0, 0
    wanted: list[Sample] = []
    for poll, passed in polls:
        now += passed
        sampled(ring, poll, first, now)
        wanted += [
            Sample(
                0, at, at * 10, is_event, at if is_event else None, value if value is None else len(value),
                value or b"", b"%d" % at, (("n", b"%d" % at),),
            )
            for at, (value, is_event) in enumerate(poll, first)
        ]  # fmt: skip
        first += len(poll)
        least += bool(poll)
    found = ring.newest()
    by_offset = {each.offset: each for each in wanted}
    assert all(by_offset[each.offset] == each for each in found)
    assert all(later.offset > earlier.offset for later, earlier in itertools.pairwise(found))
    assert min(least, COUNT) <= len(found) <= COUNT
    if wanted:
        assert found[0] == wanted[-1]
        if len(wanted) <= COUNT:
            assert len(found) == len(wanted), "few records are all kept"


def test_under_load_few_records_of_a_poll_are_kept_and_each_is_cut():
    ring, poll = Newest(timed=False), [(b"x" * 2_000, True)] * 1_000
    for turn in range(50):
        sampled(ring, poll, turn * 1_000, turn * 0.01)
    offsets = [each.offset for each in ring.newest()]
    assert len(offsets) == COUNT
    assert len({offset // 1_000 for offset in offsets}) >= 40, "every poll has its last record here"
    assert {(each.length, each.head, each.time) for each in ring.newest()} == {(2_000, b"x" * VALUE_BYTES, None)}
    values = Values.of([b"1"])
    long = of_one_partition(
        values, 0, lambda: np.zeros(1, np.int64), key_of=lambda _: b"k" * 999, headers_of=lambda _: [("a", b"h" * 999)] * 9
    )
    ring.take(long, Decoded(np.zeros(1, np.int64), None, None, []), 1.0)
    last = ring.newest()[0]
    assert len(last.key or b"") == KEY_BYTES
    assert sum(len(name) + len(value or b"") for name, value in last.headers) == HEADERS_BYTES
