"""The option `--cluster local:N`: N processes of one cluster on this machine, each started again when it ends.

The first one listens at the configured port, the others at free ports; each answers for all. The memory budget is shared.
"""

import contextlib
import ctypes
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from config.machine import MemoryMeter
from config.settings import Settings
from scripts.brokers.process import interrupted
from scripts.checkout import own_command
from scripts.service.cluster.secret import VARIABLE

_FORM = re.compile(r"local:([1-9][0-9]?)")
_STEP_S = 0.1
_AGAIN_S = 1.0
_HASTE_S = 5.0
"""A process that ends sooner after its start has a reason that a new start does not change."""

_MOST_HASTE = 3
_STOP_S = 40.0
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def count_of(given: str) -> int:
    """Return N of `local:N`.

    >>> count_of("local:3")
    3

    Raises ValueError.
    """
    found = _FORM.fullmatch(given)
    if found is None:
        raise ValueError(f"--cluster: expected local:N, N processes from 1 to 99, got {given}")
    return int(found[1])


def overrides_of(count: int) -> list[str]:
    """Return the settings of a cluster of `count` processes, for a configuration that has none."""
    return ["cluster.name=local", f"cluster.shards={count}"]


@dataclass(slots=True)
class _Child:
    """A process: its command, when it began, and how often it ended in haste."""

    words: list[str]
    process: "subprocess.Popen[bytes]"
    began: float
    haste: int = 0
    due: float | None = None


def run(settings: Settings, words: Sequence[str], count: int, *, demo: bool) -> int:
    """Run `count` processes of `firnline serve WORDS` until a signal comes; return the exit code. Called on the main thread.

    With `demo`, the first one also runs the gentle producer.
    """
    stop = interrupted()
    environ = dict(os.environ)
    if settings.cluster is not None and settings.cluster.secret is None:
        environ.setdefault(VARIABLE, secrets.token_hex(16))
    share = min(settings.memory.budget.resolve(MemoryMeter().limit().bytes), MemoryMeter().limit().bytes) // count
    children: list[_Child] = []
    for number in range(1, count + 1):
        port = settings.http.port if number == 1 else 0
        own = [f"http.port={port}", f"cluster.member=local-{number}", f"memory.budget={share}"]
        more = ["--demo"] if demo and number == 1 else []
        command = own_command("serve", *words, *more, *(word for each in own for word in ("--set", each)))
        children.append(_Child(command, _start(command, environ), time.monotonic()))
    code = _watch(children, environ, stop)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
    return code


def _watch(children: Sequence[_Child], environ: dict[str, str], stop: threading.Event) -> int:
    """Start each process again that ends, until a signal comes, or until one ends at once again and again."""
    while not stop.wait(_STEP_S):
        now = time.monotonic()
        for child in children:
            if child.due is not None:
                if now >= child.due:
                    child.process, child.began, child.due = _start(child.words, environ), now, None
                continue
            code = child.process.poll()
            if code is None:
                continue
            child.haste = child.haste + 1 if now - child.began < _HASTE_S else 0
            if child.haste >= _MOST_HASTE or code == 2:
                return code if code > 0 else 1
            print(f"firnline: process {child.process.pid} ended with {code}: it is started again", file=sys.stderr, flush=True)
            child.due = now + _AGAIN_S
    return 0


def _start(command: Sequence[str], environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process that gets no Ctrl-C of the terminal, and on Linux ends when this one does."""
    return subprocess.Popen(command, env=environ, start_new_session=True, preexec_fn=_end_with_parent)  # noqa: PLW1509  # no threads


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
