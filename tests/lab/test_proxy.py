"""The proxy between a client and a broker: the client connects to the proxy alone, and cuts and stalls reach it."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from scripts.lab.chaos.proxy import Proxy
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def proxy(embedded: str) -> Iterator[Proxy]:
    proxy = Proxy(embedded, embedded)
    yield proxy
    proxy.close()


def client(proxy: Proxy) -> AdminClient:
    return AdminClient(
        {"bootstrap.servers": proxy.bootstrap, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 50, "log_level": 0}
    )


def answers(admin: AdminClient, timeout_s: float = 1.0) -> bool:
    try:
        return bool(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def test_a_client_connects_to_the_proxy_alone_and_records_pass(proxy: Proxy, mock_topic: str):
    (broker,) = client(proxy).list_topics(timeout=PATIENCE_S).brokers.values()
    assert f"{broker.host}:{broker.port}" == proxy.bootstrap
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": proxy.bootstrap, "log_level": 0})
    producer.produce(mock_topic, b"x" * 100_000, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(20) == 0
    assert errors == [None]


def test_a_client_reconnects_after_a_cut(proxy: Proxy):
    admin = client(proxy)
    until(lambda: answers(admin))
    before = proxy.connections
    proxy.cut(refuse=False)
    until(lambda: proxy.connections > before and answers(admin))


def test_no_client_connects_while_the_proxy_refuses(proxy: Proxy):
    proxy.cut(refuse=True)
    assert not answers(client(proxy))
    assert proxy.connections == 0
    proxy.mend()
    assert until(lambda: answers(client(proxy)))


def test_a_stall_delays_responses_and_loses_none(proxy: Proxy):
    admin = client(proxy)
    until(lambda: answers(admin))
    proxy.stall()
    assert not answers(admin, 0.3)
    proxy.mend()
    until(lambda: answers(admin))
