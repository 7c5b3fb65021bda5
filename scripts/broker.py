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
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

ROOT = Path(__file__).resolve().parent.parent
KAFKA = "4.1.0"
LOG4J = "2.25.1"

_PATIENCE_S = 60.0

app = typer.Typer(add_completion=False, help="Run a Kafka broker on loopback until Ctrl-C.")


def run_dir() -> Path:
    """Return the folder for what running processes tell each other; FIRNLINE_RUN_DIR names another one."""
    return Path(os.environ.get("FIRNLINE_RUN_DIR", ROOT / ".firnline"))


# The embedded broker -------------------------------------------------------------------------------------------------


def find_embedded() -> str | None:
    """Return the address of a running embedded broker, or None."""
    try:
        notice = json.loads((run_dir() / "broker.json").read_text())
        host, _, port = str(notice["bootstrap"]).rpartition(":")
        os.kill(int(notice["pid"]), 0)
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"{host}:{port}"


def start_embedded() -> tuple[subprocess.Popen[bytes], str]:
    """Start an embedded broker that ends with this process; returns it and its address.

    Raises OSError where it does not come up.
    """
    # A session of its own: Ctrl-C is for the service, which ends its broker last.
    command = [sys.executable, str(Path(__file__).resolve()), "embedded", "--with-parent"]
    broker = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + _PATIENCE_S
    while (found := find_embedded()) is None:
        if broker.poll() is not None or time.monotonic() > deadline:
            broker.terminate()
            broker.wait(timeout=10)
            raise OSError(0, "the embedded broker did not come up")
        time.sleep(0.02)
    return broker, found


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
        sys.exit(f"broker: {error.strerror or error}")


@contextlib.contextmanager
def real_broker(directory: Path, port: int | None = None) -> Iterator[str]:
    """Run a real single-node Kafka with an empty log, its jars kept in `directory`; yields its address.

    Raises OSError where Java or Maven is missing, or the broker does not come up.
    """
    if missing := [command for command in ("java", "mvn") if shutil.which(command) is None]:
        raise OSError(0, f"a real broker needs {' and '.join(missing)} on the PATH")
    directory = directory.resolve()  # Maven takes a relative folder from where its pom lies
    jars = _jars(directory)
    node = directory / f"node-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    node.mkdir(parents=True)
    client_port, controller_port = port or _free_port(), _free_port()
    properties = node / "server.properties"
    properties.write_text(_properties(node, client_port, controller_port))
    (node / "log4j2.properties").write_text(
        "rootLogger.level=WARN\nrootLogger.appenderRef.c.ref=C\nappender.c.type=Console\nappender.c.name=C\n"
    )
    java = ["java", "-Xmx1g", f"-Dlog4j2.configurationFile={node / 'log4j2.properties'}", "-cp", f"{jars}/*"]
    storage = [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", _cluster_id(), "-c", str(properties)]
    formatted = subprocess.run(storage, check=False, capture_output=True, text=True)
    if formatted.returncode:
        shutil.rmtree(node, ignore_errors=True)
        raise OSError(0, f"Kafka's storage could not be made: {formatted.stderr.strip()}")
    bootstrap = f"127.0.0.1:{client_port}"
    with (node / "broker.log").open("wb") as log:
        broker = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log, start_new_session=True)
        try:
            _await_broker(broker, bootstrap, node / "broker.log")
            yield bootstrap
        finally:
            broker.terminate()
            try:
                broker.wait(timeout=20)
            except subprocess.TimeoutExpired:
                broker.kill()
                broker.wait()
            shutil.rmtree(node, ignore_errors=True)


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
        raise OSError(0, f"Maven could not fetch Kafka: {fetched.stdout.strip()[-500:]}")
    try:
        coming.rename(jars)
    except OSError:  # another process was quicker
        shutil.rmtree(coming, ignore_errors=True)
    return jars


def _properties(node: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": node / "data",
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": "false",
        "log.cleaner.backoff.ms": 200,
        "message.max.bytes": 8 << 20,
        "log.retention.ms": -1,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _await_broker(broker: subprocess.Popen[bytes], bootstrap: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    while True:
        if broker.poll() is not None or time.monotonic() > deadline:
            raise OSError(0, f"Kafka did not come up: {log.read_text(errors='replace')[-500:]}")
        with contextlib.suppress(KafkaException):
            admin.list_topics(timeout=1)
            return


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


if __name__ == "__main__":
    app()
