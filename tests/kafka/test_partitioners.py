"""The partitions of keys are those that librdkafka chooses."""

import random
import uuid
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.columns.partitioners import PARTITIONERS
from actors.columns.text import Text

PARTITIONS = 7


@pytest.mark.parametrize(
    ("setting", "name"), [("murmur2_random", "murmur2"), ("consistent_random", "CRC-32"), ("fnv1a_random", "FNV-1a")]
)
def test_a_record_is_in_the_partition_of_its_key(broker: str, setting: str, name: str):
    topic, chance = f"partitioners-{uuid.uuid4().hex}", random.Random(5)
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    keys = [chance.randbytes(chance.choice([*range(1, 40), 300])) for _ in range(800)]
    found: dict[int, int] = {}

    def delivered(place: int) -> Any:
        return lambda error, message: found.update({place: message.partition()}) if error is None else None

    producer = Producer({"bootstrap.servers": broker, "partitioner": setting})
    for place, key in enumerate(keys):
        producer.produce(topic, b"", key, on_delivery=delivered(place))
    producer.flush(20)
    numbers = dict(PARTITIONERS)[name](Text.of(keys))
    assert [found[place] for place in range(len(keys))] == (numbers % PARTITIONS).tolist()
