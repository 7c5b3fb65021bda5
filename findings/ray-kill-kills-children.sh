#!/usr/bin/env bash
# Ray: ray.kill also kills the processes that the actor has started, by SIGKILL, even those in sessions of their own; if the
# actor's process itself is killed by SIGKILL, they live on beside those of the restarted actor.
#
# So a program that an actor runs cannot end in order at ray.kill: the actor has to be asked to end it before. And against the
# second case a child needs a signal at the death of its parent, such as Linux's PR_SET_PDEATHSIG.
# Seen with Ray 2.60.0 on Linux.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
export RAY_USAGE_STATS_ENABLED=0 HOME="$folder"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ray

folder = Path(sys.argv[1])
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
CHILD = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text("SIGTERM"), sys.exit()))
while True:
    signal.pause()
"""


@ray.remote
class Runner:
    def run(self, code: str, said: str) -> "tuple[int, int]":
        self.child = subprocess.Popen([sys.executable, "-c", code, said], start_new_session=True)
        return os.getpid(), self.child.pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def child_lives_after(name: str, end: object) -> "tuple[bool, bool]":
    """Return whether the child lives 10 s after its actor was ended, and whether it got SIGTERM."""
    said, runner = folder / name, Runner.remote()
    worker, child = ray.get(runner.run.remote(CHILD, str(said)), timeout=60)
    end(runner, worker)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (alive(worker) or alive(child)):
        time.sleep(0.1)
    lives = alive(child)
    if lives:
        os.kill(child, signal.SIGKILL)
    return lives, said.exists()


killed = child_lives_after("ray.kill", lambda runner, _: ray.kill(runner))
lost = child_lives_after("SIGKILL", lambda _, worker: os.kill(worker, signal.SIGKILL))
for name, (lives, told) in {"ray.kill of the actor": killed, "SIGKILL of its process": lost}.items():
    print(f"{name}: the child {'lives on' if lives else 'is dead'}, and got {'SIGTERM' if told else 'no SIGTERM'}")
ray.shutdown()
sys.exit("the behaviour has changed" if (killed, lost) != ((False, False), (True, False)) else 0)
PYTHON
