"""Whether the leaders of partitions answer, and the reasons why brokers cannot be used, without a broker."""

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from actors.kafka_trouble import Reasons
from actors.sources.kafka.reach import Reach, Stalls


class Leaders:
    """Leaders that answer at once, except the silent ones: a request to these ends without an offset."""

    def __init__(self) -> None:
        self.ends = {0: 10, 1: 20}
        self.silent: set[int] = set()
        self.requests = 0
        self.waiting: list[Future[Any]] = []

    def ask(self, partitions: Collection[int]) -> Mapping[int, Future[Any]]:
        self.requests += 1
        answers: dict[int, Future[Any]] = {number: Future() for number in partitions}
        for number, answer in answers.items():
            if number in self.silent:
                self.waiting.append(answer)
            else:
                answer.set_result(SimpleNamespace(offset=self.ends[number]))
        return answers

    def time_out(self) -> None:
        """End the requests to silent leaders as the library does: with an impossible offset, and no error."""
        for answer in self.waiting:
            answer.set_result(SimpleNamespace(offset=-1001))
        self.waiting = []


def watched(reach: Reach, leaders: Leaders, start: float, end: float) -> set[int]:
    """Look every 100 ms; requests to silent leaders end after 2.5 s. Returns the partitions that were back."""
    back: set[int] = set()
    step, asked_at, requests = start, start, leaders.requests
    while step < end:
        if leaders.requests > requests:
            asked_at, requests = step, leaders.requests
        if step - asked_at >= 2.5:
            leaders.time_out()
        back |= reach.look((0, 1), step)
        step += 0.1
    return back


@pytest.fixture
def leaders() -> Leaders:
    return Leaders()


@pytest.fixture
def reach(leaders: Leaders) -> Reach:
    found = Reach(leaders.ask)
    watched(found, leaders, 0.0, 5.0)
    return found


def test_leaders_that_answer_are_never_silent_and_give_the_ends(reach: Reach, leaders: Leaders):
    assert (reach.silent(5.0), reach.unsure(5.0), reach.ends) == ({}, frozenset(), {0: 10, 1: 20})
    assert leaders.requests <= 6


def test_only_the_partitions_of_a_silent_leader_are_unreachable_within_ten_seconds(reach: Reach, leaders: Leaders):
    leaders.silent = {1}
    watched(reach, leaders, 5.0, 13.0)
    silent = reach.silent(13.0)
    assert list(silent) == [1]
    assert 3.0 <= silent[1] <= 5.1, "the time of its last answer"
    assert reach.unsure(13.0) == {1}
    leaders.silent = set()
    leaders.time_out()
    assert watched(reach, leaders, 13.0, 15.0) == {1}
    assert not reach.silent(15.0)


@pytest.mark.parametrize("count", [1, 3_000, 10_000])
def test_leaders_of_many_partitions_that_answer_are_never_silent(leaders: Leaders, count: int):
    leaders.ends = dict.fromkeys(range(count), 1)
    reach = Reach(leaders.ask)
    for second in range(40):
        reach.look(range(count), second)
        assert not reach.silent(second)
    leaders.silent = {0}
    silent_from = next(second for second in range(40, 99) if not reach.look(range(count), second) and reach.silent(second))
    assert silent_from <= 40 + 6 + 2 * count / 1_000, "some time after that the silence is noticed"


def test_time_in_which_nothing_looked_is_no_silence(reach: Reach, leaders: Leaders):
    watched(reach, leaders, 65.0, 65.2)
    assert not reach.silent(65.2)


def test_a_doubted_leader_is_sure_again_after_its_next_answer(reach: Reach, leaders: Leaders):
    leaders.silent = {0}
    watched(reach, leaders, 5.0, 7.0)  # a request is under way, and was sent before the doubt
    reach.doubt()
    assert reach.unsure(7.0) == {0, 1}
    leaders.silent = set()
    leaders.time_out()
    assert watched(reach, leaders, 7.0, 7.4) == {0, 1}
    assert not reach.unsure(7.4)


def error(code: int, text: str) -> KafkaError:
    return KafkaError(code, text)


def test_reasons_name_the_broker_are_equal_if_they_mean_the_same_and_hide_secrets():
    said: list[str] = []
    reasons = Reasons({"bootstrap.servers": "b:1", "sasl.password": "hunter2", "sasl.username": "me"}, said.append)
    for ms, note in ((3, ""), (40, ", 7 identical error(s) suppressed")):
        text = f"sasl_ssl://b:1/bootstrap: no hunter2 for me (after {ms}ms in state AUTH_REQ{note})"
        reasons(error(KafkaError._AUTHENTICATION, text))
    assert said == ["b:1: no *** for me"] * 2
    assert reasons.newest == ("b:1: no *** for me",)
    assert reasons.lost == 0, "no broker of the cluster is lost before one was found"
    reasons(error(KafkaError._TRANSPORT, "b:1/3: Disconnected (after 9ms in state UP)"))
    assert (reasons.newest, reasons.lost) == (("b:1: Disconnected",), 1)
    reasons.clear()
    assert reasons.newest == ()


def test_brokers_that_end_each_connection_give_a_reason_unless_they_answered_before():
    down = error(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
    reasons = Reasons({"bootstrap.servers": "b:1"})
    reasons(down)
    assert reasons.newest == ("b:1: the connection is closed at once: is security.protocol: plaintext right?",)
    reasons.clear()
    reasons(down)
    assert reasons.newest == ()


def looked(stalls: Stalls, start: int, end: int, *, offsets: dict[int, int], drained: bool = True) -> list[int]:
    """Look once a second at partitions that both end at 10. Returns the seconds at which a fresh client is wanted."""
    wanted = []
    for second in range(start, end):
        stalls.look(offsets, {0: 10, 1: 10}, float(second), drained=drained)
        if stalls.wants_client(float(second)):
            wanted.append(second)
    return wanted


def test_a_partition_is_stalled_if_its_records_do_not_come_for_ten_seconds():
    stalls = Stalls()
    assert looked(stalls, 1_000, 1_010, offsets={0: 4, 1: 10}) == []
    assert stalls.since == {}
    assert looked(stalls, 1_010, 1_012, offsets={0: 4, 1: 10}) == []
    assert stalls.since == {0: 1_000.0}, "the partition that is read to its end is not stalled"
    assert looked(stalls, 1_012, 1_013, offsets={0: 4, 1: 10}) == [1_012]
    assert looked(stalls, 1_013, 1_014, offsets={0: 5, 1: 10}) == []
    assert stalls.since == {}, "a record has come"


def test_one_partition_is_stalled_although_another_one_is_read():
    stalls = Stalls()
    for second in range(12):
        stalls.look({0: 3, 1: second}, {0: 10, 1: 1_000}, 1_000.0 + second, drained=True)
    assert stalls.since == {0: 1_000.0}


def test_fresh_clients_are_tried_less_and_less_often_and_at_once_after_a_recovery():
    stalls = Stalls()
    assert looked(stalls, 1_000, 2_100, offsets={0: 0}) == [1_012, 1_036, 1_084, 1_180, 1_372, 1_692, 2_012]
    assert looked(stalls, 2_100, 2_101, offsets={0: 10}) == []
    assert looked(stalls, 2_101, 2_120, offsets={0: 0}) == [2_113]


def test_records_that_wait_in_the_queue_of_the_client_are_no_stall_before_a_minute():
    stalls = Stalls()
    looked(stalls, 1_000, 1_060, offsets={0: 4}, drained=False)
    assert stalls.since == {}
    looked(stalls, 1_060, 1_061, offsets={0: 4}, drained=False)
    assert stalls.since == {0: 1_000.0}


def test_time_in_which_nothing_was_polled_is_no_stall():
    stalls = Stalls()
    looked(stalls, 1_000, 1_008, offsets={0: 4})
    looked(stalls, 1_020, 1_028, offsets={0: 4})
    assert stalls.since == {}


def test_a_hurry_asks_at_the_next_look_and_loses_no_answer_that_is_under_way(leaders: Leaders):
    leaders.silent = {0, 1}
    reach = Reach(leaders.ask)
    reach.look((0, 1), 5.0)
    for now in (5.05, 5.1):
        reach.hurry()
        reach.look((0, 1), now)
    assert leaders.requests == 1
    for answer in leaders.waiting:
        answer.set_result(SimpleNamespace(offset=7))
    leaders.silent = set()
    reach.look((0, 1), 5.15)
    assert (reach.known_at, reach.ends, leaders.requests) == (5.0, {0: 7, 1: 7}, 1)
    reach.hurry()
    reach.look((0, 1), 5.2)
    assert leaders.requests == 2
    reach.look((0, 1), 5.25)
    assert (reach.known_at, reach.ends) == (5.2, leaders.ends)
