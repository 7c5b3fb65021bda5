"""The truths of chaos runs are right, and the verifier sees one record too few or too many, or too early. No service is needed."""

import json
import random
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from scripts.lab.chaos.makers import MAKERS, PARTITIONS, Sets
from scripts.lab.chaos.oracle import TRUTHS, SetsTruth, TopTruth, Truth
from scripts.lab.chaos.verifier import Client, Output, Verifier, conservation, last_rows, parting, row_of, twice
from scripts.lab.topics import temporary_topics, visible_count
from scripts.lab.truth import GRANULARITIES, greedy, period
from tests.support.waiting import until


def made(view: str, seed: int, count: int = 400) -> list[bytes]:
    maker = MAKERS[view](str(seed), PARTITIONS[view])
    values = [record.value for record in maker.next(count)]
    closing = maker.closing()
    return values + ([record.value for record in closing[1]] if closing is not None else [])


def truth_of(view: str, values: list[bytes]) -> Truth:
    truth = TRUTHS[view]()
    for value in values:
        truth.take(value)
    truth.settle(1 << 60)
    return truth


def answers(view: str, values: list[bytes]) -> dict[str, Any]:
    truth = truth_of(view, values)
    return {**truth.expected((0, 1 << 60) if view != "segments" else (1, 30)), **conservation(truth)}


@pytest.mark.parametrize("seed", range(20))
def test_the_truth_has_the_sets_of_greedy_matching(seed: int):
    values = made("sets", seed)
    events = [(int(value[2:]), b"RGB".index(value[:1])) for value in values if re.fullmatch(rb"[RGB]_[0-9]+", value)]
    sets = [
        tuple(event["timestamp"] for event in json.loads(line).values())
        for line in answers("sets", values)["all sets"].splitlines()
    ]
    assert sets == greedy(events, 3)
    assert len(sets) > 50


@pytest.mark.parametrize("seed", range(5))
def test_matching_in_parts_gives_the_same_sets_as_matching_at_once(seed: int):
    maker, truth, values = Sets(str(seed), 3), SetsTruth(), []
    for _ in range(5):
        events = list(maker.next(100))
        begin, end = maker.closing()
        for record in events + end:
            truth.take(record.value)
            values.append(record.value)
        truth.settle(begin)
        assert len(truth.waiting) == len(end)
    truth.settle(1 << 60)
    assert truth.expected((0, 1 << 60)) == truth_of("sets", values).expected((0, 1 << 60))


@pytest.mark.parametrize("view", TRUTHS)
@pytest.mark.parametrize("seed", range(5))
def test_one_record_more_less_or_changed_changes_the_answers(view: str, seed: int):
    chance, values = random.Random(seed), made(view, seed)
    right = answers(view, values)
    assert answers(view, values) == right
    told = 0
    for _ in range(20):
        place = chance.randrange(len(values))
        dropped = answers(view, values[:place] + values[place + 1 :])
        repeated = answers(view, [*values, values[place]])
        for wrong in (dropped, repeated):
            assert wrong["records"] != right["records"]
            told += any(
                wrong[question] != right[question] for question in right if question not in conservation(truth_of(view, []))
            )
    # A repeated segment changes nothing, nor does a value that is superseded, or an event that no set needs.
    assert told >= {"sets": 20, "top": 12, "segments": 15, "uniques": 38, "words": 38, "funnel": 15}[view]


def test_a_dataset_is_ranked_by_value_then_id_and_empty_after_a_clear():
    truth = TopTruth()
    for value in (b"a_1", b"b_5", b"c_5", b"a_7", b"b", b"d_-3", b"e_1_2"):
        truth.take(value)
    assert truth.expected((0, 2)) == {"all ids": ["a", "c", "b", "d"], "the first ids": ["a", "c"], "how many ids": 4}
    assert conservation(truth)["rejects"] == 2
    truth.clear(4)
    assert truth.expected((0, 2))["all ids"] == []
    assert (truth.records, truth.events) == (11, 9)


@pytest.mark.parametrize("view", ["sets", "uniques", "words"])
def test_an_event_of_the_future_is_in_no_answer_before_its_time(view: str):
    values, maker = made(view, 1), MAKERS[view]("2", 2)
    second = 2_000_000_000
    early = maker.at_time(second)
    assert early is not None
    truth = truth_of(view, values)
    truth.keep_apart(1_000 * second, early.value)
    truth.admit(1_000 * second - 1)
    assert truth.expected((0, 1 << 60)) == truth_of(view, values).expected((0, 1 << 60))
    assert conservation(truth)["events kept apart"] == 1
    assert conservation(truth)["events"] == truth_of(view, values).events + 1
    truth.admit(1_000 * second)
    assert conservation(truth) == conservation(truth_of(view, [*values, early.value]))
    if view != "sets":  # a set needs three events
        assert truth.expected((0, 1 << 60)) == truth_of(view, [*values, early.value]).expected((0, 1 << 60))


def test_a_batch_is_finished_once_by_its_first_segments():
    segments = [b'{"batch_id":7,"segment_id":%d,"data":[%d,%d]}' % (place, place, 20 + place) for place in range(10)]
    again = b'{"batch_id":7,"segment_id":0,"data":[99]}'
    got = answers("segments", [*segments[:4], again, *segments[4:], again, b'{"batch_id":8,"segment_id":3,"data":[1]}', b"{"])
    assert got["finished batches"] == [[7, 20, 0, 29]]
    assert got["lines of the file"] == [b", ".join(b"%d" % number for number in (*range(10), *range(20, 30)))]
    assert got["pending batches"] == [[8, [0, 1, 2, 4, 5, 6, 7, 8, 9]]]
    assert (got["events"], got["rejects"]) == (13, 1)


def test_periods_are_those_of_the_calendar():
    at = 1_709_210_096  # Thursday, 29 February 2024, 12:34:56
    days = {name: [(edge - at) / 86_400 for edge in period(name, at)] for name in GRANULARITIES}
    assert all(start <= 0 < end for start, end in days.values())
    lengths = {name: round(86_400 * (end - start)) for name, (start, end) in days.items()}
    assert lengths == {
        "minute": 60,
        "hour": 3_600,
        "day": 86_400,
        "week": 7 * 86_400,
        "month": 29 * 86_400,
        "year": 366 * 86_400,
    }
    assert period("week", at)[0] == 1_708_905_600, "a Monday"


def row(start: int, revision: int, unique: int = 3, **other: Any) -> bytes:
    shown = {"granularity": "minute", "start": start, "end": start + 60, "unique": unique, "frames": 5, "lower": unique}
    return json.dumps({**shown, "upper": unique, "exact": True, "final": True, "revision": revision, **other}).encode()


def test_the_last_row_of_a_period_counts_and_a_repeated_revision_is_reported():
    rows = [row(60, 1), row(0, 1), row(60, 2, unique=4)]
    assert last_rows(rows) == {"minute": [[0, 60, 3, 5], [60, 120, 4, 5]]}
    assert twice(rows) == []
    assert twice([*rows, row(60, 2, unique=4)]) == ["('minute', 60, 2)"]
    with pytest.raises(ValueError, match="not exact"):
        row_of(json.loads(row(0, 1, exact=False)))
    with pytest.raises(ValueError, match="not exact"):
        row_of(json.loads(row(0, 1, upper=9)))


def test_the_place_of_a_difference_is_reported():
    assert parting(b"a\nb\n", b"a\nc\n") == "expected b'b', got b'c', at 1 (2 expected, 2 got)"
    assert parting([1, 2], [1]) == "expected 2, got 'nothing', at 1 (2 expected, 1 got)"
    assert parting([], [5]) == "expected 'nothing', got 5, at 0 (0 expected, 1 got)"
    assert parting({"a": 1, "b": 2}, {"a": 1}) == "b: expected 2, got None"
    assert parting(3, 4) == "expected 3, got 4"


class Answering(Client):
    """A client that gives the same answers to every question about words and about users, after some time."""

    def __init__(self, words: dict[str, int], uniques: list[int], after_s: float = 0.0) -> None:
        super().__init__(1)
        self.answers = {"words": words, "uniques": {"uniques": uniques}}
        self.after_s = after_s

    def get(self, path: str) -> Any:
        time.sleep(self.after_s)
        return self.answers[path.split("/")[1].partition("?")[0]]


def verifier_of(client: Client, folder: Path = Path(), *, exactly_once: bool = True, **outputs: Any) -> Verifier:
    truths = {view: TRUTHS[view]() for view in TRUTHS}
    return Verifier(client, truths, folder, outputs, exactly_once, random.Random(1))


@pytest.mark.parametrize(
    ("words", "uniques", "views"),
    [({}, [], set()), ({"foo": 1}, [], {"words"}), ({}, [1], {"uniques"}), ({"foo": 1}, [1], {"words", "uniques"})],
)
def test_an_answer_about_the_future_is_a_difference(words: dict[str, int], uniques: list[int], views: set[str]):
    assert {each.view for each in verifier_of(Answering(words, uniques)).early()} == views


def test_an_answer_that_took_long_is_not_judged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scripts.lab.chaos.verifier._EARLY_S", 2)  # as far as an event may be ahead
    assert verifier_of(Answering({"foo": 1}, [1], after_s=0.01)).early() == []


class Rows:
    """An output topic with these records."""

    def __init__(self, *rows: bytes) -> None:
        self._rows = list(rows)

    def records(self) -> list[bytes]:
        return self._rows


def test_a_line_that_is_twice_in_the_topic_or_in_the_file_is_a_difference_if_results_come_once(tmp_path: Path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "output.txt").write_bytes(b"1, 2\n1, 2\n")
    for exactly_once, right in ((True, [b"1, 2", b"1, 2"]), (False, [b"1, 2"])):
        judge = verifier_of(Client(1), tmp_path, exactly_once=exactly_once, segments=Rows(b"1, 2", b"1, 2"))
        found = judge._segments((0, 1))  # the questions of a view
        assert found["lines of the topic"]() == right
        assert found["lines of the file"]() == right


@pytest.mark.broker
def test_only_committed_rows_of_a_topic_are_judged(broker: str):
    name = f"rows-{uuid.uuid4().hex}"
    with temporary_topics(broker, {name: 1}):
        producer = Producer({"bootstrap.servers": broker, "transactional.id": name})
        producer.init_transactions(30)
        for value, commits in ((row(0, 1), True), (row(60, 1), False), (row(0, 1), True)):
            producer.begin_transaction()
            producer.produce(name, value)
            producer.flush(30)
            if commits:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)
        assert visible_count(broker, name) == 2
        output = Output(broker, name)
        try:
            until(lambda: len(output.records()) == 2)
            assert twice(output.records()) == ["('minute', 0, 1)"]
            assert [*last_rows(output.records())["minute"]] == [[0, 60, 3, 5]]
        finally:
            output.close()
