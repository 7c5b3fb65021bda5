"""Kafka brokers on this machine: the embedded one for trying out, and a real one for measuring and testing.

The embedded broker is librdkafka's mock, in a process of its own: wire-compatible, in memory, and forgetful beyond 5 MiB a
partition. The real one is Apache Kafka from Maven's jars, a single node on loopback. Both end with the process that runs them.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from scripts.checkout import ROOT

KAFKA = "4.1.0"
LOG4J = "2.25.1"

_PATIENCE_S = 120.0
_LOGGING = "rootLogger.level=WARN\nrootLogger.appenderRef.c.ref=C\nappender.c.type=Console\nappender.c.name=C\n"

app = typer.Typer(add_completion=False, help="Run a Kafka broker on loopback until Ctrl-C.")


def run_dir() -> Path:
    """Return the folder for what running processes tell each other; FIRNLINE_RUN_DIR names another one.

    It is in the checkout, or, where Firnline is installed, the user's own folder for caches.
    """
    if named := os.environ.get("FIRNLINE_RUN_DIR"):
        return Path(named)
    if (ROOT / "pyproject.toml").exists():
        return ROOT / ".firnline"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firnline"


# The embedded broker -------------------------------------------------------------------------------------------------


def find_embedded() -> str | None:
    """Return the address of a running embedded broker, or None."""
    found = _noticed()
    return found[0] if found is not None else None


def _noticed() -> tuple[str, int] | None:
    """Return the address and the process of the embedded broker that wrote the notice last, where it still runs."""
    try:
        notice = json.loads((run_dir() / "broker.json").read_text())
        host, _, port = str(notice["bootstrap"]).rpartition(":")
        pid = int(notice["pid"])
        os.kill(pid, 0)
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"{host}:{port}", pid


def start_embedded() -> tuple[subprocess.Popen[bytes], str]:
    """Start an embedded broker that ends with this process; returns it and its address.

    Raises OSError where it does not come up.
    """
    # A session of its own: Ctrl-C is for the service, which ends its broker last.
    command = [sys.executable, str(ROOT / "scripts" / "broker.py"), "embedded", "--with-parent"]
    broker = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + _PATIENCE_S
    while (found := _noticed()) is None or found[1] != broker.pid:  # another one may run already
        if broker.poll() is not None or time.monotonic() > deadline:
            broker.terminate()
            broker.wait(timeout=10)
            raise OSError("the embedded broker did not come up")
        time.sleep(0.02)
    return broker, found[0]


@app.command()
def embedded(
    with_parent: Annotated[bool, typer.Option("--with-parent", help="End when the process that started it ends.")] = False,
) -> None:
    """Run the embedded broker, and write its address to .firnline/broker.json."""
    stopping = _on_signal()
    parent = os.getppid()
    mock = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    (broker,) = mock.list_topics(timeout=10).brokers.values()
    bootstrap = f"{broker.host}:{broker.port}"
    notice = run_dir() / "broker.json"
    try:
        notice.parent.mkdir(parents=True, exist_ok=True)
        fresh = notice.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"bootstrap": bootstrap, "pid": os.getpid()}))
        fresh.replace(notice)
    except OSError as error:
        sys.exit(f"broker: cannot write {notice}: {error.strerror}")
    if not with_parent:
        print(f"embedded broker at {bootstrap}; Ctrl-C ends it", flush=True)
    while not stopping.wait(0.2):
        if with_parent and os.getppid() != parent:
            break
        mock.poll(0)
    with contextlib.suppress(FileNotFoundError):  # the folder may be gone, or the notice be another broker's by now
        if json.loads(notice.read_text())["pid"] == os.getpid():
            notice.unlink()


# The real broker -----------------------------------------------------------------------------------------------------


@app.command()
def real(
    directory: Annotated[Path, typer.Option("--dir", help="Where the jars and the data live.")] = ROOT / ".firnline" / "kafka",
    port: Annotated[int | None, typer.Option(help="The port; without it, a free one.")] = None,
) -> None:
    """Run Apache Kafka from Maven's jars; needs Java 17 and Maven."""
    stopping = _on_signal()
    try:
        with real_broker(directory, port) as bootstrap:
            print(f"Kafka {KAFKA} at {bootstrap}; Ctrl-C ends it", flush=True)
            stopping.wait()
    except OSError as error:
        sys.exit(f"broker: {error}")


@dataclass(frozen=True, slots=True)
class Member:
    """A node of a running cluster: its address, its process, and the file that holds what it prints."""

    bootstrap: str
    process: "subprocess.Popen[bytes]"
    log: Path


@contextlib.contextmanager
def real_broker(directory: Path, port: int | None = None) -> Iterator[str]:
    """Run a real single-node Kafka with an empty log, its jars kept in `directory`; yields its address.

    Raises OSError where Java or Maven is missing, or the broker does not come up.
    """
    with _cluster(directory, [port or _free_port()], ["-Xmx1g"]) as (member,):
        yield member.bootstrap


@contextlib.contextmanager
def real_cluster(directory: Path, count: int) -> Iterator[list[Member]]:
    """Run a real Kafka of `count` nodes with empty logs, of 256 MiB of heap each; yields them by id, from 1 on.

    The first one is the only controller: it has to live. Each of the others may be killed, and its command started again; six
    seconds later its partitions have other leaders, and it gets them back only by an election. Raises OSError as `real_broker`.
    """
    lean = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # half the processor time until it is up
    with _cluster(directory, [_free_port() for _ in range(count)], lean) as members:
        yield members


@contextlib.contextmanager
def _cluster(directory: Path, ports: Sequence[int], options: Sequence[str]) -> Iterator[list[Member]]:
    """Run a node at each port, all of them started at once; they end in any case, the last one first."""
    if missing := [command for command in ("java", "mvn") if shutil.which(command) is None]:
        raise OSError(f"a real broker needs {' and '.join(missing)} on the PATH")
    directory = directory.resolve()  # Maven takes a relative folder from where its pom lies
    jars = _jars(directory)
    root = directory / f"node-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    nodes = [root / str(number) for number in range(1, len(ports) + 1)]
    java = ["java", *options, f"-Dlog4j2.configurationFile={root / 'log4j2.properties'}", "-cp", f"{jars}/*"]
    with contextlib.ExitStack() as around:
        around.callback(shutil.rmtree, root, ignore_errors=True)
        controller = f"127.0.0.1:{_free_port()}"
        for number, (node, port) in enumerate(zip(nodes, ports, strict=True), 1):
            node.mkdir(parents=True)
            (node / "server.properties").write_text(_properties(node, number, port, controller, count=len(ports)))
        (root / "log4j2.properties").write_text(_LOGGING)
        _format(java, nodes)
        members = [around.enter_context(_member(java, node, port)) for node, port in zip(nodes, ports, strict=True)]
        for member in members:
            _await_broker(member, len(members))
        yield members


def _format(java: Sequence[str], nodes: Sequence[Path]) -> None:
    """Make the storage of the nodes, at once. Raises OSError where that fails."""
    tool = [*java, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c"]

    def make(node: Path) -> None:
        formatted = subprocess.run([*tool, str(node / "server.properties")], check=False, capture_output=True, text=True)
        if formatted.returncode:
            raise OSError(f"Kafka's storage could not be made: {formatted.stderr.strip()}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, nodes))


@contextlib.contextmanager
def _member(java: Sequence[str], node: Path, port: int) -> Iterator[Member]:
    """Start a node, and wait for nothing; ended in any case."""
    path = node / "broker.log"
    with path.open("wb") as log:
        command = [*java, "kafka.Kafka", str(node / "server.properties")]
        broker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield Member(f"127.0.0.1:{port}", broker, path)
        finally:
            broker.terminate()
            try:
                broker.wait(timeout=20)
            except subprocess.TimeoutExpired:
                broker.kill()
                broker.wait()


def _jars(directory: Path) -> Path:
    """Fetch Kafka's jars by Maven, once; returns their folder."""
    jars = directory / f"lib-{KAFKA}"
    if jars.exists():
        return jars
    directory.mkdir(parents=True, exist_ok=True)
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
    try:
        coming.rename(jars)
    except OSError:  # another process was quicker
        shutil.rmtree(coming, ignore_errors=True)
    return jars


def _properties(node: Path, number: int, port: int, controller: str, *, count: int) -> str:
    """Return the settings of one of `count` nodes, of which the first is the controller."""
    listener = f"PLAINTEXT://127.0.0.1:{port}"
    settings = {
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
        "auto.create.topics.enable": "false",
        "log.cleaner.backoff.ms": 200,
        "message.max.bytes": 8 << 20,
        "log.retention.ms": -1,
    }
    if count > 1:
        settings |= {
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 6_000,
            "unclean.leader.election.enable": "false",
            "auto.leader.rebalance.enable": "false",
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.num.partitions": 1,
        }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _await_broker(member: Member, count: int) -> None:
    """Wait until a node knows of so many. Raises OSError where it has ended, or its time is over."""
    deadline = time.monotonic() + _PATIENCE_S
    admin = AdminClient({"bootstrap.servers": member.bootstrap, "log_level": 0})
    while True:
        if member.process.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"Kafka did not come up: {member.log.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(KafkaException):
            if len(admin.list_topics(timeout=1).brokers) == count:
                return
        time.sleep(0.02)


def _cluster_id() -> str:
    """Return a random id in the form that Kafka's storage tool takes; one with a dash in front would read as an option."""
    return "f" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
