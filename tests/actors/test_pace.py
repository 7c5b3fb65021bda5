"""When a front end pauses for a checkpoint: often enough, never for long, and always at the end. And which poll is load."""

from hypothesis import given
from hypothesis import strategies as st

from actors.columns.values import Values
from actors.reading.pace import Pace
from actors.reading.pause import Pause

PACE = Pace(checkpoint_s=5.0, checkpoint_events=1_000)


def test_a_poll_shows_load_by_its_records_or_by_its_bytes():
    for values, load in (
        ([b"R_1"] * 500, False),
        ([b"R_1"] * 501, True),
        ([b"x" * 65_536], False),
        ([b"x" * 65_537], True),
        ([b"x" * 40_000, None, b"x" * 40_000], True),
        ([], False),
    ):
        assert PACE.shows_load(Values.of(values)) == load


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.001, 0.1), st.floats(0.001, 0.1))
def test_a_pause_grows_with_the_silence_and_a_record_is_never_late_by_much(
    one: float, other: float, rest_s: float, most_s: float
):
    pace = Pace(rest_s=rest_s, longest_rest_s=most_s)
    shorter, longer = sorted((one, other))
    assert rest_s <= pace.rest_after(shorter) <= pace.rest_after(longer) <= max(rest_s, most_s)
    assert pace.rest_after(longer) <= max(rest_s, longer / 50)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_reports_become_rarer_with_the_silence_but_never_rarer_than_twice_a_second(one: float, other: float):
    shorter, longer = sorted((one, other))
    assert PACE.report_s <= PACE.report_after(shorter) <= PACE.report_after(longer) <= max(PACE.report_s, 0.5)
    assert PACE.report_after(longer) <= max(PACE.report_s, longer / 10)


def test_a_checkpoint_is_due_after_an_interval_or_a_number_of_records():
    pause = Pause(PACE, 0.0, 0)
    assert not pause.due(4.9, 10, 1)
    assert pause.due(5.0, 10, 1)
    assert pause.due(0.1, 1_000, 1)


def test_no_checkpoint_is_due_if_no_record_has_come():
    pause = Pause(PACE, 0.0, 7)
    assert not pause.due(100.0, 7, 0)
    assert not pause.last_due(7, 0)


def test_a_checkpoint_is_due_after_an_idle_batch_because_it_may_have_results():
    pause = Pause(PACE, 0.0, 7)
    assert pause.due(100.0, 7, 1)


def test_only_one_checkpoint_is_written_at_a_time_and_a_failed_one_is_retried():
    pause = Pause(PACE, 0.0, None)
    pause.want(5.0)
    assert pause.holds
    assert pause.wanted
    pause.ask(100, 1)
    assert pause.holds
    assert not pause.wanted
    pause.proceed(5.01)
    assert not pause.holds
    assert not pause.due(60.0, 5_000, 2)
    pause.settle(60.0, saved=False)
    assert pause.first
    assert pause.due(66.0, 5_000, 2)


def test_a_long_pause_delays_the_next_checkpoint_up_to_a_limit():
    for took, wait in ((0.4, 8.0), (60.0, 10.0)):
        pause = Pause(PACE, 0.0, 0)
        pause.want(0.0)
        pause.ask(10, 1)
        pause.proceed(took)
        pause.settle(took, saved=True)
        assert not pause.due(took + wait - 0.1, 10**6, 2)
        assert pause.due(took + wait + 0.1, 10**6, 2)


def test_the_last_checkpoint_is_tried_once_after_an_earlier_failure():
    pause = Pause(PACE, 0.0, 0)
    pause.want(0.0)
    pause.ask(10, 1)
    pause.settle(0.1, saved=False)
    assert pause.last_due(10, 1)
    pause.want(0.2, last=True)
    pause.ask(10, 1)
    pause.settle(0.3, saved=False)
    assert not pause.last_due(10, 1)
