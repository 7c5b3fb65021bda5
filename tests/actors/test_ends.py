"""The ends of partitions: only the broker's answer tells an open transaction from records that are on their way."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from actors.sources.kafka.ends import Ends, Highs

NONE = np.zeros(0, np.uint8)


@dataclass
class Broker:
    """The end of each partition, committed or not, and the requests that it has not answered."""

    high: dict[int, int] = field(default_factory=dict)
    asked: list[tuple[int, Future[Any]]] = field(default_factory=list)

    def stable(self, partitions: Any) -> dict[int, Future[Any]]:
        made: dict[int, Future[Any]] = {number: Future() for number in partitions}
        self.asked += made.items()
        return made

    def answer(self, stable: dict[int, int] | None) -> None:
        """Answer every request with the first offset of an open transaction, or with an error."""
        for number, future in self.asked:
            if stable is None:
                future.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            else:
                future.set_result(type("Offset", (), {"offset": stable[number]}))
        self.asked.clear()


def watched(**high: int) -> tuple[Broker, Ends]:
    broker = Broker({int(name[1:]): end for name, end in high.items()})
    return broker, Ends(broker.high.__getitem__, broker.stable)


def test_a_partition_whose_last_record_is_read_is_at_its_end_and_nothing_is_asked():
    broker, ends = watched(p0=10)
    assert ends.after(NONE, {0: 10}, 0.0) == {0}
    assert ends.after(NONE, {}, 5.0) == frozenset()
    assert (ends.held, broker.asked) == ({}, [])


def test_a_transaction_is_named_when_the_broker_confirms_it_and_forgotten_when_it_ends():
    broker, ends = watched(p0=15, p1=3)
    assert ends.after(NONE, {0: 10, 1: 3}, 1.0) == {1}
    assert ends.held == {0: None}, "the records may be on their way"
    broker.answer({0: 10})
    ends.after(NONE, {}, 1.1)
    assert ends.held == {0: 10}
    assert ends.after(np.array([0, 0], np.uint8), {0: 15}, 1.2) == {0}
    assert ends.held == {}


def test_records_on_their_way_are_never_called_a_transaction():
    broker, ends = watched(p0=15)
    ends.after(NONE, {0: 10}, 1.0)
    broker.answer({0: 15})
    ends.after(NONE, {}, 1.1)
    assert ends.held == {0: None}


def test_a_transaction_behind_read_records_takes_the_end_back():
    broker, ends = watched(p0=10)
    assert ends.after(NONE, {0: 10}, 1.0) == {0}
    broker.high[0] = 12
    ends.after(NONE, {}, 1.1)
    assert ends.held == {}, "not yet: the ends are compared five times a second"
    ends.after(NONE, {}, 1.3)
    assert ends.held == {0: None}


def test_a_broker_that_does_not_answer_is_asked_once_a_second():
    broker, ends = watched(p0=15)
    requests = 0
    for tenth in range(31):
        ends.after(NONE, {0: 10} if not tenth else {}, 1.0 + tenth / 10)
        requests += len(broker.asked)
        broker.answer(None)
    assert ends.held == {0: None}
    assert 3 <= requests <= 4


def test_an_answer_that_comes_after_the_records_changes_nothing():
    broker, ends = watched(p0=15)
    ends.after(NONE, {0: 10}, 1.0)
    ends.after(np.array([0], np.uint8), {}, 1.1)
    broker.answer({0: 10})
    ends.after(NONE, {}, 2.5)
    assert ends.held == {}


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["end", "held", "read", "forget"])), max_size=40))
def test_a_partition_is_held_if_and_only_if_its_end_is_behind_the_broker(steps: list[tuple[int, str]]):
    broker, now, model = Broker(dict.fromkeys(range(4), 10)), 0.0, dict.fromkeys(range(4), False)
    ends = Ends(broker.high.__getitem__, broker.stable)
    for number, step in steps:
        now += 0.3
        match step:
            case "end":
                ended = ends.after(NONE, {number: 10}, now)
                broker.high[number] = max(broker.high[number], 10)
                assert (number in ended) == (broker.high[number] == 10)
                model[number] = broker.high[number] > 10
            case "held":
                broker.high[number] = 12
                model[number] = model[number] or number in ends._reached
                ends.after(NONE, {}, now)
            case "read":
                ends.after(np.array([number], np.uint8), {}, now)
                model[number] = False
            case _:
                ends.forget({number})
                model[number] = False
        assert {each for each, held in model.items() if held} == set(ends.held)


def test_the_end_of_few_partitions_is_asked_for_each_time_and_that_of_many_partitions_more_seldom():
    asked: list[int] = []

    def high(number: int) -> int:
        asked.append(number)
        return len(asked)

    few, many = Highs(high), Highs(high)
    few.of({0: 0, 1: 0}.keys(), 10.0)
    assert dict(few.of({0: 0, 1: 0}.keys(), 10.01)) == {0: 3, 1: 4}
    numbers = dict.fromkeys(range(10_000)).keys()
    first = dict(many.of(numbers, 20.0))
    asked.clear()
    assert many.of(numbers, 24.9) == first
    assert many.of(numbers, 25.0) != first
    assert len(asked) == 10_000


def test_the_end_of_a_new_partition_is_asked_for_at_once():
    ends = {0: 5, 1: 6}
    highs = Highs(ends.__getitem__)
    assert highs.of({0: 0}.keys(), 1.0) == {0: 5}
    assert highs.of(ends.keys(), 1.0) == ends
    assert highs.of({1: 0}.keys(), 1.0) == {1: 6}
