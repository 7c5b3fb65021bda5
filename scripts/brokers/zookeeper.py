"""The ZooKeeper that a Kafka before 3.3 needs, from the same jars, and the settings of a broker that uses it."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.brokers.process import end, free_port


def needed(version: str) -> bool:
    """Whether this version of Kafka needs ZooKeeper in production: all before 3.3."""
    major, minor = map(int, version.split(".")[:2])
    return (major, minor) < (3, 3)


@contextlib.contextmanager
def zookeeper(jars: Path, root: Path) -> Iterator[str]:
    """Run ZooKeeper on loopback, with its data below `root`; yields its address. A broker waits until it answers."""
    port = free_port()
    root.mkdir(parents=True)
    settings = root / "zookeeper.properties"
    settings.write_text(
        f"dataDir={root / 'zookeeper'}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    options = ("-Xmx128m", "-XX:+UseSerialGC", "-Dzookeeper.jmx.log4j.disable=true", "-cp", f"{jars}/*")
    command = ["java", *options, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(settings)]
    with (root / "zookeeper.log").open("wb") as log:
        keeper = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            end(keeper, 20)


def with_keeper(settings: Mapping[str, object], keeper: str) -> dict[str, object]:
    """Return the settings of a node without the listener of a controller, and with ZooKeeper at address `keeper`."""
    left = {name: value for name, value in settings.items() if not name.startswith(("controller.", "process.", "node."))}
    for name in ("listeners", "listener.security.protocol.map"):
        left[name] = ",".join(entry for entry in str(settings[name]).split(",") if not entry.startswith("CONTROLLER"))
    return {**left, "broker.id": settings["node.id"], "zookeeper.connect": keeper, "zookeeper.connection.timeout.ms": 60_000}
