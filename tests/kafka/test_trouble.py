"""A source that cannot read its topic gives the reason: no connection, no right, no answer, a damaged batch."""

import json
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition
from confluent_kafka.admin import AclOperation, ResourceType
from confluent_kafka.cimpl import NewPartitions

from actors.replies import Trouble
from actors.sources.kafka.source import KafkaSource
from actors.sources.polled import Gap, Place
from scripts.brokers.process import free_port
from scripts.lab.chaos.proxy import Proxy
from tests.support.forked import run_forked
from tests.support.rights import PASSWORD
from tests.support.secured import Secured, secured
from tests.support.service import Service, command, service
from tests.support.waiting import promised, until
from tests.support.whole_batch import write_batch


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("keys")) as running:
        yield running


@pytest.fixture
def topic(kafka: Secured) -> str:
    return kafka.create(f"t-{uuid.uuid4().hex}", 2)


def send(kafka: Secured, topic: str, values: list[bytes], partition: int = 0, **settings: str) -> None:
    """Write values as one batch."""
    write_batch(kafka.plain, topic, values, partition, **settings)


@dataclass
class Reader:
    """A source that is polled as the front end does, and all that came of it."""

    source: KafkaSource
    log: list[str]
    values: list[bytes | None] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    _opened: bool = False
    _opened_at: float = 0.0

    def step(self) -> Trouble | None:
        """Poll once, or try to open once a second. Returns the trouble."""
        if not self._opened and time.monotonic() - self._opened_at >= 1:
            self._opened = self.source.open(Place())
            self._opened_at = time.monotonic()
        if self._opened:
            polled = self.source.poll(1_000, 0.01)
            self.values += polled.values
            self.gaps += self.source.gaps()
            self.source.place()
            self.held = set(polled.held)
            self.ended = (self.ended | polled.ended) - self.held
        return self.source.trouble()

    def until(self, what: Callable[[Trouble | None], Any], within_s: float = 30.0) -> Any:
        """Poll until `what` is true of the trouble. Returns its result. A quiet machine takes at most `within_s`."""
        return until(lambda: what(self.step()), timeout_s=promised(within_s))


@pytest.fixture
def reading() -> Iterator[Callable[..., Reader]]:
    """Return a function that makes a reader of a topic."""
    made: list[Reader] = []

    def make(topic: str, settings: dict[str, Any], **how: Any) -> Reader:
        log: list[str] = []
        source = KafkaSource({"group.id": "g", **settings}, topic, start="earliest", on_error=log.append, **how)
        made.append(Reader(source, log))
        return made[-1]

    yield make
    for each in made:
        each.source.close()


def refused_connections(kafka: Secured) -> dict[str, tuple[dict[str, Any], str]]:
    """Return settings that cannot connect, with the reason that is expected."""
    closed = f"127.0.0.1:{free_port()}"
    tls = {"bootstrap.servers": kafka.tls, "security.protocol": "SSL"}
    return {
        "unknown host": ({"bootstrap.servers": "nosuchhost.invalid:9092"}, "nosuchhost.invalid:9092: Failed to resolve"),
        "closed port": ({"bootstrap.servers": closed}, f"{closed}: Connect to ipv4#{closed} failed: Connection refused"),
        "wrong password": (kafka.as_user | {"sasl.password": "wrong-password"}, f"{kafka.sasl}: SASL authentication error"),
        "no such mechanism": (kafka.as_user | {"sasl.mechanism": "SCRAM-SHA-256"}, "supported mechanisms: PLAIN"),
        "SASL to a port without": (kafka.as_user | {"bootstrap.servers": kafka.plain}, f"{kafka.plain}: SASL PLAIN mechanism"),
        "no SASL to a port with it": ({"bootstrap.servers": kafka.sasl}, f"{kafka.sasl}: the connection is closed at once"),
        "unknown certificate": (tls, f"{kafka.tls}: SSL handshake failed"),
        "TLS to a port without": (tls | {"bootstrap.servers": kafka.plain}, f"{kafka.plain}: "),
        "no TLS to a port with it": ({"bootstrap.servers": kafka.tls}, f"{kafka.tls}: the connection is closed at once"),
        "two wrong hosts": ({"bootstrap.servers": f"{closed},nosuchhost.invalid:9"}, f"{closed}: Connect"),
    }


CONNECTIONS = (
    "unknown host",
    "closed port",
    "wrong password",
    "no such mechanism",
    "SASL to a port without",
    "no SASL to a port with it",
    "unknown certificate",
    "TLS to a port without",
    "no TLS to a port with it",
    "two wrong hosts",
)


@pytest.mark.parametrize("name", CONNECTIONS)
def test_the_reason_of_a_refused_connection_is_reported_within_five_seconds_and_without_the_password(
    kafka: Secured, topic: str, reading: Callable[..., Reader], name: str
):
    settings, expected = refused_connections(kafka)[name]
    reader = reading(topic, settings)
    began = time.time()
    reader.until(lambda trouble: trouble and any(expected in reason for reason in trouble.reasons), 5.0)
    trouble = reader.step()
    assert trouble is not None
    assert trouble.state == "unreachable"
    assert abs(trouble.since - began) < promised(5)
    reader.until(lambda _: any(expected in line for line in reader.log), 5.0)
    assert not [line for line in (*reader.log, *trouble.reasons) if PASSWORD in line or "wrong-password" in line]
    assert not [line for line in reader.log if "ms in state" in line], "equal reasons are equal texts"


def test_a_source_that_cannot_be_opened_again_is_in_trouble_until_it_is_opened(
    kafka: Secured, topic: str, reading: Callable[..., Reader]
):
    send(kafka, topic, [b"a"])
    proxy = Proxy(kafka.plain, kafka.plain)
    try:
        reader = reading(topic, {"bootstrap.servers": proxy.bootstrap})
        reader.until(lambda _: reader.ended == {0, 1})
        place = reader.source.place()
        proxy.cut(refuse=True)
        reader.source.close()
        assert not reader.source.open(place)
        trouble = reader.source.trouble()
        assert trouble is not None
        assert trouble.state == "unreachable"
        proxy.mend()
        until(lambda: reader.source.open(place))
        assert reader.source.trouble() is None
    finally:
        proxy.close()


def test_each_broker_that_is_configured_is_tried_and_a_wrong_one_is_no_trouble(
    kafka: Secured, topic: str, reading: Callable[..., Reader]
):
    send(kafka, topic, [b"a"])
    reader = reading(topic, {"bootstrap.servers": f"nosuchhost.invalid:9092,{kafka.plain}"})
    reader.until(lambda trouble: trouble is None and reader.values == [b"a"])


def test_tls_is_not_verified_if_that_is_switched_off(kafka: Secured, topic: str, reading: Callable[..., Reader]):
    send(kafka, topic, [b"a"])
    trusting = {"security.protocol": "SSL", "enable.ssl.certificate.verification": False}
    reader = reading(topic, {"bootstrap.servers": kafka.tls, **trusting})
    reader.until(lambda trouble: trouble is None and reader.values == [b"a"])


def test_a_missing_right_is_named_and_reading_goes_on_when_it_is_granted(
    kafka: Secured, topic: str, reading: Callable[..., Reader]
):
    send(kafka, topic, [b"a"])
    reader = reading(topic, kafka.as_user)
    reader.until(lambda trouble: trouble and trouble.state == "refused", 5.0)
    assert f"topic {topic}: Broker: Topic authorization failed: reading needs the rights DESCRIBE and READ" in reader.log
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    reader.until(lambda trouble: trouble and trouble.state == "refused" and reader.held == {0, 1})
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.READ)
    reader.until(lambda trouble: trouble is None and reader.values == [b"a"] and reader.ended == {0, 1})
    kafka.revoke(ResourceType.TOPIC, topic, AclOperation.READ)
    reader.until(lambda trouble: trouble and trouble.state == "refused" and reader.held == {0, 1})
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.READ)
    reader.until(lambda trouble: trouble is None and reader.ended == {0, 1})
    assert any("group g" in line and "records are read all the same" in line for line in reader.log)
    kafka.revoke(ResourceType.TOPIC, topic, AclOperation.READ, AclOperation.DESCRIBE)
    reader.until(lambda trouble: trouble and trouble.state == "refused")
    send(kafka, topic, [b"b"])
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.READ, AclOperation.DESCRIBE)
    reader.until(lambda trouble: trouble is None and reader.values == [b"a", b"b"] and reader.ended == {0, 1})


def test_offsets_that_the_group_refused_are_committed_when_the_right_is_granted(
    kafka: Secured, topic: str, reading: Callable[..., Reader]
):
    group = f"g-{topic}"
    send(kafka, topic, [b"a", b"b"])
    kafka.grant(ResourceType.TOPIC, topic, AclOperation.DESCRIBE, AclOperation.READ)
    reader = reading(topic, {**kafka.as_user, "group.id": group})
    reader.until(lambda _: reader.values == [b"a", b"b"])

    def committed() -> int:
        reader.source.commit()
        with closing(Consumer({"bootstrap.servers": kafka.plain, "group.id": group})) as consumer:
            (found,) = consumer.committed([TopicPartition(topic, 0)], 10)
        return int(found.offset)

    reader.until(lambda _: committed() and any(f"group {group}" in line for line in reader.log))
    assert committed() == OFFSET_INVALID
    kafka.grant(ResourceType.GROUP, group, AclOperation.READ)
    reader.until(lambda _: committed() == 2)


@pytest.mark.parametrize("how", ["stall", "refuse", "stop"])
def test_brokers_that_are_gone_are_unreachable_within_ten_seconds_and_nothing_is_at_its_end_meanwhile(
    kafka: Secured, topic: str, reading: Callable[..., Reader], how: str
):
    proxy = Proxy(kafka.plain, kafka.plain)
    try:
        send(kafka, topic, [b"a"])
        reader = reading(topic, {"bootstrap.servers": proxy.bootstrap, "reconnect.backoff.max.ms": 500})
        reader.until(lambda _: reader.ended == {0, 1})
        gone_at = time.time()
        if how == "stop":
            os.kill(kafka.member.process.pid, signal.SIGSTOP)
        elif how == "stall":
            proxy.stall()
        else:
            proxy.cut(refuse=True)
        trouble = reader.until(lambda trouble: trouble, 10.0)
        assert trouble.state == "unreachable"
        assert abs(trouble.since - gone_at) < promised(5), "it begins with the last answer"
        reader.until(lambda _: reader.held == {0, 1} and not reader.ended)
        assert proxy.bootstrap in " ".join(trouble.reasons)
        if how == "stop":
            os.kill(kafka.member.process.pid, signal.SIGCONT)
        else:
            proxy.mend()
        reader.until(lambda trouble: trouble is None and reader.ended == {0, 1})
        send(kafka, topic, [b"b"])
        reader.until(lambda _: reader.values == [b"a", b"b"])
    finally:
        os.kill(kafka.member.process.pid, signal.SIGCONT)
        proxy.close()


def test_a_new_partition_is_read_within_five_seconds(kafka: Secured, topic: str, reading: Callable[..., Reader]):
    reader = reading(topic, {"bootstrap.servers": kafka.plain})
    reader.until(lambda _: reader.ended == {0, 1})
    kafka.admin.create_partitions([NewPartitions(topic, 3)])[topic].result(20)
    send(kafka, topic, [b"new"], partition=2)
    reader.until(lambda _: reader.values == [b"new"], 5.0)


@pytest.mark.parametrize("codec", ["gzip", "none"])
@pytest.mark.parametrize("checks", [True, False])
def test_the_offsets_of_a_damaged_batch_are_a_gap_and_all_other_records_are_read(
    kafka: Secured, topic: str, reading: Callable[..., Reader], codec: str, *, checks: bool
):
    if codec == "none" and not checks:
        pytest.skip("only the checksum shows damage in a batch that is not compressed")
    values = [[b"%d_%d" % (batch, number) for number in range(100)] for batch in range(4)]
    for each in values:
        send(kafka, topic, each, **{"compression.type": codec})
    damaged = [kafka.damage(topic, 1)]
    settings = {"bootstrap.servers": kafka.plain, "check.crcs": checks}
    reader = reading(topic, settings, skips_damage=True)
    reader.until(lambda _: reader.ended == {0, 1})
    assert reader.values == values[0] + values[2] + values[3], reader.log
    assert reader.gaps == [Gap(0, len(each), "damaged") for each in damaged], reader.log
    assert any(f"topic {topic}, partition 0: the batch at offset 100 is damaged" in line for line in reader.log)
    assert reader.source.lag() == {0: 0, 1: 0}


def test_a_stream_stops_before_a_damaged_batch_and_its_lag_stays(kafka: Secured, topic: str, reading: Callable[..., Reader]):
    values = [[b"%d_%d" % (batch, number) for number in range(100)] for batch in range(4)]
    for each in values:
        send(kafka, topic, each)
    kafka.damage(topic, 1)
    kafka.damage(topic, 2)
    reader = reading(topic, {"bootstrap.servers": kafka.plain})
    trouble = reader.until(lambda trouble: trouble and trouble.state == "damaged" and trouble)
    assert f"topic {topic}, partition 0: the batch at offset 100 is damaged" in trouble.reasons[0]
    reader.until(lambda _: reader.source.lag()[0] == 300)
    assert reader.values == values[0]
    assert reader.held == {0, 1}
    kafka.damage(topic, 1)  # the same bits once more: now the batch is as it was written
    kafka.damage(topic, 2)
    reader.until(lambda trouble: trouble is None and reader.values == [value for each in values for value in each])
    assert reader.gaps == []


def test_a_client_that_gives_no_records_is_stalled_after_ten_seconds_and_replaced_by_a_fresh_one(
    kafka: Secured, topic: str, reading: Callable[..., Reader]
):
    reader = reading(topic, {"bootstrap.servers": kafka.plain})
    send(kafka, topic, [b"a"])
    send(kafka, topic, [b"b"], partition=1)
    reader.until(lambda _: reader.ended == {0, 1})
    client = reader.source._consumer
    assert client is not None
    client.pause([TopicPartition(topic, 0)])  # this client gives nothing more from partition 0, and reports no error
    began = time.time()
    send(kafka, topic, [b"c"])
    trouble = reader.until(lambda trouble: trouble, 20.0)
    assert trouble.state == "stalled"
    assert 9 < time.time() - trouble.since < promised(14)
    assert 0 < trouble.since - began < promised(4)
    assert trouble.reasons == (
        f"topic {topic}, partition 0: no record comes from offset 1 on, although there are some up to 2; a fresh client is tried",
    )
    assert reader.step() == trouble, "the state is visible before it ends"
    assert 0 in reader.held, "nothing behind it is final"
    assert reader.source.lag() == {0: 1, 1: 0}
    reader.until(lambda trouble: trouble is None and sorted(filter(None, reader.values)) == [b"a", b"b", b"c"])
    send(kafka, topic, [b"d"])
    send(kafka, topic, [b"e"], partition=1)
    reader.until(lambda _: sorted(filter(None, reader.values)) == [b"a", b"b", b"c", b"d", b"e"])
    assert reader.gaps == []


# The service ---------------------------------------------------------------------------------------------------------


def readiness(running: Service) -> tuple[int, dict[str, Any]]:
    status, _, body = running.request("/readyz")
    return status, json.loads(body)["streams"]["events"]


def test_a_service_without_its_brokers_answers_and_shows_everywhere_how_old_its_answers_are(kafka: Secured, topic: str):
    send(kafka, topic, [b"R_1000", b"G_1001", b"B_1002"])
    proxy = Proxy(kafka.plain, kafka.plain)
    try:
        with service(proxy.bootstrap, topic) as running:
            until(lambda: readiness(running)[1]["state"] == "at the end")
            gone_at = time.time()
            proxy.cut(refuse=True)
            status, ready = until(
                lambda: found if (found := readiness(running))[1]["state"] == "unreachable" else None, timeout_s=promised(10)
            )
            assert (status, ready["ready"]) == (200, True)
            assert abs(ready["since"] - gone_at) < promised(5)
            assert ready["stale"] >= time.time() - gone_at - 1
            assert proxy.bootstrap in " ".join(ready["reasons"])
            (listed,) = running.get("/streams")["streams"]
            assert (listed["state"], listed["trouble"]["state"]) == ("unreachable", "unreachable")
            assert running.get("/events/get-sets?startTime=0&endTime=2000")["sets"]
            metrics = running.request("/metrics")[2].decode()
            assert 'firnline_source_trouble{state="unreachable",stream="events"} 1.0' in metrics
            url = f"http://127.0.0.1:{running.port}"
            top = run_forked(["-m", "scripts.cli", "top", "--once", "--url", url], check=True)
            assert re.search(r"events: unreachable for \d+ s: ", top.stdout), top.stdout
            proxy.mend()
            until(lambda: readiness(running)[1]["state"] == "at the end")
            assert "reasons" not in readiness(running)[1]
            _, log = running.stop()
            assert PASSWORD not in log
            lines = [line for line in log.splitlines() if '"trouble"' in line]
            assert 1 <= len(lines) <= 6, lines
    finally:
        proxy.close()


def test_a_service_that_cannot_connect_says_why_once_and_goes_on_when_it_can(kafka: Secured, topic: str):
    settings = [f"kafka.{name}={value}" for name, value in (kafka.as_user | {"sasl.password": "wrong-password"}).items()]
    with service(None, topic, *settings) as running:
        status, ready = until(
            lambda: found if (found := readiness(running))[1]["state"] == "unreachable" else None, timeout_s=promised(5)
        )
        assert (status, ready["stale"]) == (200, None)
        assert "Authentication failed" in ready["reasons"][0]
        until(lambda: running.stats()["trouble"])
        _, log = running.stop()
    assert log.count("Authentication failed") == 1, log
    assert "wrong-password" not in log


def test_a_service_before_a_damaged_batch_is_not_ready_and_one_that_skips_counts_what_it_missed(kafka: Secured, topic: str):
    for batch in range(3):
        send(kafka, topic, [b"R_%d" % (1_000 * batch + number) for number in range(100)])
    kafka.damage(topic, 1)
    with service(kafka.plain, topic) as running:
        _, ready = until(lambda: found if (found := readiness(running))[1]["state"] == "damaged" else None)
        status, ready = readiness(running)
        assert (status, ready["ready"]) == (503, False)
        assert f"topic {topic}, partition 0: the batch at offset 100 is damaged" in ready["reasons"][0]
        assert running.stats()["lag"]["0"] == 200
    with service(kafka.plain, topic, "streams.events.source.on_damage=skip") as running:
        until(lambda: running.stats()["records"] == 200)
        stats = running.stats()
        assert stats["missed"] == {"damaged": 100}
        (lost,) = stats["missing"]
        assert lost["reason"] == "damaged"
        start, end = lost["span"]
        assert start <= 1_000
        assert end > 1_099
        until(lambda: readiness(running)[1]["state"] == "at the end")


@pytest.mark.long
@pytest.mark.parametrize(("on_damage", "code", "sets"), [("stop", 1, 0), ("skip", 0, 200)])
def test_once_ends_at_a_damaged_batch_with_a_failure_or_behind_it(
    kafka: Secured, topic: str, tmp_path: Path, *, on_damage: str, code: int, sets: int
):
    for batch in range(3):
        send(
            kafka, topic, [b"%s_%d" % (b"RGB"[at % 3 : at % 3 + 1], 1_685_695_916_000 + 300 * batch + at) for at in range(300)]
        )
    kafka.damage(topic, 0 if on_damage == "stop" else 1)
    settings = {
        "http.port": "0",
        "data_dir": str(tmp_path),
        "kafka.bootstrap.servers": kafka.plain,
        "streams.events.source": f"{{topic: {topic}, on_damage: {on_damage}}}",
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    done = run_forked(command("serve", "--once", "--only", "events", *words), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    number = 0 if on_damage == "stop" else 300
    assert f"topic {topic}, partition 0: the batch at offset {number} is damaged" in done.stdout + done.stderr
    if on_damage == "stop":
        assert "given up" in done.stdout + done.stderr
    assert f'"events": {3 * sets}' in done.stdout + done.stderr
