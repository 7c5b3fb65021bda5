"""A real broker for tests and measurements: Apache Kafka from Maven's jars, on loopback, with an empty log.

It needs Java 17 and Maven, and ends with the process that runs it.
"""

import base64
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from scripts.brokers.process import end, free_port, interrupted
from scripts.brokers.zookeeper import needed, with_keeper, zookeeper
from scripts.checkout import ROOT

KAFKA = os.environ.get("FIRNLINE_KAFKA", "4.1.0")
"""The version of Kafka, which the environment may choose. `make kafka-versions` lists those that are tested."""

LOG4J = "2.25.1"

_START_TIMEOUT_S = 120.0
_LEAN = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # half the processor time to start
_UNVERIFIED = ("-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote")  # a fifth less, for jars with checksums
_LOGGING = "rootLogger.level=WARN\nrootLogger.appenderRef.c.ref=C\nappender.c.type=Console\nappender.c.name=C\n"


def real(
    directory: Annotated[Path, typer.Option("--dir", help="The folder for jars and data.")] = ROOT / ".firnline" / "kafka",
    port: Annotated[int | None, typer.Option(help="The port; by default a free one.")] = None,
    auto_create: Annotated[
        bool, typer.Option(help="Whether a request for an absent topic creates it, as by Kafka's default.")
    ] = True,
) -> None:
    """Run Apache Kafka from Maven's jars; needs Java 17 and Maven.

    FIRNLINE_KAFKA is its version, 4.1.0 if it is not set.
    """
    stop = interrupted()
    try:
        with real_broker(directory, port, creates_topics=auto_create) as bootstrap:
            print(f"Kafka {KAFKA} at {bootstrap}; Ctrl-C ends it", flush=True)
            stop.wait()
    except OSError as error:
        sys.exit(f"broker: {error}")


@dataclass(frozen=True, slots=True)
class Member:
    """A node of a running cluster: its address, its process, and the file with its output."""

    bootstrap: str
    process: "subprocess.Popen[bytes]"
    log: Path


@contextlib.contextmanager
def real_broker(directory: Path, port: int | None = None, *, creates_topics: bool = True) -> Iterator[str]:
    """Run a single-node Kafka with an empty log; yields its address. The jars stay in `directory`.

    If it `creates_topics`, as Kafka does by default, the broker creates a topic at the first request for it. Raises OSError if
    Java or Maven is missing, or if the broker does not start.
    """
    with _cluster(directory, [port or free_port()], ["-Xmx1g"], creates_topics=creates_topics) as (member,):
        yield member.bootstrap


@contextlib.contextmanager
def real_node(
    directory: Path, listeners: Mapping[str, int], settings: Mapping[str, object], *, heap_mib: int = 256
) -> Iterator[Member]:
    """Run a single-node Kafka with an empty log, with more `listeners` (ports by protocol) and `settings`.

    Raises OSError as `real_broker` does.
    """
    with _cluster(directory, [free_port()], [f"-Xmx{heap_mib}m", *_LEAN], listeners=listeners, more=settings) as (member,):
        yield member


@contextlib.contextmanager
def real_cluster(directory: Path, count: int) -> Iterator[list[Member]]:
    """Run a Kafka cluster of `count` nodes with empty logs and 256 MiB of heap each; yields the nodes by id, from 1 on.

    Node 1 is the only controller and must not be killed. Any other node may be killed and started again: after six seconds its
    partitions have new leaders, and only an election gives them back. Raises OSError as `real_broker` does.
    """
    with _cluster(directory, [free_port() for _ in range(count)], ["-Xmx256m", *_LEAN]) as members:
        yield members


@contextlib.contextmanager
def _cluster(
    directory: Path,
    ports: Sequence[int],
    options: Sequence[str],
    *,
    creates_topics: bool = True,
    listeners: Mapping[str, int] = MappingProxyType({}),
    more: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[list[Member]]:
    """Run a node at each port, each with `more` settings. All start at the same time; all are ended, the last one first."""
    if missing := [command for command in ("java", "mvn") if shutil.which(command) is None]:
        raise OSError(f"a real broker needs {' and '.join(missing)} on the PATH")
    directory = directory.resolve()  # Maven resolves a relative folder against the folder of its pom
    jars = _jars(directory)
    root = directory / f"node-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    nodes = [root / str(number) for number in range(1, len(ports) + 1)]
    java = ["java", *options, *_UNVERIFIED, f"-Dlog4j2.configurationFile={root / 'log4j2.properties'}", "-cp", f"{jars}/*"]
    with contextlib.ExitStack() as around:
        around.callback(shutil.rmtree, root, ignore_errors=True)
        controller = f"127.0.0.1:{free_port()}"
        keeper = around.enter_context(zookeeper(jars, root)) if needed(KAFKA) else None
        for number, (node, port) in enumerate(zip(nodes, ports, strict=True), 1):
            node.mkdir(parents=True)
            settings = _settings(node, number, port, controller, count=len(ports), creates_topics=creates_topics)
            if keeper is not None:
                settings = with_keeper(settings, keeper)
            settings |= {**_listening(settings, listeners), **more}
            (node / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        (root / "log4j2.properties").write_text(_LOGGING)
        if keeper is None:
            _format(java, nodes, directory / f"formatted-{KAFKA}")
        members = [around.enter_context(_member(java, node, port)) for node, port in zip(nodes, ports, strict=True)]
        for member in members:
            _await_broker(member, len(members))
        yield members


def _format(java: Sequence[str], nodes: Sequence[Path], pattern: Path) -> None:
    """Create the storage of all nodes: copies of `pattern` with ids of their own. A JVM makes `pattern` at the first call.

    Raises OSError if that fails.
    """
    if not pattern.exists():
        _make_pattern(java, nodes[0], pattern)
    cluster = _random_id()
    for number, node in enumerate(nodes, 1):
        shutil.copytree(pattern, node / "data")
        ids = {"version": 1, "cluster.id": cluster, "node.id": number, "directory.id": _random_id()}
        (node / "data" / "meta.properties").write_text("".join(f"{key}={value}\n" for key, value in ids.items()))


def _make_pattern(java: Sequence[str], node: Path, pattern: Path) -> None:
    """Let Kafka's tool format the storage of a node, and move it to `pattern`."""
    tool = [*java, "kafka.tools.StorageTool", "format", "-t", _random_id(), "-c", str(node / "server.properties")]
    formatted = subprocess.run(tool, check=False, capture_output=True, text=True)
    if formatted.returncode:
        raise OSError(f"cannot create Kafka's storage: {formatted.stderr.strip()}")
    made = node / "data"
    try:
        made.rename(pattern)
    except OSError:  # another process has made it meanwhile
        shutil.rmtree(made)


@contextlib.contextmanager
def _member(java: Sequence[str], node: Path, port: int) -> Iterator[Member]:
    """Start a node without waiting until it is ready; end it afterwards."""
    path = node / "broker.log"
    with path.open("wb") as log:
        command = [*java, "kafka.Kafka", str(node / "server.properties")]
        broker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield Member(f"127.0.0.1:{port}", broker, path)
        finally:
            end(broker, 20)


def _jars(directory: Path) -> Path:
    """Return the folder of Kafka's jars; Maven fetches them at the first call. Other processes wait for that."""
    jars = directory / f"lib-{KAFKA}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            _fetch(directory, jars)
    return jars


def _fetch(directory: Path, jars: Path) -> None:
    """Let Maven fetch Kafka's jars, and move them to `jars`. Raises OSError if that fails."""
    wanted = [("org.apache.kafka", "kafka_2.13", KAFKA), ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J)]
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in wanted
    )
    pom = directory / "pom.xml"
    pom.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>firnline</groupId>'
        f"<artifactId>broker</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}"
        "</dependencies></project>"
    )
    coming = directory / f"coming-{os.getpid()}"
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={coming}"]
    fetched = subprocess.run(command, check=False, capture_output=True, text=True)
    if fetched.returncode:
        shutil.rmtree(coming, ignore_errors=True)
        raise OSError(f"Maven could not fetch Kafka: {fetched.stdout.strip()[-500:]}")
    coming.rename(jars)


def _listening(settings: Mapping[str, object], listeners: Mapping[str, int]) -> dict[str, object]:
    """Return the settings that add `listeners` to those of a node."""
    also = [f"{protocol}://127.0.0.1:{port}" for protocol, port in listeners.items()]
    mapped = [f"{protocol}:{protocol}" for protocol in listeners]
    names = {"listeners": also, "advertised.listeners": also, "listener.security.protocol.map": mapped}
    return {name: ",".join([str(settings[name]), *added]) for name, added in names.items()}


def _settings(node: Path, number: int, port: int, controller: str, *, count: int, creates_topics: bool) -> dict[str, object]:
    """Return the settings of node `number` of `count`; node 1 is the controller."""
    listener = f"PLAINTEXT://127.0.0.1:{port}"
    settings: dict[str, object] = {
        "process.roles": "broker,controller" if number == 1 else "broker",
        "node.id": number,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"{listener},CONTROLLER://{controller}" if number == 1 else listener,
        "advertised.listeners": listener,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": node / "data",
        "offsets.topic.replication.factor": count,
        "transaction.state.log.replication.factor": count,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": count,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": str(creates_topics).lower(),
        "num.partitions": 3,
        "log.cleaner.backoff.ms": 200,
        "message.max.bytes": 8 << 20,
        "log.retention.ms": -1,
        "offsets.topic.num.partitions": 1,  # fifty of each make every start and restart slower
        "transaction.state.log.num.partitions": 1,
    }
    if count > 1:
        settings |= {
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 6_000,
            "unclean.leader.election.enable": "false",
            "auto.leader.rebalance.enable": "false",
        }
    return settings


def _await_broker(member: Member, count: int) -> None:
    """Wait until a node reports `count` brokers. Raises OSError if it ends or takes too long."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    admin = AdminClient({"bootstrap.servers": member.bootstrap, "log_level": 0})
    while True:
        if member.process.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"Kafka did not start: {member.log.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(KafkaException):
            if len(admin.list_topics(timeout=1).brokers) == count:
                return
        time.sleep(0.02)


def _random_id() -> str:
    """Return a random id of Kafka's form. It begins with a letter, because Kafka's tool takes a leading dash for an option."""
    return "f" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
