"""The producer with a broker that is slow or refuses records; `test_scripts.py` has the plain cases."""

import os
import pty
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from scripts.brokers.embedded import find_embedded, start_embedded
from scripts.produce.producer import prepare
from scripts.produce.sending import Sending
from scripts.produce.spec import Chunk
from tests.support.forked import run_forked
from tests.support.service import command
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the address of an embedded broker in a process of its own, which every child finds."""
    monkeypatch.setenv("FIRNLINE_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("FIRNLINE_KAFKA__BOOTSTRAP_SERVERS", raising=False)
    broker, bootstrap = start_embedded()
    assert find_embedded() == bootstrap
    yield bootstrap
    broker.terminate()
    broker.wait(timeout=PATIENCE_S)
    assert find_embedded() is None


@contextmanager
def reader(bootstrap: str, group: str = "x") -> Iterator[Consumer]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        yield consumer
    finally:
        consumer.close()


def ends(consumer: Consumer, topic: str, partitions: int) -> list[int]:
    return [consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=PATIENCE_S)[1] for each in range(partitions)]


def test_on_the_embedded_broker_the_producer_reports_once_that_it_waits_for_a_reader(forgetful: str):
    words = ("--count", "0", "--pattern", "burst")
    child = subprocess.Popen(command("producer", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = child.stderr.readline()  # it speaks only after it has stood still for a second
        with reader(forgetful, "firnline-events") as consumer:
            stood = ends(consumer, "events", 4)
            assert 10_000 < max(stood) <= 20_000
            read = [TopicPartition("events", number, end) for number, end in enumerate(stood)]
            consumer.commit(offsets=read, asynchronous=False)
            until(lambda: max(ends(consumer, "events", 4)) > 20_000)
            until(lambda: max(end - was for end, was in zip(ends(consumer, "events", 4), stood, strict=True)) > 10_000)
            child.send_signal(signal.SIGINT)
            printed, more = child.communicate(timeout=PATIENCE_S)
            sent = ends(consumer, "events", 4)
    finally:
        child.kill()
        child.wait()
    assert "waiting for the service" in said
    assert more == ""
    assert child.returncode == 0
    assert max(end - was for end, was in zip(sent, stood, strict=True)) <= 20_000
    assert printed.startswith(f"{sum(sent):,} records to events")


def test_each_embedded_broker_gets_its_own_address(forgetful: str):
    other, bootstrap = start_embedded()
    try:
        assert bootstrap != forgetful
    finally:
        other.terminate()
        other.wait(timeout=PATIENCE_S)


def test_the_embedded_broker_ends_with_the_process_that_started_it(tmp_path: Path):
    environ = {**os.environ, "FIRNLINE_RUN_DIR": str(tmp_path)}
    begin = "import os; from scripts.brokers.embedded import start_embedded; print(start_embedded()[0].pid, flush=True); os._exit(0)"
    done = subprocess.run([*command("x")[:1], "-c", begin], check=True, capture_output=True, text=True, env=environ, timeout=60)
    pid = int(done.stdout)
    until(lambda: not (tmp_path / "broker.json").exists())
    until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent's word does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("notice", ["", "[]", "{}", '{"bootstrap": "127.0.0.1:1", "pid": 1}', '{"bootstrap": 5, "pid": null}'])
def test_a_stale_or_damaged_notice_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notice: str):
    monkeypatch.setenv("FIRNLINE_RUN_DIR", str(tmp_path))
    (tmp_path / "broker.json").write_text(notice)
    assert find_embedded() is None


@pytest.mark.broker
def test_a_record_that_the_broker_refuses_is_one_line_and_is_not_counted(broker: str):
    name = f"t-{uuid.uuid4().hex}"
    small = NewTopic(name, 3, 1, config={"max.message.bytes": "200"})
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([small])[name].result(timeout=PATIENCE_S)
    words = ("--bootstrap", broker, "--topic", name, "--count", "30000")
    done = run_forked(command("producer", *words))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert re.match("producer: .*too large", done.stderr, re.IGNORECASE)
    with reader(broker) as consumer:
        assert done.stdout.startswith(f"{sum(ends(consumer, name, 3)):,} records")


@pytest.mark.broker
def test_a_record_that_librdkafka_refuses_ends_the_sending(broker: str, topic: str):
    sending = Sending(broker, topic, rate=None, leash=None, stop=threading.Event())
    seen: list[int] = []
    sending.send(Chunk([b"R_1", b"G_2"], [0, 0]), Console(), seen.append)
    sending.finish()  # by now it knows the partitions
    sending.send(Chunk([b"B_3"], [9]), Console(), seen.append)
    sending.finish()
    assert "partition" in (sending.failures.first or "")
    assert sending.delivered == 2


@pytest.mark.broker
def test_on_a_terminal_a_bar_shows_count_and_rate(broker: str, topic: str):
    ours, its = pty.openpty()
    words = ("--bootstrap", broker, "--topic", topic, "--count", "3000", "--rate", "3000")
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    child = subprocess.Popen(command("producer", *words), stdout=subprocess.DEVNULL, stderr=its, env=environ)
    os.close(its)
    shown = b""
    while piece := read(ours):
        shown += piece
    os.close(ours)
    assert child.wait(timeout=PATIENCE_S) == 0
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert "3000/3000" in plain
    assert len(set(re.findall(r"(\d+)/3000", plain))) > 3, "it moves while one chunk is on its way"
    assert 1_000 < float(re.findall(r"([\d,]+)/s", plain)[-1].replace(",", "")) < 6_000


def read(terminal: int) -> bytes:
    """Return what came, or nothing once the other side is closed."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


@pytest.mark.broker
def test_producers_that_start_together_share_the_topic_that_one_of_them_creates(broker: str):
    topics = [f"together-{uuid.uuid4().hex}" for _ in range(5)]
    with ThreadPoolExecutor(6) as threads:
        for topic in topics:
            prepared = [threads.submit(prepare, broker, topic, partitions, embedded=False) for partitions in (2, 3) * 3]
            assert len({each.result() for each in prepared}) == 1
