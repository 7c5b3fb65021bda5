"""Brokers for the tests: a real one if Java and Maven are installed, and the embedded one in this process."""

import contextlib
import fcntl
import gc
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from hypothesis import settings

from scripts.checkout import ROOT
from tests.support.java import need_java
from tests.support.service import command
from tests.support.waiting import PATIENCE_S, until

LONGEST = (
    "cluster/test_cluster.py",
    "process/test_answers.py",
    "kafka/test_registry.py",
    "kafka/test_leader.py",
    "cluster/test_moving.py",
    "browser/test_page.py",
    "kafka/test_kafka.py",
    "lab/test_chaos.py",
    "kafka/test_trouble.py",
    "process/test_commands.py",
    "process/test_clocks.py",
    "process/test_scripts.py",
    "process/test_owner.py",
    "process/test_reload.py",
    "cluster/test_copies.py",
    "simulation/test_simulation.py",
    "actors/test_recovery.py",
    "process/test_memory.py",
    "gateway/test_openapi.py",
    "process/test_docs.py",
    "kafka/test_auto_create.py",
    "kafka/test_owner.py",
    "lab/test_crowd.py",
    "actors/test_disk_trouble.py",
    "actors/test_stream.py",
    "actors/test_blocking.py",
    "house/test_layers.py",
    "house/test_types.py",
    "views/test_memory.py",
    "views/test_segments.py",
    "views/test_words.py",
    "views/test_uniques.py",
    "views/test_views.py",
)
"""The test files that take longest, in this order."""

SHARED = "FIRNLINE_TEST_SHARED"
BROKER = pytest.StashKey["subprocess.Popen[str]"]()
EMBEDDED: set[str] = set()
"""The addresses of librdkafka's mock brokers in this process."""

os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")  # half the processor time to start
settings.register_profile("patient", deadline=None)  # the speed of a machine is no law
settings.register_profile("check", deadline=None, max_examples=30)  # of `make check`; `make generated` runs all hundred
settings.register_profile("quick", deadline=None, max_examples=20)  # of `make quick`
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the number of the simulator's runs."""
    parser.addoption("--seeds", type=int, default=20, help="how many seeds the simulator runs (default 20)")
    parser.addoption("--first-seed", type=int, default=0, help="the first of them (default 0)")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder by which the workers share a broker. The process that starts the workers makes it and removes it."""
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="firnline-workers-")
        config.add_cleanup(lambda: end_broker(Path(os.environ[SHARED])))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let Python's garbage collector skip the imported modules and the tests themselves, which live as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no worker begins a long file while the others have nothing left."""
    longest = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: longest.get(item.path, len(LONGEST)))


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
def broker(request: pytest.FixtureRequest) -> str:
    """Return the address of a real broker: FIRNLINE_TEST_BOOTSTRAP, or one that the first worker starts for all workers."""
    given = os.environ.get("FIRNLINE_TEST_BOOTSTRAP")
    if given:
        return given
    need_java()
    shared = Path(os.environ[SHARED])
    address = shared / "address"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            creates = "--no-auto-create" if os.environ.get("FIRNLINE_TEST_NO_AUTO_CREATE") else "--auto-create"
            real = command("broker", "real", creates)
            started = subprocess.Popen(real, stdout=subprocess.PIPE, text=True, start_new_session=True)
            request.config.stash[BROKER] = started  # it outlives this worker
            (shared / "pid").write_text(str(started.pid))
            assert started.stdout is not None
            address.write_text(started.stdout.readline().partition(" at ")[2].partition(";")[0])
    assert address.read_text(), "the real broker did not start"
    return address.read_text()


def end_broker(shared: Path) -> None:
    """End the broker that the workers shared, if one was started, and remove the folder."""
    if (shared / "pid").exists():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int((shared / "pid").read_text()))
            process.terminate()
            process.wait(30)
    shutil.rmtree(shared)


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    """Yield the address of librdkafka's mock broker, in this process."""
    mock = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    (address,) = mock.list_topics(timeout=PATIENCE_S).brokers.values()
    EMBEDDED.add(f"{address.host}:{address.port}")
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
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(timeout=PATIENCE_S)
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
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "message.max.bytes": 4 << 20,
            "queue.buffering.max.messages": 1_000_000,
        }
        # A retried batch must not come behind the next one. The mock broker lets an idempotent producer wait for half a second.
        if bootstrap in EMBEDDED:
            settings["max.in.flight.requests.per.connection"] = 1
        else:
            settings["enable.idempotence"] = True
        failed: list[str] = []
        producer = Producer({**settings, "on_delivery": lambda error, _: error is not None and failed.append(error.str())})
        # librdkafka fails records for a partition that the broker does not report yet, and `flush` does not count them.
        until(lambda: set(partitions) <= producer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions.keys())
        for value, partition in zip(values, partitions, strict=True):
            producer.produce(topic, value, partition=partition)
            producer.poll(0)
        assert producer.flush(60) == 0
        assert failed == []

    return write
