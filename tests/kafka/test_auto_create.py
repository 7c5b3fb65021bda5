"""A broker that creates topics by itself, which is Kafka's default: Firnline's requests create none."""

import os
import re
import time
import uuid
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from actors.kafka_topic import TopicIdentity, ensure_topic
from actors.sinks.posting import KafkaWriter
from actors.sinks.receipt import Unwritten
from actors.sources.kafka.source import KafkaSource
from actors.sources.polled import Place
from config.load import load
from scripts.service.run import Progress
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def name() -> str:
    return f"absent-{uuid.uuid4().hex}"


def partitions_of(bootstrap: str, topic: str) -> int | None:
    """Return the number of partitions by a request for all topics, which creates none."""
    found = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=PATIENCE_S).topics.get(topic)
    return None if found is None else len(found.partitions)


def settings_of(bootstrap: str, **more: Any) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap, "group.id": "looks", **more}


@pytest.mark.skipif("FIRNLINE_TEST_NO_AUTO_CREATE" in os.environ, reason="this broker creates none")
def test_the_broker_creates_a_topic_that_a_client_with_defaults_asks_for(broker: str, name: str):
    AdminClient({"bootstrap.servers": broker}).list_topics(name, timeout=PATIENCE_S)
    until(lambda: partitions_of(broker, name) == 3)


@pytest.mark.versions
def test_a_source_that_waits_for_its_topic_does_not_create_it(broker: str, name: str):
    source = KafkaSource(settings_of(broker), name, start="earliest", on_error=lambda _: None)
    assert not source.open(Place())
    assert not source.open(Place())
    source.close()
    identity = TopicIdentity(settings_of(broker), name)
    assert not identity.look(5.0).partitions
    assert partitions_of(broker, name) is None


@pytest.mark.versions
def test_a_source_creates_its_topic_with_the_configured_partitions(broker: str, name: str):
    source = KafkaSource(settings_of(broker), name, start="earliest", partitions=10, on_error=lambda _: None)
    assert until(lambda: source.open(Place()))
    source.close()
    assert partitions_of(broker, name) == 10


@pytest.mark.versions
def test_a_post_to_a_topic_that_is_absent_does_not_create_it(broker: str, name: str):
    replies: list[Unwritten | None] = []
    writer = KafkaWriter(settings_of(broker), name, partitions=None, timeout_s=2)
    writer.write([b"a_1"], [b"a"], lambda receipt: replies.append(receipt.explain()))
    writer.close()
    assert replies == [Unwritten(f"topic {name} does not exist")]
    assert partitions_of(broker, name) is None


def test_a_topic_is_created_with_the_number_of_partitions_that_is_asked_for(broker: str, name: str):
    ensure_topic(settings_of(broker), name, 7)
    ensure_topic(settings_of(broker), name, 2)
    assert partitions_of(broker, name) == 7


def test_every_setting_reaches_the_client_that_looks(name: str):
    """librdkafka refuses a value that is wrong when the client is made, so the setting must have arrived there."""
    with pytest.raises(KafkaException, match=re.escape("enable.ssl.certificate.verification")):
        TopicIdentity(settings_of("127.0.0.1:9", **{"enable.ssl.certificate.verification": "perhaps"}), name).look(0.1)


def test_settings_of_a_transactional_producer_do_not_make_the_looking_client_one(broker: str, name: str):
    shared = settings_of(broker, **{"transactional.id": name, "enable.idempotence": True})
    producer = Producer({"bootstrap.servers": broker, "transactional.id": name})
    producer.init_transactions(30)
    ensure_topic(shared, name, 1)
    producer.begin_transaction()
    producer.produce(name, b"a")
    producer.commit_transaction(30)  # the looking client has not fenced this producer


def test_once_gives_a_stream_up_whose_topic_is_absent_for_thirty_seconds(monkeypatch: pytest.MonkeyPatch):
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for once, given_up in ((True, {"events"}), (False, set())):
        progress = Progress(load(None, [], {}), {"bootstrap.servers": "127.0.0.1:9"}, once=once)
        wait = progress.callbacks().wait
        for _ in range(20):
            wait("events", "there is no topic to read", None)
            now += 1.0
        now += 60.0  # meanwhile the topic was there
        for _ in range(30):
            wait("events", "there is no topic to read", None)
            now += 1.0
        assert not progress.given_up
        wait("events", "there is no topic to read", None)
        assert progress.given_up == given_up
