"""The intake: gaps are counted once and narrowed as soon as possible, and a poll that cannot be decoded changes nothing."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.collecting.ledger import Ledger
from actors.messages import Ingest, RecordsMissing
from actors.reading.intake import Intake
from actors.reading.pace import Pace
from actors.reading.poison import Origin
from actors.records.form import Form, TimeAt
from actors.sources.polled import Gap, Place
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from tests.support.polled import polled
from tests.support.trees import kept

VIEW = VIEWS["sets"](steps="RGB", max_sets=100)
LATENESS = 10


class Fragile:
    """A view whose decoder fails at the record `bad`."""

    def __init__(self, bad: bytes, inner: Any = VIEW) -> None:
        self._bad = bad
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decode(self, poll: Any) -> Any:
        if self._bad in poll.values:
            raise ZeroDivisionError
        return self._inner.decode(poll)


def intake(view: Any = VIEW, *, keeps_dead: bool = False) -> Intake:
    return Intake(view=view, lateness=LATENESS, idle_s=1.0, pace=Pace(buffer_events=1_000), keeps_dead=keeps_dead)


def read(into: Intake, ledger: Ledger, time: int, partition: int = 0) -> None:
    """Take in one event of a partition, and enter the gaps that it ends into the ledger."""
    poll = replace(polled([f"R_{time}".encode()]), partitions=np.full(1, partition, np.uint16))
    for missed in into.take(poll, Place({**into.place.offsets, partition: time}), 0.0, 0.0).missing:
        ledger.miss(missed)


def skip(into: Intake, ledger: Ledger, *gaps: Gap) -> None:
    for missed in into.skip(gaps, into.place):
        ledger.miss(missed)


def test_a_gap_ends_at_the_next_event():
    into, ledger = intake(), Ledger(VIEW)
    read(into, ledger, 100)
    skip(into, ledger, Gap(0, 7, "deleted"))
    assert ledger.missing == (Span(90, EVER.end),)
    read(into, ledger, 200)
    assert ledger.missing == (Span(90, 211),)
    assert ledger.missed == {"deleted": 7}


@pytest.mark.parametrize("reasons", [("deleted", "deleted"), ("recreated", "deleted"), ("recreated", "recreated", "recreated")])
def test_successive_gaps_end_together(reasons: tuple[Any, ...]):
    into, ledger = intake(), Ledger(VIEW)
    read(into, ledger, 100)
    for reason in reasons:
        skip(into, ledger, Gap(0, 7, reason))
    read(intake().anew(into.state(), 0.0), ledger, 200)
    assert set(ledger.missing) == {Span(90, 211)}
    assert ledger.missed == {reason: 7 * reasons.count(reason) for reason in reasons}


def test_gaps_in_many_partitions_at_once_are_counted_once_and_end():
    into, ledger = intake(), Ledger(VIEW)
    partitions = range(150)
    for number in partitions:
        read(into, ledger, 100 + number, number)
    skip(into, ledger, *[Gap(number, 7, "deleted") for number in partitions])
    assert len(ledger.missing) <= 100
    for number in partitions:
        read(into, ledger, 1_000 + number, number)
    assert ledger.missed == {"deleted": 7 * 150}
    assert len(ledger.missing) == len(ledger.reasons()) == 100
    assert max(span.end for span in ledger.missing) < 2_000
    assert sum(count for _, _, count in ledger.reasons()) == 7 * 150


@given(st.integers(0, 1_000), st.integers(0, 60_000), st.integers(1, 480))
def test_the_time_of_a_silent_stream_goes_on_from_its_latest_event_and_never_beyond_the_clock(
    ahead: int, behind: int, eighths: int
):
    """Of an event up to a second ahead of the clock, or up to a minute behind it."""
    into, clock_s = intake(), 1_700_000_000
    latest = clock_s * 1_000 + (ahead or -behind)
    assert into.silence(0.0).time is None
    into.prepare(0.0, 0.0, clock_s)
    into.take(polled([b"R_%d" % latest]), Place({0: 1}), 0.0, clock_s)
    now = eighths / 8
    into.prepare(0.0, now, clock_s + now)
    silence = into.silence(now)
    assert silence.time == min(clock_s * 1_000, latest) + eighths * 125 - LATENESS


@given(shift=st.integers(-2_000, 2_000), restarted=st.booleans())
def test_an_event_behind_the_announced_time_of_a_silence_is_late(shift: int, *, restarted: bool):
    """Of a view that needs no order. In a silence, the time of the stream goes on with the clock, and results become final."""
    clock_s, latest = 1_700_000_000, 1_700_000_000_000
    form = Form({"step": "/step", "key": "/key"}, TimeAt("/at", "ms"))
    view = VIEWS["funnel"](steps=("a", "b"), within=100, record=form)
    into = Intake(view=view, lateness=LATENESS, idle_s=1.0, pace=Pace(), keeps_dead=False)
    into.prepare(0.0, 0.0, clock_s)
    into.take(polled([b'{"step":"a","key":"k","at":%d}' % latest]), Place({0: 1}), 0.0, clock_s)
    into.prepare(0.0, 10.0, clock_s + 10.0)
    silence = into.silence(10.0)
    into.announce(silence)
    if restarted:
        into = into.anew(kept(into.state()), 10.0)
    assert silence.time is not None
    into.take(polled([b'{"step":"a","key":"k","at":%d}' % (silence.time + shift)]), Place({0: 2}), 10.0, clock_s + 10.0)
    assert into.report(10.0).late == into.report(10.0).late_by_silence == (shift < 0)


def test_an_unreadable_checkpoint_leaves_a_gap_in_each_partition_with_earlier_records():
    missing = intake().opened(Place({0: 0, 1: 5}), [], 0.0, unreadable=True)
    assert missing == [RecordsMissing("gap 1", "unreadable", EVER, 0)]


def test_a_ledger_keeps_the_newest_hundred_spans_apart():
    ledger = Ledger(VIEW)
    for number in range(300):
        ledger.miss(RecordsMissing(f"gap {number}", "deleted", Span(10 * number, 10 * number + 5), 1))
    assert len(ledger.missing) == 100
    assert ledger.missing[0] == Span(0, 2_005)
    assert ledger.missed == {"deleted": 300}


def test_a_poll_that_cannot_be_decoded_changes_nothing_at_first_and_is_then_read_without_the_bad_record():
    into = intake(Fragile(b"R_3"), keeps_dead=True)
    into._suspects._records = {(0, 0, 1)}
    poll, end = polled([b"R_1", b"R_2", b"R_3", b"junk"]), Place({0: 4}, "topic")
    before = into.state()
    with pytest.raises(ZeroDivisionError):
        into.take(poll, end, 0.0, 0.0)
    assert str(into.state()) == str(before)
    taken = into.take(poll, end, 0.0, 0.0)
    assert [(dead.offset, dead.reason) for dead in taken.dead] == [(1, "poison"), (2, "poison"), (3, "no_underscore")]
    report = into.report(0.0)
    assert (report.records, report.events, report.rejects) == (4, 1, {"poison": 2, "no_underscore": 1})
    assert into.place == end


def test_the_suspicion_ends_when_the_topic_is_recreated():
    into = intake()
    into.skip([], Place({0: 100}, "old"))
    batch = VIEW.decode(polled([b"R_1"])).batch
    into.suspect(Ingest(batch, None, 0, origin=Origin({0: 99}, {0: 100}, 0)))
    assert into.one_by_one
    into.prepare(0.0, 0.0, 0.0)
    assert not into.one_by_one
    into.suspect(Ingest(batch, None, 0, origin=Origin({0: 2}, {0: 3}, 0)))
    into.skip([], Place({0: 2}, "old"))
    into.prepare(0.0, 0.0, 0.0)
    assert into.one_by_one, "the record comes again"
    into.skip([], Place({0: 3}, "new", 1))
    into.suspect(Ingest(batch, None, 0, origin=Origin({0: 1}, {0: 2}, 1)))
    into.skip([], Place({0: 200}, "old"))
    into.prepare(0.0, 0.0, 0.0)
    assert into.one_by_one, "the new topic is read again after a return to an earlier checkpoint"
    into.skip([], Place({0: 3}, "new", 1))
    into.prepare(0.0, 0.0, 0.0)
    assert not into.one_by_one


@pytest.mark.parametrize("suspected", [False, True])
def test_pieces_are_cut_at_times_and_report_how_far_the_stream_is_complete(suspected: bool):
    into = Intake(view=VIEW, lateness=LATENESS, idle_s=1.0, pace=Pace(micro_batch=30), keeps_dead=False)
    into.take(polled([b"RGB"[n % 3 : n % 3 + 1] + b"_%d" % (n // 2) for n in range(400)]), Place({0: 400}), 0.0, 0.0)
    if suspected:
        into.suspect(Ingest(VIEW.decode(polled([b"R_50", b"R_60"])).batch, None, 0))
    pieces = into.release(0.0, everything=False)
    assert sum(piece.events.count for piece in pieces) == 2 * (199 - LATENESS)
    assert all(0 < piece.events.count <= 60 for piece in pieces)
    assert [piece.until for piece in pieces] == sorted(piece.until for piece in pieces)
    for piece, following in pairwise(pieces):
        assert piece.events.last() < piece.until or suspected
        assert following.events.first() >= piece.until
    singles = [piece.events.first() for piece in pieces if piece.events.count == 1]
    assert singles == (sorted([*range(50, 61), *range(50, 61)]) if suspected else [])


def test_the_place_before_a_poll_has_its_first_offsets_and_is_in_the_same_topic():
    poll = replace(polled([b"a", b"b", b"c"], first=7), partitions=np.array([1, 0, 1], np.uint8))
    assert Place({0: 9, 1: 10, 2: 5}, "topic", 3).before(poll) == Place({0: 8, 1: 7, 2: 5}, "topic", 3)


def test_a_deleted_partition_does_not_hold_the_others_back():
    into, ledger = intake(), Ledger(VIEW)
    read(into, ledger, 100, 0)
    read(into, ledger, 500, 1)
    assert into.watermark(0.0) == 90
    into.skip([Gap(0, None, "recreated")], Place({1: 500}))
    assert into.watermark(0.0) == 490


def test_a_partition_is_read_alone_until_few_events_wait_for_it():
    into = intake()
    read(into, Ledger(VIEW), 1, 1)
    assert into.partition_to_catch_up(0.0, None) is None
    into.take(polled([b"R_%d" % (100 + number) for number in range(300)]), Place({0: 300, 1: 1}), 0.0, 0.0)
    assert into.partition_to_catch_up(0.0, None) == 1
    assert into.partition_to_catch_up(0.0, 1) == 1
    assert into.partition_to_catch_up(0.0, 0) is None, "another partition is the slowest now"
    assert len(into.release(0.0, everything=True)) > 0
    assert into.partition_to_catch_up(0.0, 1) is None


def test_everything_is_released_however_little_it_is():
    into = intake()
    into.take(polled([b"R_%d" % number for number in range(300)]), Place({0: 300}), 0.0, 0.0)
    assert sum(piece.events.count for piece in into.release(0.0, everything=False)) == 300 - 1 - LATENESS
    assert into.release(0.0, everything=False) == []
    assert sum(piece.events.count for piece in into.release(0.0, everything=True)) == 1 + LATENESS
    assert into.flush() == []


def test_the_counts_since_the_start_do_not_fall_when_the_stream_goes_back():
    into, ledger = intake(), Ledger(VIEW)
    read(into, ledger, 100)
    state = into.state()
    assert intake().anew(state, 0.0).report(0.0).since_start["records"] == 0, "an earlier process has read it"
    for time in (200, 300):
        read(into, ledger, time)
    into = into.anew(state, 0.0)
    assert (into.report(0.0).records, into.report(0.0).since_start["records"]) == (1, 3)
    read(into, ledger, 200)
    assert (into.report(0.0).records, into.report(0.0).since_start["records"]) == (2, 4)
    assert into.anew(None, 0.0).report(0.0).since_start["records"] == 4


def test_records_of_no_interest_are_counted_apart_and_a_checkpoint_has_their_number():
    form = Form({"step": "/type"}, TimeAt("/at", "ms"), "ms")
    into = intake(VIEWS["sets"](steps=["a", "b"], max_sets=9, record=form))
    values = [b'{"type":"a","at":1}', b'{"type":"x"}', b"{", b'{"type":"y","at":{}}', b'{"type":"b"}', b'{"type":"b","at":2}']
    into.prepare(0.0, 0.0, 0.0)
    into.take(polled(values), Place({0: 6}), 0.0, 0.0)
    report = into.report(0.0)
    assert (report.records, report.events, report.other) == (6, 2, 2)
    assert report.rejects == {"not_json": 1, "/at: expected a number of milliseconds since 1970, got nothing": 1}
    assert report.since_start["other"] == 2
    again = into.anew(kept(into.state()), 0.0)
    assert again.report(0.0).other == 2
    old = {name: value for name, value in into.state().items() if name != "other"}
    assert into.anew(kept(old), 0.0).report(0.0).other == 0, "a checkpoint of an earlier version"
