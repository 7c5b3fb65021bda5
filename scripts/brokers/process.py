"""For a process that runs other processes: a free port, an event that signals set, and the end of a child."""

import signal
import socket
import subprocess
import threading


def free_port() -> int:
    """Return a port of loopback that no process listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def interrupted() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set from now on."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: event.set())
    return event


def end(child: "subprocess.Popen[bytes]", timeout_s: float = 10.0) -> None:
    """Terminate a child process and wait for its end; kill it after `timeout_s` seconds."""
    child.terminate()
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
