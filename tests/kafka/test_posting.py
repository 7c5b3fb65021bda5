"""Posts to a dataset: an answer says what is known, and a repetition with its key writes nothing again."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from actors.kafka_topic import longest_record
from actors.protocol import Address
from actors.replies import Busy, Write, WriteToAll, Written
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.sinks import posting
from actors.sinks.posting import KafkaWriter
from actors.sinks.receipt import Receipt, Unwritten
from actors.sinks.writer import Writer
from scripts.lab.chaos.proxy import Proxy
from tests.support.service import service
from tests.support.sinks import committed_values
from tests.support.waiting import promised, until

pytestmark = pytest.mark.broker


@pytest.fixture
def proxy(broker: str) -> Iterator[Proxy]:
    between = Proxy(broker, broker)
    try:
        yield between
    finally:
        between.close()


def test_an_answer_says_what_is_known_and_a_repetition_with_its_key_writes_nothing_again(proxy: Proxy, broker: str, topic: str):
    settings = ["streams.dataset.source.partitions=3", "http.deadline_ms=1000"]
    with service(proxy.bootstrap, topic, *settings, stream="dataset") as running:
        until(lambda: running.post(["a_1", "b_2"], "first")[0] == 200)  # the topic is found
        proxy.stall()
        status, known = running.post(["c_3", "d_4"], "second")
        assert (status, known["accepted"], known["acknowledged"], known["refused"]) == (202, 2, 0, 0)
        assert running.post(["c_3", "d_4"], "second")[0] == 202
        status, problem = running.post(["c_3"], "second")
        assert (status, problem["error"]["where"]) == (409, "header Idempotency-Key")
        proxy.mend()
        until(lambda: running.post(["c_3", "d_4"], "second")[0] == 200)
        assert running.post(["a_1", "b_2"], "first")[0] == 200
        assert running.post(["a_1"])[0] in {200, 202}, "a request without a key is written each time"
        running.settled(5, "dataset")
    found = [value for number in range(3) for value in committed_values(broker, topic, number)]
    assert sorted(found) == [b"a_1", b"a_1", b"b_2", b"c_3", b"d_4"]


def test_of_two_concurrent_requests_with_one_key_one_is_written(broker: str, topic: str):
    with service(broker, topic, "kafka.linger.ms=500", stream="dataset") as running:
        assert running.post(["first_1"])[0] == 200  # the topic is found
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: running.post(["a_1", "b_2"], "one"), range(8)))
        assert [status for status, _ in replies] == [200] * 8
        running.settled(3, "dataset")
    found = [value for number in range(3) for value in committed_values(broker, topic, number)]
    assert sorted(found) == [b"a_1", b"b_2", b"first_1"]


def test_a_repetition_waits_only_if_a_request_more_may_be_in_progress(broker: str, topic: str):
    settings = ["kafka.linger.ms=2000", "http.max_queries=1"]
    with service(broker, topic, *settings, stream="dataset") as running, ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: running.post(["a_1"], "key"), range(2)))
        assert sorted(status for status, _ in replies) == [200, 202], "one place: the other request gets what is known"
        other = pool.submit(running.post, ["b_2"])
        while not other.done():
            assert running.post(["a_1"], "key")[0] == 200, "a repetition with a known outcome needs no place"
        assert other.result()[0] == 200
        running.settled(2, "dataset")
    assert sorted(value for number in range(3) for value in committed_values(broker, topic, number)) == [b"a_1", b"b_2"]


def test_a_deletion_that_kafka_has_not_acknowledged_in_time_says_that_it_may_happen(broker: str, topic: str):
    with service(broker, topic, "kafka.linger.ms=2000", "http.deadline_ms=1000", stream="dataset") as running:
        until(lambda: running.post(["a_1"], "key")[0] == 200)
        until(lambda: running.get("/dataset") == {"data": ["a"]})
        status, _, body = running.request("/dataset", "DELETE")
        assert status == 503
        assert "0 partitions are cleared, 3 may be, and 0 are not" in json.loads(body)["error"]["got"]
        until(lambda: running.get("/dataset") == {"data": []})


@pytest.fixture
def address(broker: str, topic: str) -> Iterator[Address[Write | WriteToAll]]:
    """Yield the address of a writer to the topic."""
    system = System(Dispatcher())
    settings = {"bootstrap.servers": broker}
    writer = Writer.start(system, stream="dataset", connect=lambda: KafkaWriter(settings, topic, partitions=None, timeout_s=10))
    yield writer
    writer.stop()
    system.dispatcher.close()


def test_a_request_that_waited_too_long_for_the_writer_writes_nothing(
    address: Address[Write | WriteToAll], broker: str, topic: str
):
    replies: list[Written | Busy] = []
    address.tell(WriteToAll(b"k", b"late", replies.append, 0.0))
    address.tell(Write([b"late"], [b"k"], replies.append, 0.0))
    address.tell(WriteToAll(b"k", b"v", replies.append))
    until(lambda: len(replies) == 3)
    assert [isinstance(reply, Busy) for reply in replies] == [True, True, False]
    assert replies[2] == Written({0: 0, 1: 0, 2: 0}, acknowledged=3)
    assert [committed_values(broker, topic, number) for number in range(3)] == [[b"v"]] * 3


def alter(broker: str, topic: str, **config: str) -> None:
    """Change settings of a topic."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    for name, value in config.items():
        resource.add_incremental_config(ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET))
    admin = AdminClient({"bootstrap.servers": broker})
    admin.incremental_alter_configs([resource])[resource].result(20)


def test_a_changed_limit_of_the_topic_loses_no_record_under_way(broker: str, topic: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(posting, "_BROKER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(posting, "_LIMIT_AGAIN_S", 0.0)
    alter(broker, topic, max_message_bytes="2000")
    settings = {"bootstrap.servers": broker, "linger.ms": 2_000}
    writer = KafkaWriter(settings, topic, partitions=None, timeout_s=10)
    receipts: list[Receipt] = []
    early = writer.write([b"early"], [b"k"], receipts.append)
    alter(broker, topic, max_message_bytes="20000")
    long = b"x" * 10_000
    refused = until(lambda: found if (found := writer.write([long], [b"k"], receipts.append)).left == 0 else None)
    assert refused.explain() == Unwritten(f"topic {topic} has another limit of length, and earlier records are under way")
    until(lambda: writer.poll() >= 0 and early in receipts)
    assert (early.explain(), early.acknowledged) == (None, 1)
    late = until(lambda: found if (found := writer.write([long], [b"k"], receipts.append)).left else None)
    until(lambda: writer.poll() >= 0 and late in receipts)
    assert (late.explain(), late.acknowledged) == (None, 1)
    writer.close()


def test_the_limit_of_a_topic_is_read_once_in_some_seconds(broker: str, topic: str, monkeypatch: pytest.MonkeyPatch):
    reads: list[str] = []

    def read(settings: Any, name: str, **how: Any) -> int:
        reads.append(name)
        return longest_record(settings, name, **how)

    monkeypatch.setattr(posting, "longest_record", read)
    alter(broker, topic, max_message_bytes="2000")
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    looks: list[float] = []
    look = writer._look
    monkeypatch.setattr(writer, "_look", lambda deadline: looks.append(deadline) or look(deadline))
    for _ in range(5):
        receipt = writer.write([b"x" * 3_000], [b"k"], lambda _: None)
        assert receipt.explain() is not None
        assert receipt.explain().lasting == "too large"
    assert (reads, len(looks)) == ([topic], 1)
    for _ in range(3):
        writer.write_to_all(b"k", b"v", lambda _: None)
    assert (reads, len(looks)) == ([topic], 4), "a record for every partition looks for new ones"
    alter(broker, topic, max_message_bytes="20000")
    writer._limit_at = 0.0  # the seconds have passed
    monkeypatch.setattr(posting, "_LIMIT_AGAIN_S", 0.0)
    until(lambda: writer.write([b"x" * 3_000], [b"k"], lambda _: None).left)
    writer.close()


def test_the_limit_of_a_topic_is_read_again_when_kafka_refuses_a_record_for_its_length(broker: str, topic: str):
    alter(broker, topic, max_message_bytes="20000")
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    alter(broker, topic, max_message_bytes="2000")
    receipts: list[Receipt] = []

    def problem_of(*values: bytes) -> Unwritten | None:
        receipts.clear()
        writer.write(values, [b"k"] * len(values), receipts.append)
        until(lambda: writer.poll() >= 0 and receipts)
        return receipts[0].explain()

    writer._longest, writer._limit_at = 20_000 - 512, math.inf  # read before the change, and not due again
    refused = until(lambda: problem_of(b"x" * 10_000))
    assert refused.lasting == "too large"
    assert problem_of(*[b"x" * 100] * 50) is None, "shorter records are not sent in one batch with a length of the old limit"
    assert writer._longest == 2_000 - 512
    writer.close()


def test_a_writer_waits_no_longer_than_its_timeout_for_a_silent_broker(proxy: Proxy, topic: str):
    proxy.stall()
    for partitions in (None, 3):
        writer = KafkaWriter({"bootstrap.servers": proxy.bootstrap}, topic, partitions=partitions, timeout_s=1)
        began = time.monotonic()
        assert writer.write([b"1"], [b"k"], lambda _: None).explain() is not None
        assert time.monotonic() - began < promised(4)  # one request to Kafka alone takes five by default


def test_a_request_is_refused_as_a_whole_if_it_comes_too_late_or_has_no_room(broker: str, topic: str):
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    receipts: list[Receipt] = []
    receipt = writer.write([b"1"] * 200_001, [b"k"] * 200_001, receipts.append)
    assert (receipt.left, receipt.refused, receipt.explain()) == (0, 200_001, Unwritten("earlier records fill the queue"))
    assert receipts == [receipt]
    receipt = writer.write([b"1"], [b"k"], receipts.append, until=0.0)
    assert (receipt.left, receipt.refused, receipt.explain()) == (0, 1, Unwritten("the topic was found too late"))
    writer.close()
    assert committed_values(broker, topic, 0) == []
