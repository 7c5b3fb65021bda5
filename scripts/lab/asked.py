"""The CPU of a query at rest: of all threads of the service, and of the client beside it.

`python -m scripts.lab.asked HOST:PORT [CHECKOUT …]` asks the services of several checkouts by turns, in batches, so
that a busy machine disturbs all of them alike. CPU time still depends on what runs beside; so compare within one run.
"""

import contextlib
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.brokers.process import free_port
from scripts.checkout import ROOT
from scripts.lab.measure.bench import START_MS, questions
from scripts.lab.measure.runs import Client, fill
from scripts.lab.waiting import until

_EVENTS = 3_000_000
_PARTITIONS = 3
_BATCHES = 16
_BATCH = 25
_PATIENCE_S = 120.0
_STEP_MS = 30


def cpu_us(pid: int) -> float:
    """Return the microseconds of CPU that the living threads of a process have taken. Linux only."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1_000


@contextlib.contextmanager
def running(bootstrap: str, topic: str, checkout: Path) -> Iterator[tuple[int, Client]]:
    """Run the service of a checkout over the whole topic. Yields its process id and a client."""
    port = free_port()
    settings = [f"http.port={port}", f"kafka.bootstrap.servers={bootstrap}", f"streams.events.source.topic={topic}"]
    command = [sys.executable, str(checkout / "scripts" / "serve.py"), "--config", str(checkout / "config" / "default.yaml")]
    command += ["--only", "events", *(word for each in (*settings, "data_dir=null") for word in ("--set", each))]
    child = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(checkout)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        client = Client(port)
        until(lambda: client.answers() or child.poll() is not None, _PATIENCE_S, "the service to answer")
        for _ in client.ingestion("events", _EVENTS):
            pass
        yield child.pid, client
    finally:
        child.terminate()
        child.wait(timeout=60)


def main(bootstrap: str, checkouts: list[Path]) -> None:
    """Print a line for each kind of query and each checkout: the medians of the batches."""
    topic, chance = f"bench-steady-{_EVENTS}", random.Random(7)
    fill(bootstrap, topic, "steady", _EVENTS, _PARTITIONS, "--start", str(START_MS))
    with contextlib.ExitStack() as around:
        served = [around.enter_context(running(bootstrap, topic, each)) for each in checkouts]
        last = START_MS + _EVENTS // 3 * _STEP_MS
        for kind in questions(START_MS, last, chance):
            own: list[list[float]] = [[] for _ in served]
            clients: list[list[float]] = [[] for _ in served]
            for batch in range(_BATCHES):
                paths = [questions(START_MS, last, chance)[kind] for _ in range(_BATCH)]
                for place in sorted(range(len(served)), reverse=batch % 2 == 1):
                    pid, client = served[place]
                    client.timed(paths[0])
                    before, mine = cpu_us(pid), time.process_time()
                    for path in paths:
                        client.timed(path)
                    clients[place].append((time.process_time() - mine) * 1e6 / _BATCH)
                    own[place].append((cpu_us(pid) - before) / _BATCH)
            for place, checkout in enumerate(checkouts):
                medians = f"{statistics.median(own[place]):7,.0f} us, the client {statistics.median(clients[place]):7,.0f} us"
                print(f"{kind:12} {medians}  {checkout}")


if __name__ == "__main__":
    main(sys.argv[1], [Path(each).resolve() for each in sys.argv[2:]] or [ROOT])
