"""The history of each stream: rates and levels of the last 24 hours, one point every ten seconds, and marks of what happened.

It is kept in rings of fixed size, so its memory is bounded: `STREAM_BYTES` for a stream at most. A restart begins a new one.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.protocol import Address
from actors.replies import DeadLetter, Durability, GetHealth, GetStats, Health, Stats
from gateway.api.errors import Problem
from gateway.ask import Asker
from gateway.page.doubts import Doubt, doubt_of
from gateway.stream import Served

STEP_S = 10.0
KEPT_S = 86_400
POINTS = round(KEPT_S / STEP_S)

RATES = ("records", "answers", "refused", "late")
"""Counters, kept as what they grew by per second."""

LEVELS = ("lag", "memory", "held")
"""Values as they were at that time: records not yet read, accounted bytes, and answers held."""

NAMES = (*RATES, *LEVELS)

_MOST_MARKS = 256
_PATIENCE_S = 2.0
_LONGEST_TEXT = 200
_MARK_BYTES = 600
_MOST_SAVED = 180
_SAVED_BYTES = 250

STREAM_BYTES = POINTS * (8 + 4 * len(NAMES)) + 2 * _MOST_MARKS * _MARK_BYTES + _MOST_SAVED * _SAVED_BYTES
"""Bytes of the history of one stream, at most."""


class Mark(NamedTuple):
    """What happened at a time (seconds since 1970): `started`, `retired`, `dropped`, `restarted`, `failed`, or the like."""

    at: float
    kind: str
    text: str


class Saved(NamedTuple):
    """A checkpoint: its id, when it was saved (seconds since 1970), the seconds that it took, and the bytes of its own file."""

    number: int
    at: float
    seconds: float
    nbytes: int


@dataclass(frozen=True, slots=True)
class Series:
    """Points of a stream, oldest first. A value is None if the stream did not reply at that time, or does not know it."""

    step_s: float
    at: list[float]
    values: Mapping[str, list[float | None]]
    marks: list[Mark]
    saved: list[Saved]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a stream gave. `counts` and `levels` are in the order of `RATES` and `LEVELS`."""

    counts: tuple[int, ...]
    levels: tuple[float, ...]
    newest: int
    dropped: Mapping[str, int]
    checkpoints_failed: int
    trouble: str | None
    why: str
    saved: Saved | None = None
    copy_problem: str | None = None
    output_problem: str | None = None

    @staticmethod
    def of(stats: Stats) -> "Seen":
        """Return what the stats of a stream say."""
        progress, member = stats.progress, stats.view.answers
        held = sum(getattr(meta.summary, member) for meta in (*stats.aged, stats.active))
        trouble = progress.trouble
        # In trouble the records that Kafka has got since are not known.
        lag = float(sum(progress.lag.values())) if trouble is None else math.nan
        return Seen(
            counts=(progress.records, held + getattr(stats.gone, member), sum(progress.rejects.values()), progress.late),
            levels=(lag, float(stats.memory.accounted_bytes), float(held)),
            newest=stats.numbers[-1] if stats.numbers else 0,
            dropped=dict(stats.dropped_generations),
            checkpoints_failed=stats.durability.failures if stats.durability is not None else 0,
            saved=_saved(stats.durability),
            copy_problem=stats.durability.copy_problem if stats.durability is not None else None,
            output_problem=stats.output_problem,
            trouble=trouble.state if trouble is not None else None,
            why="; ".join(trouble.reasons)[:_LONGEST_TEXT] if trouble is not None else "",
        )


class StreamHistory:
    """The rings of one stream. For one thread."""

    def __init__(self) -> None:
        self._at = np.zeros(POINTS)
        self._values = np.zeros((len(NAMES), POINTS), np.float32)
        self._count = 0
        self._routine: deque[Mark] = deque(maxlen=_MOST_MARKS)
        self._others: deque[Mark] = deque(maxlen=_MOST_MARKS)
        self._saved: deque[Saved] = deque(maxlen=_MOST_SAVED)
        self._before: tuple[float, Seen] | None = None
        self._restarts = 0
        self._given_up = False
        self._last_failure = 0.0

    def take(self, at: float, seen: Seen | None) -> None:
        """Add a point. Without a reply of the stream (None), its values are unknown."""
        values = [np.nan] * len(NAMES)
        if seen is not None:
            if self._before is not None:
                then, before = self._before
                # A counter falls if the stream goes back to a checkpoint.
                grown = (max(0, now - was) for now, was in zip(seen.counts, before.counts, strict=True))
                values[: len(RATES)] = [each / max(at - then, 1e-3) for each in grown]
                self._compare(at, before, seen)
            values[len(RATES) :] = seen.levels
            self._before = at, seen
            if seen.saved is not None and (not self._saved or self._saved[-1].number != seen.saved.number):
                self._saved.append(seen.saved)
        place = self._count % POINTS
        self._at[place], self._values[:, place] = at, values
        self._count += 1

    def health(self, at: float, restarts: int, given_up: str | None, newest: Sequence[DeadLetter]) -> None:
        """Mark restarts, failures, and that the stream was given up."""
        if restarts > self._restarts:
            self.mark(at, "restarted", "the stream went back to its last checkpoint")
        self._restarts = restarts
        fresh = [each for each in newest if each.at > self._last_failure]
        if fresh:
            self._last_failure = max(each.at for each in fresh)
            self.mark(fresh[0].at, "failed", f"{fresh[0].actor}: {fresh[0].reason}")
        if given_up is not None and not self._given_up:
            self.mark(at, "given up", given_up)
        self._given_up = given_up is not None

    def mark(self, at: float, kind: str, text: str) -> None:
        """Add a mark. Retirements and drops, which are routine, never push out another kind."""
        kept = self._routine if kind in {"retired", "dropped"} else self._others
        kept.append(Mark(at, kind, text[:_LONGEST_TEXT]))

    def since(self, low: float, points: int) -> Series:
        """Return the history since `low` (seconds since 1970), as at most `points` points.

        Neighbours share a point if there are more: it has the mean of their rates, and the highest of their levels.
        """
        order = np.arange(max(0, self._count - POINTS), self._count) % POINTS
        order = order[self._at[order] >= low]
        each = max(1, -(-order.size // points))
        marks = sorted(mark for mark in (*self._routine, *self._others) if mark.at >= low)
        at, values = self._at[order], self._values[:, order]
        if each > 1:
            at, values = _joined(at, values, each)
        rows = {name: _listed(row) for name, row in zip(NAMES, values, strict=True)}
        return Series(STEP_S * each, [round(float(value), 3) for value in at], rows, marks, list(self._saved))

    def _compare(self, at: float, before: Seen, now: Seen) -> None:
        retired = now.newest - before.newest
        if retired > 0:
            self.mark(at, "retired", f"{retired} generation{'s' if retired > 1 else ''} retired")
        for reason, count in now.dropped.items():
            if count > before.dropped.get(reason, 0):
                self.mark(at, "dropped", f"{count - before.dropped.get(reason, 0)} dropped: {reason}")
        if now.checkpoints_failed > before.checkpoints_failed:
            self.mark(at, "failed", "a checkpoint could not be written")
        if now.copy_problem is not None and before.copy_problem is None:
            self.mark(at, "failed", now.copy_problem)
        if now.output_problem is not None and before.output_problem is None:
            self.mark(at, "failed", f"results wait: {now.output_problem}")
        if now.trouble != before.trouble:
            self.mark(at, "troubled" if now.trouble else "recovered", f"{now.trouble}: {now.why}" if now.trouble else "")


class Histories:
    """Looks at every stream every `STEP_S` seconds, whether or not a page is open. For one event loop."""

    def __init__(
        self, asker: Asker, guardian: Address[GetHealth], streams: Sequence[Served], *, step_s: float = STEP_S
    ) -> None:
        self._asker = asker
        self._guardian = guardian
        self._streams = list(streams)
        self._step_s = step_s
        self._kept = {stream.name: StreamHistory() for stream in streams}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.began = time.time()
        self.on_doubt: Callable[[str, Doubt], None] = lambda *_: None
        self._doubts: dict[str, Doubt | None] = {}

    def start(self) -> None:
        """Begin, on the running event loop."""
        self.began = time.time()
        for each in self._kept.values():
            each.mark(self.began, "started", "the service started")
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def close(self) -> None:
        """End the looks. On the event loop's thread."""
        if self._task is not None:
            self._task.cancel()
            self._task = self._loop = None

    def reloaded(self, keys: Sequence[str]) -> None:
        """Mark changed settings, given by keys, in the history of each stream that they are for. Any thread may call it."""
        loop = self._loop
        if loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._reloaded, time.time(), tuple(keys))

    def _reloaded(self, at: float, keys: Sequence[str]) -> None:
        for name, kept in self._kept.items():
            own = [key for key in keys if not key.startswith("streams.") or key.startswith(f"streams.{name}.")]
            if own:
                kept.mark(at, "reloaded", f"changed: {', '.join(own)}")

    def of(self, name: str) -> StreamHistory:
        """Return the history of a stream. Raises KeyError."""
        return self._kept[name]

    async def look(self) -> None:
        """Ask all streams and the guardian at once, and add a point to each history."""
        await asyncio.gather(*(self._look(stream) for stream in self._streams))
        with contextlib.suppress(Problem, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                health: Health = await self._asker.ask(self._guardian, GetHealth)
            at = time.time()
            for name, kept in self._kept.items():
                newest = [each for each in health.newest if each.stream == name]
                kept.health(at, health.restarts.get(name, 0), health.degraded.get(name), newest)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.look()
            due = max(due + self._step_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _look(self, stream: Served) -> None:
        seen = None
        with contextlib.suppress(Problem, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                stats: Stats = await self._asker.ask(stream.manager, GetStats)
            seen = Seen.of(stats) if not stats.starting else None
            self._doubt(stream, stats)
        self._kept[stream.name].take(time.time(), seen)

    def _doubt(self, stream: Served, stats: Stats) -> None:
        """Report once why a stream has no answers, and again if it had some meanwhile."""
        doubt, before = doubt_of(stream, stats), self._doubts.get(stream.name)
        self._doubts[stream.name] = doubt
        if doubt is not None and before is None:
            self.on_doubt(stream.name, doubt)


def _saved(durability: Durability | None) -> Saved | None:
    """Return the newest checkpoint that this process has saved, if any."""
    if durability is None or durability.at is None:
        return None
    return Saved(durability.checkpoint, durability.at, durability.seconds, durability.nbytes)


def _joined(at: NDArray[Any], values: NDArray[Any], each: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return points that `each` neighbours share: the last time, the mean of the rates, the highest of the levels."""
    starts = np.arange(0, at.size, each)
    ends = np.minimum(starts + each, at.size)
    known = ~np.isnan(values)
    counts = np.add.reduceat(known, starts, axis=1)
    filled = np.where(known, values, 0.0)
    means = np.add.reduceat(filled, starts, axis=1) / np.maximum(counts, 1)
    highest = np.maximum.reduceat(filled, starts, axis=1)
    joined = np.where(np.arange(len(NAMES))[:, None] < len(RATES), means, highest)
    joined[counts == 0] = np.nan
    return at[ends - 1], joined


def _listed(row: NDArray[Any]) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in row.tolist()]
