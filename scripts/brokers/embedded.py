"""The embedded broker: librdkafka's mock in a process of its own, with Kafka's protocol, to try Firnline without Kafka.

It keeps at most 5 MiB of records a partition, in memory. Other processes find its address and process id in a file. It is no
place to test transactions, see `LIMITS`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import Annotated

import typer
from confluent_kafka import Producer

from scripts.brokers.process import end, interrupted
from scripts.checkout import own_command, run_dir

LIMITS = "it keeps no isolation (records of open and aborted transactions are read), no record times, and nothing on disk"
"""What differs from Kafka, for people."""

_START_TIMEOUT_S = 120.0


def find_embedded() -> str | None:
    """Return the address of a running embedded broker; None if none runs. Cost: one connection."""
    found = _registered()
    return found[0] if found is not None else None


def start_embedded() -> tuple["subprocess.Popen[bytes]", str]:
    """Start an embedded broker that ends when this process ends; returns the child process and its address.

    Raises OSError if the broker does not start.
    """
    # A session of its own, so that Ctrl-C reaches the service alone; the service ends its broker last.
    broker = subprocess.Popen(own_command("broker", "embedded", "--with-parent"), start_new_session=True)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while (found := _registered()) is None or found[1] != broker.pid:  # another broker may run already
        if broker.poll() is not None or time.monotonic() > deadline:
            end(broker)
            raise OSError("the embedded broker did not start")
        time.sleep(0.02)
    return broker, found[0]


def embedded(
    with_parent: Annotated[bool, typer.Option("--with-parent", help="End when the parent process ends.")] = False,
) -> None:
    """Run the embedded broker, and write its address to .firnline/broker.json."""
    stop, parent = interrupted(), os.getppid()
    mock = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    (broker,) = mock.list_topics(timeout=10).brokers.values()
    bootstrap = f"{broker.host}:{broker.port}"
    path = run_dir() / "broker.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"bootstrap": bootstrap, "pid": os.getpid()}))
        fresh.replace(path)
    except OSError as error:
        sys.exit(f"broker: cannot write {path}: {error.strerror}")
    if not with_parent:
        print(f"embedded broker at {bootstrap}; Ctrl-C ends it", flush=True)
        print(f"embedded broker: {LIMITS}", file=sys.stderr, flush=True)
    while not stop.wait(0.2):
        if with_parent and os.getppid() != parent:
            break
        mock.poll(0)
    with contextlib.suppress(FileNotFoundError):  # the folder may be deleted, or another broker may have written the file
        if json.loads(path.read_text())["pid"] == os.getpid():
            path.unlink()


def _registered() -> tuple[str, int] | None:
    """Return the address and the process id in the file; None unless that process runs and accepts connections."""
    try:
        content = json.loads((run_dir() / "broker.json").read_text())
        host, _, port = str(content["bootstrap"]).rpartition(":")
        pid = int(content["pid"])
        os.kill(pid, 0)
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"{host}:{port}", pid
