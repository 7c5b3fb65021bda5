"""Brokers for the tests: a real one if Java and Maven are installed, and the embedded one in this process."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from hypothesis import settings

from scripts.brokers.real import real_broker
from scripts.checkout import ROOT

settings.register_profile("patient", deadline=None)  # the speed of a machine is no law
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the number of the simulator's runs."""
    parser.addoption("--seeds", type=int, default=20, help="how many seeds the simulator runs (default 20)")
    parser.addoption("--first-seed", type=int, default=0, help="the first of them (default 0)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize each test that takes a `seed`, and names none itself, with the seeds of the command line.

    The marker `seeds_modulo(divisor, remainder)` keeps those seeds whose remainder it is.
    """
    given = [name for mark in metafunc.definition.iter_markers("parametrize") for name in str(mark.args[0]).split(",")]
    if "seed" in metafunc.fixturenames and "seed" not in given:
        first = metafunc.config.getoption("first_seed")
        seeds = range(first, first + metafunc.config.getoption("seeds"))
        marker = metafunc.definition.get_closest_marker("seeds_modulo")
        divisor, remainder = marker.args if marker is not None else (1, 0)
        metafunc.parametrize("seed", [seed for seed in seeds if seed % divisor == remainder])


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Yield the address of a real broker: that of FIRNLINE_TEST_BOOTSTRAP, or one that is started here."""
    given = os.environ.get("FIRNLINE_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    if shutil.which("java") is None or shutil.which("mvn") is None:
        assert not os.environ.get("FIRNLINE_REQUIRE_BROKER"), "a real broker is required, and java or mvn is missing"
        pytest.skip("a real broker needs Java and Maven")
    with real_broker(ROOT / ".firnline" / "kafka") as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    """Yield the address of librdkafka's mock broker, in this process."""
    mock = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    (address,) = mock.list_topics(timeout=10).brokers.values()
    yield f"{address.host}:{address.port}"
    mock.flush(1)


@pytest.fixture
def topic(broker: str) -> str:
    """Return a fresh topic of three partitions on the real broker."""
    return create_topic(broker)


def create_topic(broker: str) -> str:
    """Create a topic of three partitions, and return its name."""
    name = f"t-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(timeout=20)
    return name


@pytest.fixture
def mock_topic() -> str:
    """Return a fresh name. The embedded broker creates a topic of four partitions when the name is first written to."""
    return f"m-{uuid.uuid4().hex}"


Send = Callable[[str, str, list[bytes], list[int]], None]


@pytest.fixture(scope="session")
def send() -> Send:
    """Return a function that writes values to partitions, and waits for the broker's acknowledgement."""

    def write(bootstrap: str, topic: str, values: list[bytes], partitions: list[int]) -> None:
        settings = {
            "bootstrap.servers": bootstrap,
            "message.max.bytes": 4 << 20,
            "queue.buffering.max.messages": 1_000_000,
            "enable.idempotence": True,  # a retried batch must not come behind the next one
        }
        producer = Producer(settings)
        for value, partition in zip(values, partitions, strict=True):
            producer.produce(topic, value, partition=partition)
            producer.poll(0)
        assert producer.flush(60) == 0

    return write
