"""Writers whose user lacks the right to write: the right is named, Kafka is asked once, and no record is lost for it."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from confluent_kafka.cimpl import NewTopic

from actors.kafka_topic import refuses_writes
from actors.messages import Dead
from actors.sinks import dead_letters, posting
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.posting import KafkaWriter
from actors.sinks.receipt import Receipt, Unwritten
from tests.support.rights import Guarded, guarded_broker
from tests.support.sinks import committed_values
from tests.support.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def kafka() -> Iterator[Guarded]:
    with guarded_broker({}, {}) as running:
        yield running


@pytest.fixture
def topic(kafka: Guarded) -> str:
    """Return a new topic that the user may describe."""
    name = f"r-{uuid.uuid4().hex}"
    kafka.admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)
    kafka.grant(ResourceType.TOPIC, name, AclOperation.DESCRIBE)
    return name


def test_fifty_requests_that_a_dead_client_loses_ask_for_the_right_once(
    kafka: Guarded, topic: str, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bool] = []

    def ask(settings: Any, name: str) -> bool:
        asked.append(refuses_writes(settings, name))
        return asked[-1]

    monkeypatch.setattr(posting, "refuses_writes", ask)
    writer = KafkaWriter(kafka.as_user, topic, partitions=None, timeout_s=10)
    receipts: list[Receipt] = []

    def problems() -> list[Unwritten | None]:
        receipts.clear()
        asked.clear()
        sent = [writer.write([b"%d" % number], [b"k"], receipts.append) for number in range(50)]
        until(lambda: writer.poll() >= 0 and len(receipts) == len(sent))
        return [receipt.explain() for receipt in receipts]

    until(lambda: posting_works(writer))
    assert problems() == [Unwritten(f"Kafka refuses the right to WRITE topic {topic}", "forbidden")] * 50
    assert len(asked) <= 1
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.WRITE)
    until(lambda: problems() == [None] * 50)
    writer.close()
    assert sorted(set(committed_values(kafka.plain, topic))) == sorted(b"%d" % number for number in range(50))


def posting_works(writer: KafkaWriter) -> bool:
    """Return whether the writer finds its topic: a broker may report a new right a moment later."""
    return isinstance(writer._count(refresh=False), int)


@pytest.mark.parametrize("may_write_elsewhere", [False, True])
def test_no_dead_letter_is_lost_while_the_right_to_write_is_missing(
    kafka: Guarded, topic: str, may_write_elsewhere: bool, monkeypatch: pytest.MonkeyPatch
):
    """Without any right to write, librdkafka ends the client. With a right elsewhere, Kafka refuses each record."""
    monkeypatch.setattr(dead_letters, "_MAKE_AGAIN_S", 0.2)
    elsewhere = f"r-{uuid.uuid4().hex}"
    if may_write_elsewhere:
        kafka.grant(ResourceType.TOPIC, elsewhere, AclOperation.WRITE)
    said: list[str] = []
    settings = {**kafka.as_user, "queue.buffering.max.messages": 10}
    sink = DeadLetterSink(settings, topic, origin="", on_error=said.append)
    refused = f"Kafka refuses the right to WRITE topic {topic}: 20 dead letters wait"
    sink.write([Dead(b"%d" % number, None, (), 0, number, "bad") for number in range(20)])
    until(lambda: sink.poll() or said.count(refused) >= 2)
    assert not sink.secure()
    assert (sink.written, sink.delivered, sink.lost) == (20, 0, 0)
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.WRITE)
    until(sink.secure)
    assert (sink.written, sink.delivered, sink.lost, sink.held) == (20, 20, 0, 0)
    kafka.revoke(ResourceType.TOPIC, topic, AclOperation.WRITE)
    sink.write([Dead(b"20", None, (), 0, 20, "bad")])
    until(lambda: sink.secure() or said[-1].endswith("1 dead letters"))
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.WRITE)
    until(sink.secure)
    sink.close()
    assert sink.lost == 0
    assert committed_values(kafka.plain, topic) == [b"%d" % number for number in range(21)]
    kafka.revoke(ResourceType.TOPIC, elsewhere, AclOperation.WRITE)
