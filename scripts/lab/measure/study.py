"""The figures of unique users in docs/benchmarks.md: the cost of JSON, step by step, and the errors of sketches.

`scripts/bench.py --study` runs it in this process alone.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from actors.columns.times import Times
from actors.columns.values import Values
from actors.replies import Answer, Coverage
from actors.timeline.span import EVER
from actors.views.uniques.arguments import Rows
from actors.views.uniques.sketch import coarse, estimate, sketched
from actors.views.uniques.view import UniquesView
from gateway.api.formats import write
from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec

_FRAMES = 200_000
_POLL = 4_000
_ROUNDS = 5
_TRIALS = ((10_000, 60), (100_000, 40), (1_000_000, 12))


class _Frame(msgspec.Struct, gc=False):
    ts: float
    uid: str


@dataclass(frozen=True, slots=True)
class _Poll:
    """Records as a source gives them, for a decoder that looks at values alone."""

    values: Values
    epoch: int = 0

    @property
    def partitions(self) -> NDArray[np.unsignedinteger]:
        return np.zeros(len(self.values), np.uint8)

    def offsets(self) -> Times:
        return np.arange(len(self.values))

    def timestamps(self) -> Times:
        return np.arange(len(self.values))

    def key_of(self, place: int) -> None:  # noqa: ARG002  # the protocol's argument
        return None


def costs() -> dict[str, float]:
    """Return nanoseconds a frame for parsing alone, for decoding, and for adding; and nanoseconds a row for writing."""
    values = [value for chunk in chunks("uniques", Spec(_FRAMES, 1_468_244_384_000)) for value in chunk.values]
    polls = [_Poll(Values.of(values[low : low + _POLL])) for low in range(0, _FRAMES, _POLL)]
    whole = [[value for value in poll.values if value and value.endswith(b"}") and value.isascii()] for poll in polls]
    parse, view = msgspec.json.Decoder(_Frame).decode, UniquesView()
    batches = [view.decode(poll).batch for poll in polls]

    def take_in() -> None:
        live = view.open(None)
        for batch in batches:
            live.add(batch, None)
        live.read(EVER, Rows("year"))

    sparse = view.open(None)
    minutes = [b'{"ts":%d,"uid":"u"}' % (60 * minute) for minute in range(_FRAMES // 10)]
    sparse.add(view.decode(_Poll(Values.of(minutes))).batch, None)
    arguments = Rows("minute")
    answer = Answer(view, sparse.read(EVER, arguments), EVER, arguments, Coverage(None, None, None))
    return {
        "parse alone (msgspec, typed)": _best(lambda: [list(map(parse, poll)) for poll in whole], _FRAMES),
        "read: parse, times, hashes": _best(lambda: [view.decode(poll) for poll in polls], _FRAMES),
        "take in, for all six granularities": _best(take_in, _FRAMES),
        "write, a row": _best(lambda: list(write(answer, "ndjson")), _FRAMES // 10),
    }


def errors() -> list[tuple[int, int, list[tuple[float, float, int]]]]:
    """Return users, trials, and for large and small sketches the median and 95th percentile of the error, and bounds kept."""
    chance, found = np.random.default_rng(1), []
    for users, trials in _TRIALS:
        kinds: list[list[Any]] = [[], []]
        for _ in range(trials):
            hashes = np.unique(chance.integers(0, 2**63, users).astype(np.uint64))
            for kind, made in zip(kinds, (sketched(hashes), coarse(hashes)), strict=True):
                said = estimate([], [made])
                kind.append((abs(said.unique - hashes.size) / hashes.size, said.lower <= hashes.size <= said.upper))
        rows = []
        for kind in kinds:
            ordered = sorted(error for error, _ in kind)
            rows.append((statistics.median(ordered), ordered[len(ordered) * 95 // 100], sum(kept for _, kept in kind)))
        found.append((users, trials, rows))
    return found


def tables() -> list[Table]:
    """Return both studies as tables."""
    spent = Table(title=f"a frame of {_FRAMES:,}, best of {_ROUNDS}")
    spent.add_column("step")
    spent.add_column("ns", justify="right")
    for step, nanoseconds in costs().items():
        spent.add_row(step, f"{nanoseconds:,.0f}")
    erring = Table(title="errors of sketches: p50 / p95, within the 95 % bounds")
    for name in ("users", "trials", "8 KB (2^14 registers)", "2 KB (2^12), of old slices"):
        erring.add_column(name, justify="right")
    for users, trials, kinds in errors():
        cells = [f"{p50:.2%} / {p95:.2%}, {kept} of {trials}" for p50, p95, kept in kinds]
        erring.add_row(f"{users:,}", str(trials), *cells)
    return [spent, erring]


def _best(work: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times) / count * 1e9
