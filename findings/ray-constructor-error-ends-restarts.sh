#!/usr/bin/env bash
# Ray: an actor with max_restarts=-1 is dead for ever if its constructor raises once while Ray restarts it.
#
# -1 means that the actor is restarted without limit. Ray does so if the actor's process is killed, and then runs the
# constructor again. If that meets a trouble that passes, such as a port or a lock that the process before still has, and
# raises, the actor ends for good, although it would succeed a moment later.
# Seen with Ray 2.60.0.
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
import sys
import time
from pathlib import Path

import ray

trouble = Path(sys.argv[1]) / "trouble"
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@ray.remote(max_restarts=-1)
class Worker:
    def __init__(self) -> None:
        if trouble.exists():
            raise OSError("a trouble that passes")

    def pid(self) -> int:
        return os.getpid()


worker = Worker.remote()


def answer(but: int, seconds: float) -> "int | str":
    """Return the id of a process other than `but` that answers, or why none does after some time."""
    deadline, found = time.monotonic() + seconds, "no answer"
    while time.monotonic() < deadline:
        try:
            pid = ray.get(worker.pid.remote(), timeout=30)
            if pid != but:
                return pid
        except ray.exceptions.RayActorError as error:
            found = type(error).__name__
            if found == "ActorDiedError":
                trouble.unlink(missing_ok=True)
        time.sleep(0.5)
    return found


first = answer(0, 60)
os.kill(first, signal.SIGKILL)
second = answer(first, 60)
trouble.touch()
os.kill(second, signal.SIGKILL)
third = answer(second, 40)
print(f"after a kill, the constructor returns: {'back' if isinstance(second, int) else second}")
print(f"after a kill, the constructor raises once: {third}, although the trouble is gone: {not trouble.exists()}")
ray.shutdown()
sys.exit("the behaviour has changed" if not isinstance(second, int) or third != "ActorDiedError" else 0)
PYTHON
