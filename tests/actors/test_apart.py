"""Events whose times cannot be yet: each is in a piece, in the order buffer, kept apart, or refused, and moves no watermark."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.reading.apart import Apart
from actors.reading.intake import Intake
from actors.reading.pace import Pace
from actors.records.form import Form, TimeAt
from actors.sources.polled import Gap, Place
from actors.timeline.horizon import Ahead, Horizon
from actors.views.kinds import VIEWS
from actors.views.view import UnreadyError
from tests.support.polled import polled
from tests.support.trees import kept

SETS = VIEWS["sets"](steps="RGB", max_sets=100)
NOW_S = 1_000_000
NOW = 1_000 * NOW_S
HOUR = 3_600_000


def intake(view: Any = SETS, *, ahead: Ahead | None = None, pace: Pace | None = None, keeps_dead: bool = False) -> Intake:
    policy = ahead or Ahead(HOUR)
    return Intake(
        view=view, lateness=10, idle_s=1.0, pace=pace or Pace(), keeps_dead=keeps_dead, horizon=Horizon(policy)
    )  # fmt: skip


def read(into: Intake, *values: bytes, at_s: float = 0.0, partition: int = 0) -> Any:
    """Read records when the clock of the machine is `at_s` seconds after `NOW`."""
    first = into.place.offsets.get(partition, 0)
    poll = replace(polled(list(values), first=first), partitions=np.full(len(values), partition, np.uint16))
    into.prepare(0.0, at_s, NOW_S + at_s)
    place = Place({**into.place.offsets, partition: first + len(values)})
    return into.mature(at_s), into.take(poll, place, at_s, NOW_S + at_s)


def released(into: Intake, at_s: float = 0.0) -> list[int]:
    """Return the times of all events that are released, the waiting ones too."""
    pieces = into.release(at_s, everything=True)
    return sorted(int(time) for piece in pieces for column in piece.events.times for time in column)


def lines(*times: int) -> list[bytes]:
    return [f"R_{time}".encode() for time in times]


def test_an_event_beyond_the_horizon_is_kept_apart_until_its_time():
    into = intake()
    read(into, *lines(*range(NOW - 100, NOW)))
    watermark = into.watermark(0.0)
    read(into, *lines(*range(NOW + HOUR + 1, NOW + HOUR + 51)), *lines(NOW + HOUR))
    assert into.watermark(0.0) == watermark
    report = into.report(0.0)
    assert (report.events, report.ahead, report.apart, report.apart_from) == (151, 50, 50, NOW + HOUR + 1)
    assert report.buffered_bytes > 50 * 15
    assert released(into) == [*range(NOW - 100, NOW), NOW + HOUR]
    read(into, at_s=3_600.0)
    assert into.report(0.0).apart == 50
    read(into, at_s=3_600.02)
    assert into.report(0.0).apart == 30
    assert released(into) == list(range(NOW + HOUR + 1, NOW + HOUR + 21))
    assert into.report(0.0).events == 151


@pytest.mark.parametrize(("unit", "per_s"), [("s", 1), ("ms", 1_000), ("us", 10**6), ("ns", 10**9)])
def test_the_horizon_is_in_the_unit_of_the_stream(unit: str, per_s: int):  # it names the case
    into, now = intake(ahead=Ahead(3_600 * per_s, per_s)), NOW_S * per_s
    read(into, *lines(now, now + 3_600 * per_s, now + 3_601 * per_s))
    assert into.report(0.0).apart_from == now + 3_601 * per_s
    assert released(into) == [now, now + 3_600 * per_s]


def test_without_a_limit_every_time_is_taken_in_at_once():
    into = intake(ahead=Ahead(None))
    read(into, *lines(*range(10**17, 10**17 + 20)))
    assert (into.report(0.0).ahead, into.report(0.0).apart) == (0, 0)
    assert into.watermark(0.0) is not None


def test_if_events_do_not_wait_they_are_taken_in_and_move_no_watermark():
    into = intake(ahead=Ahead(HOUR, waits=False))
    read(into, *lines(*range(NOW - 100, NOW)))
    watermark = into.watermark(0.0)
    read(into, *lines(*range(NOW + 2 * HOUR, NOW + 2 * HOUR + 50)))
    assert into.watermark(0.0) == watermark
    assert (into.report(0.0).ahead, into.report(0.0).apart) == (50, 0)
    assert len(released(into)) == 150


def test_a_partition_at_its_end_stays_there_when_a_record_that_was_kept_apart_is_taken_in():
    into = intake()
    into.opened(Place({0: 0}), [], 0.0, unreadable=False)
    read(into, *lines(NOW, NOW + 2 * HOUR))
    into.ended(polled([]), 0.0)
    assert into.idle(1.0)
    read(into, at_s=2 * 3_600.0)
    assert into.report(0.0).apart == 0
    assert not into.idle(2 * 3_600.0)
    assert into.idle(2 * 3_600.0 + 1)


def test_a_record_that_was_kept_apart_of_a_partition_that_is_gone_holds_nothing_back():
    into = intake()
    into.opened(Place({0: 0, 1: 0}), [], 0.0, unreadable=False)
    read(into, *lines(NOW))
    read(into, *lines(NOW + 2 * HOUR), partition=1)
    into.skip([Gap(number, None, "recreated") for number in (0, 1)], Place({0: 0}, epoch=1))
    read(into, *lines(NOW + 1))
    into.ended(replace(polled([]), ended=frozenset({0})), 0.0)
    read(into, at_s=2 * 3_600.0)
    assert into.report(0.0).apart == 0
    assert into.idle(2 * 3_600.0 + 1)
    assert into.report(2 * 3_600.0 + 1).held_back_by is None


def test_a_clock_that_is_set_back_keeps_nothing_apart_that_could_be_before():
    into = intake()
    read(into, *lines(NOW), at_s=0.0)
    into.prepare(0.0, 60.0, NOW_S - 7_200)
    into.take(polled(lines(NOW + 60_000), first=1), Place({0: 2}), 60.0, NOW_S - 7_200)
    assert into.report(0.0).apart == 0


def test_a_clock_that_is_set_right_takes_in_what_it_kept_apart():
    into = intake()
    into.prepare(0.0, 0.0, 5.0)  # the machine starts in 1970
    into.take(polled(lines(NOW)), Place({0: 1}), 0.0, 5.0)
    assert into.report(0.0).apart == 1
    read(into)
    assert (into.report(0.0).apart, released(into)) == (0, [NOW])


@pytest.mark.parametrize("came", [False, True])
def test_the_records_that_are_kept_apart_survive_a_restart(came: bool):
    into = intake()
    read(into, *lines(NOW), b"junk", *lines(NOW + 2 * HOUR, NOW + 3 * HOUR))
    again = intake().anew(kept(into.state()), 0.0)
    assert again.report(0.0).apart == 2
    at_s = 3 * 3_600.0 if came else 1.0
    read(again, at_s=at_s)
    assert again.report(0.0).apart == (0 if came else 2)
    assert released(again, at_s) == [NOW, *([NOW + 2 * HOUR, NOW + 3 * HOUR] if came else [])]
    assert (again.report(0.0).events, again.report(0.0).ahead) == (3, 2)


def test_after_the_limit_is_taken_away_a_restart_takes_all_in():
    into = intake()
    read(into, *lines(NOW, NOW + 2 * HOUR))
    again = intake(ahead=Ahead(None)).anew(into.state(), 0.0)
    read(again)
    assert released(again) == [NOW, NOW + 2 * HOUR]


def test_a_checkpoint_of_a_version_that_kept_nothing_apart_opens():
    into = intake()
    read(into, *lines(NOW))
    old = {name: value for name, value in into.state().items() if name not in {"apart", "ahead"}}
    assert released(intake().anew(old, 0.0)) == [NOW]


def test_records_without_room_are_refused_and_counted():
    into = intake(pace=Pace(apart_bytes=4_000), keeps_dead=True)
    _, taken = read(into, *lines(NOW, *(NOW + HOUR + number for number in range(100, 0, -1))))
    report = into.report(0.0)
    refused = report.rejects["ahead"]
    assert report.apart + refused == 100
    assert report.apart >= 9
    assert (report.apart_from, report.events) == (NOW + HOUR + 1, 1 + report.apart)
    assert {dead.reason for dead in taken.dead} == {"ahead"}
    assert len(taken.dead) == refused
    assert max(dead.value for dead in taken.dead) == f"R_{NOW + HOUR + 100}".encode()
    assert report.buffered_bytes < 4_000 + 8


def test_a_partition_whose_clock_is_ahead_holds_no_other_back():
    into = intake()
    for number in (0, 1):
        into.opened(Place({0: 0, 1: 0}), [], 0.0, unreadable=False)
        assert number in (0, 1)
    read(into, *lines(*range(NOW, NOW + 20)), partition=0)
    assert into.watermark(0.0) is None  # partition 1 has not delivered any
    for at_s in (0.2, 0.5, 1.2):
        read(into, *lines(*range(NOW + 2 * HOUR, NOW + 2 * HOUR + 20)), partition=1, at_s=at_s)
        read(into, *lines(*range(NOW + 20, NOW + 40)), partition=0, at_s=at_s)
    assert into.watermark(1.2) == NOW + 39 - 10
    read(into, *lines(NOW + 5), partition=1, at_s=1.3)  # its clock is right again
    assert into.watermark(1.3) == NOW + 5 - 10


def test_records_of_several_epochs_are_taken_in_one_epoch_after_the_other():
    apart = Apart(10_000)
    for epoch in (0, 1):
        assert apart.keep(polled(lines(5, 4), epoch=epoch), np.array([5, 4])) == []
    first, second = apart.take(5), apart.take(5)
    assert [each.polled.epoch for each in (first, second)] == [0, 1]
    assert [each.polled.values for each in (first, second)] == [lines(5, 4), lines(5, 4)]
    assert (len(apart), apart.nbytes) == (0, 0)
    apart.put_back(second)
    assert (len(apart), apart.first) == (2, 4)


def test_if_the_decoder_fails_at_records_that_were_kept_apart_they_are_read_again_and_then_refused():
    class Fragile:
        failing = False

        def __getattr__(self, name: str) -> Any:
            return getattr(SETS, name)

        def decode(self, poll: Any) -> Any:
            if self.failing and f"R_{NOW + 2 * HOUR}".encode() in poll.values:
                raise ZeroDivisionError
            return SETS.decode(poll)

    view = Fragile()
    into = intake(view)
    read(into, *lines(NOW, NOW + 2 * HOUR, NOW + 2 * HOUR + 1))
    view.failing = True
    with pytest.raises(ZeroDivisionError):
        read(into, at_s=3 * 3_600.0)
    assert (into.undecoded, into.report(0.0).apart) == (True, 2)
    read(into, at_s=3 * 3_600.0)
    report = into.report(0.0)
    assert (report.apart, report.events, report.rejects) == (0, 2, {"poison": 1})
    assert released(into) == [NOW, NOW + 2 * HOUR + 1]


def made(view: str) -> Any:
    return SETS if view == "sets" else VIEWS[view]()


def record(view: str, time: int) -> bytes:
    """Return a record of an event at `time`, ms."""
    match view:
        case "sets":
            return f"R_{time}".encode()
        case "uniques":
            return json.dumps({"ts": time / 1000, "uid": f"u{time}"}).encode()
    return json.dumps({"event_type": "a", "data": "b c", "timestamp": time / 1000}).encode()


@pytest.mark.parametrize("view", ["sets", "uniques", "words"])
@given(
    st.lists(
        st.lists(st.sampled_from([-HOUR, -5, 0, 5_000, HOUR, HOUR + 1_000, 2 * HOUR, 10**12, None]), max_size=6), max_size=6
    ),
    st.integers(0, 2 * 3_600),
    st.integers(0, 2_000),
)
def test_each_event_is_released_or_buffered_or_apart_or_refused(
    view: str, polls: list[list[int | None]], step_s: int, apart_bytes: int
):
    into = intake(made(view), pace=Pace(apart_bytes=apart_bytes))
    sent = junk = at_s = out = 0
    for poll in polls:
        values = [b"junk" if each is None else record(view, NOW + each) for each in poll]
        sent, junk = sent + len(poll), junk + poll.count(None)
        read(into, *values, at_s=at_s)
        out += sum(piece.events.count for piece in into.release(at_s, everything=False))
        report = into.report(at_s)
        refused = report.rejects.get("ahead", 0)
        assert report.records == sent
        assert report.events == sent - junk - refused
        assert out + report.buffered + report.apart == report.events
        assert report.apart_from is None or report.apart_from > NOW + 1_000 * at_s
        into = intake(made(view), pace=Pace(apart_bytes=apart_bytes)).anew(into.state(), at_s)
        at_s += step_s


class Unready(type(SETS)):  # type: ignore[misc]
    """Sets whose records cannot be decoded while `unready`."""

    unready = False

    def decode(self, records: Any) -> Any:
        if self.unready:
            raise UnreadyError("schema 7")
        return super().decode(records)


def test_a_record_whose_schema_is_not_known_yet_stays_apart_and_is_no_poison():
    view = Unready(steps="RGB", max_sets=100)
    into = intake(view)
    read(into, *lines(NOW, NOW + HOUR + 1))
    restored = intake(view).anew(kept(into.state()), 0.0)
    view.unready = True
    restored.prepare(0.0, 0.0, NOW_S + 3_601.0)
    for _ in range(3):
        assert restored.mature(3_600.0).records == 0
    assert (restored.report(0.0).apart, restored.undecoded) == (1, False)
    poll, place = polled(lines(NOW + 5), first=2), Place({0: 3})
    for _ in range(3):
        with pytest.raises(UnreadyError):
            restored.take(poll, place, 3_600.0, NOW_S + 3_600.0)
        assert restored.undecoded
        assert restored.place.offsets == {0: 2}
    view.unready = False
    assert restored.mature(3_600.0).records == 1
    restored.take(poll, place, 3_600.0, NOW_S + 3_600.0)
    report = restored.report(0.0)
    assert (report.events, report.apart, report.rejects) == (3, 0, {})


@pytest.mark.parametrize("has_keys", [True, False])
def test_the_keys_of_records_that_are_kept_apart_survive_a_restart(has_keys: bool):
    keys = {0: b"a", 2: b"", 3: "ä".encode()}
    apart = Apart(10_000)
    assert apart.keep(polled(lines(3, 2, 4, 1), keys=keys), np.array([3, 2, 4, 1])) == []
    state = kept(apart.state())
    if not has_keys:  # as earlier versions wrote it
        state = {name: each for name, each in state.items() if not name.startswith("key")}
    again = Apart(10_000)
    again.restore(state)
    found = again.take(9).polled
    assert [found.key_of(place) for place in range(4)] == [keys.get(place) if has_keys else None for place in range(4)]
    assert (again.nbytes, len(again)) == (0, 0)


def test_an_event_by_the_key_of_its_record_is_taken_in_with_its_key_when_its_time_comes():
    form = Form({"step": "/s"}, TimeAt("/t"))
    into = intake(VIEWS["funnel"](steps=["a", "b"], within=10, record=form))
    poll = polled([json.dumps({"s": "a", "t": NOW + 2 * HOUR}).encode()], keys={0: b"A7"})
    into.prepare(0.0, 0.0, NOW_S)
    into.take(poll, Place({0: 1}), 0.0, NOW_S)
    assert into.report(0.0).apart == 1
    into.prepare(0.0, 9_000.0, NOW_S + 9_000.0)
    into.mature(9_000.0)
    (piece,) = into.release(9_000.0, everything=True)
    assert piece.events.keys.take(np.arange(1)) == [b"A7"]
    assert into.report(9_000.0).rejects == {}
