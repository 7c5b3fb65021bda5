"""Posts to a dataset: an answer says what is known, and a repetition with its key writes nothing again."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from actors.replies import Busy, Written
from actors.sinks.posting import KafkaWriter, Unwritten
from gateway.repeats import Outcome, Repeats
from scripts.lab.chaos.proxy import Proxy
from tests.support.service import Service, service
from tests.support.sinks import committed_values
from tests.support.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def proxy(broker: str) -> Iterator[Proxy]:
    between = Proxy(broker, broker)
    try:
        yield between
    finally:
        between.close()


def post(running: Service, items: list[str], key: str = "") -> tuple[int, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    status, _, body = running.request("/dataset", "POST", json.dumps({"items": items}).encode(), **headers)
    return status, json.loads(body)


def test_an_answer_says_what_is_known_and_a_repetition_with_its_key_writes_nothing_again(proxy: Proxy, broker: str, topic: str):
    settings = ["streams.dataset.source.partitions=3", "http.deadline_ms=1000"]
    with service(proxy.bootstrap, topic, *settings, stream="dataset") as running:
        assert post(running, ["a_1", "b_2"], "first")[0] == 200
        proxy.stall()
        status, known = post(running, ["c_3", "d_4"], "second")
        assert (status, known["accepted"], known["acknowledged"], known["refused"]) == (202, 2, 0, 0)
        assert post(running, ["c_3", "d_4"], "second")[0] == 202
        status, problem = post(running, ["c_3"], "second")
        assert (status, problem["error"]["where"]) == (409, "header Idempotency-Key")
        proxy.mend()
        until(lambda: post(running, ["c_3", "d_4"], "second")[0] == 200)
        assert post(running, ["a_1", "b_2"], "first")[0] == 200
        assert post(running, ["a_1"])[0] == 200, "a request without a key is written each time"
        running.settled(5, "dataset")
    found = [value for number in range(3) for value in committed_values(broker, topic, number)]
    assert sorted(found) == [b"a_1", b"a_1", b"b_2", b"c_3", b"d_4"]


def test_a_request_is_refused_as_a_whole_if_it_comes_too_late_or_has_no_room(broker: str, topic: str):
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    reports: list[tuple[Unwritten | None, dict[int, int]]] = []
    receipt = writer.write([b"1"] * 200_001, [b"k"] * 200_001, lambda *word: reports.append(word))
    assert (receipt.left, receipt.refused, reports) == (0, 200_001, [(Unwritten("earlier records fill the queue"), {})])
    receipt = writer.write([b"1"], [b"k"], lambda *word: reports.append(word), until=0.0)
    assert (receipt.left, receipt.refused, reports[1][0]) == (0, 1, Unwritten("the topic was found too late"))
    writer.close()
    assert committed_values(broker, topic, 0) == []


def test_keys_are_bounded_and_a_request_that_wrote_nothing_is_forgotten():
    repeats = Repeats(most=3)
    for number in range(5):
        repeats.add(str(number), Outcome(b"%d" % number))
    assert [repeats.find(str(number)) is not None for number in range(5)] == [False, False, True, True, True]
    outcome = repeats.find("4")
    assert outcome is not None
    outcome.reply = Written({}, acknowledged=1)
    assert repeats.find("4") is outcome
    for reply in (Busy("full"), Written({}, refused=2)):
        outcome.reply = reply
        assert repeats.find("4") is None
