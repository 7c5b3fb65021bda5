"""The duration of a restart: with many sets in files, and after a kill in the middle of a load.

`scripts/bench.py --recovery` uses it. The product's own parts write the files, from sets at random milliseconds; the real
service reads them.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from rich.table import Table

from actors.columns.sealed import CHUNK
from actors.durability.disk import Disk
from actors.durability.store import Store
from actors.views.sets.bound import Proof, identity
from actors.views.sets.pieces import Piece
from actors.views.sets.slices import FrozenSets
from scripts.lab.measure.runs import PATIENCE_S, Client, fill, service
from scripts.lab.waiting import until

_SETS = 1_000_000
_MS_A_SET = 30
_BEFORE_MS = 1_000_000_000_000
"""The sets in files end before the events of the topic begin."""

_EVENTS = 3_000_000
_PARTITIONS = 3


@dataclass(frozen=True, slots=True)
class Recovery:
    """The seconds from the start of the process until it answered, and until it had read the backlog."""

    sets: int
    file_bytes: int
    answers_s: float
    events: int
    killed_at: int
    caught_up_s: float


def recovery(bootstrap: str, sets: int) -> Recovery:
    """Measure both. Making the files takes half a second for each million sets."""
    topic = f"bench-steady-{_EVENTS}"
    fill(bootstrap, topic, "steady", _EVENTS, _PARTITIONS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with service("events", bootstrap, topic, "60%", data_dir=folder) as (process, client):
            _until(client, lambda stats: stats["records"] > _EVENTS // 2)
            killed_at = int(client.get("/events/get-stats")["records"])
            process.send_signal(signal.SIGKILL)
        began = time.perf_counter()
        with service("events", bootstrap, topic, "60%", data_dir=folder) as (_, client):
            _until(client, lambda stats: stats["records"] == _EVENTS and not sum(stats["lag"].values()))
            caught_up_s = time.perf_counter() - began
        file_bytes = _write(Store(next(path for path in folder.iterdir() if path.is_dir()), Disk()), sets)
        began = time.perf_counter()
        with service("events", bootstrap, topic, "60%", data_dir=folder) as (_, client):
            _until(client, lambda stats: stats["total"]["validSetCount"] >= sets)
            client.get(f"/events/get-sets?startTime={_BEFORE_MS - 3_000}&endTime={_BEFORE_MS}&limit=100")
            answers_s = time.perf_counter() - began
    return Recovery(sets, file_bytes, answers_s, _EVENTS, killed_at, caught_up_s)


def _until(client: Client, ready: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until `ready` is true of the stream's stats."""

    def look() -> bool:
        stats = client.get("/events/get-stats")
        return "total" in stats and ready(stats)

    until(look, PATIENCE_S, "the records", every_s=0.02)


def _write(store: Store, sets: int) -> int:
    """Add generations of a million sets to the newest checkpoint. Return the bytes of their files."""
    store.open()
    state = store.read_checkpoint(store.checkpoints()[0])
    chance = np.random.default_rng(1)
    rows, written = [], 0
    count = -(-sets // _SETS)
    for number in track(range(count), "writing generations", transient=True, disable=not sys.stderr.isatty()):
        start = _BEFORE_MS - (count - number) * _SETS * _MS_A_SET
        times = np.sort(chance.integers(0, _SETS * _MS_A_SET, 3 * _SETS)) + start
        columns = [times[step::3] for step in range(3)]
        pieces: list[Piece] = [
            Piece.of(tuple(column[at : at + CHUNK] for column in columns)).sealed() for at in range(0, _SETS, CHUNK)
        ]
        name, nbytes = store.write_generation(FrozenSets(pieces, Proof(identity(3))).state())
        rows.append((number, name, start, start + _SETS * _MS_A_SET, 3 * _SETS, nbytes, False))
        written += nbytes
    store.write_checkpoint({**state, "aged": [*rows, *state["aged"]]})
    return written


def recovery_table(measured: Recovery) -> Table:
    """Return the figures as a table."""
    shown = Table(title="restarts")
    for column in ("what", "seconds"):
        shown.add_column(column, justify="right" if column == "seconds" else "left")
    in_files = f"{measured.sets:,} sets in {measured.file_bytes / 2**20:,.0f} MiB of files: until they answer"
    shown.add_row(in_files, f"{measured.answers_s:.1f}")
    killed = f"kill -9 under full load at {measured.killed_at:,} of {measured.events:,} records: until it has caught up"
    shown.add_row(killed, f"{measured.caught_up_s:.1f}")
    return shown
