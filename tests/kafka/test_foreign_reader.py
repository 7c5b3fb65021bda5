"""A consumer of another system on the topic of a dataset: it decodes each value and splits it at the underscore."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer

from tests.support.service import service
from tests.support.waiting import until

pytestmark = pytest.mark.broker

PARTITIONS = 3


class Reader:
    """Such a consumer. It reads all partitions by a group, as these consumers do, and has no rule for records without a value."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.store: dict[str, int] = {}
        self.bad: list[str] = []

    def read(self) -> None:
        for message in self._consumer.consume(100, 0.1):
            assert message.error() is None
            self.take(message.value().decode())

    def take(self, item: str) -> None:
        try:
            name, value = item.strip().split("_")
            self.store[name] = int(value)
        except ValueError:
            self.bad.append(item)


@pytest.fixture
def reader(broker: str, topic: str) -> Iterator[Reader]:
    settings = {"bootstrap.servers": broker, "group.id": f"plain-{topic}", "auto.offset.reset": "earliest", "log_level": 0}
    with closing(Consumer(settings)) as consumer:
        consumer.subscribe([topic])
        yield Reader(consumer)


def test_it_gets_every_item_and_takes_a_delete_as_one_bad_item_a_partition(broker: str, topic: str, reader: Reader):
    def read(count: int) -> bool:
        reader.read()
        return len(reader.store) + len(reader.bad) >= count

    with service(broker, topic, stream="dataset") as running:
        assert running.post([" a_1", "b_2 ", "c _ 3"])[0] == 200
        until(lambda: read(3))
        assert running.request("/dataset", "DELETE")[0] == 200
        until(lambda: read(3 + PARTITIONS))
        assert running.post(["d_4"])[0] == 200
        until(lambda: read(4 + PARTITIONS))
        assert running.get("/dataset") == {"data": ["d"]}
    assert reader.bad == ["cleared"] * PARTITIONS
    assert {name.strip(): value for name, value in reader.store.items()} == {"a": 1, "b": 2, "c": 3, "d": 4}
