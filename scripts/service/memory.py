"""The memory of the process: its budget, each stream's share, and the tuning of the allocator and of Python's collector."""

import ctypes
import gc
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.timeline.retention import Limits
from actors.timeline.unit import TimeUnit
from config.fields import Budget as BudgetSetting
from config.machine import MemoryMeter
from config.settings import Settings

_RESERVE_BYTES = 34 << 20
"""Memory that the process needs in addition to its slices once events flow: librdkafka's queues, polls in progress, replies."""

_TOPIC_BYTES = 12 << 20
"""Further memory for every topic after the first one."""

_LEAST_FOR_REPLIES = 8 << 20
_LEAST_FOR_EVENTS = 8 << 20

_GC_THRESHOLD = 50_000
"""New containers at which Python looks for cycles. A poll of 5,000 records makes about as many, without a cycle."""

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 1
"""More arenas have holes of their own. Most blocks are allocated with Python's lock held, so threads seldom wait for it."""
_MAPPED_BYTES = 1 << 20
"""Larger blocks are mapped one by one and returned to the system when they are freed. By default glibc raises this threshold,
and large growing columns leave holes: with a million ids the process held 228 MB instead of 145 MB.
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that the process may use in all. It needs `baseline` before any event, of which replies may use `replies`."""

    total: int
    baseline: int
    replies: int


@dataclass(frozen=True, slots=True)
class StreamMeter:
    """The share of one of `streams` streams in the budget, measured again at every call.

    `max_age` is in the unit of the settings; the events may decide another `unit`.
    """

    budget: BudgetSetting
    spill: BudgetSetting | None
    meter: MemoryMeter
    streams: int
    max_aged: int | None
    max_age: int | None
    mapped_at_start: int
    complain: Callable[[str], None]
    unit: TimeUnit = field(default_factory=TimeUnit)

    def limits(self) -> Limits:
        """Return the stream's share."""
        spill = self.spill.resolve(0) // self.streams if self.spill is not None else 0
        return Limits(self.budget_bytes() // self.streams, self.max_aged, self.unit.age(self.max_age), spill)

    def budget_bytes(self) -> int:
        """Return the budget of the process."""
        return _allowed(self.budget, self.meter.limit().bytes)

    def resident_bytes(self) -> int:
        """Return the resident memory, with mapped files as at the start: the system takes back any other mapped page."""
        resident = self.meter.resident()
        return resident.held + min(resident.mapped, self.mapped_at_start)

    def release(self) -> None:
        """Have the C library return free memory to the system. Cost: some 6 ms, without Python's lock."""
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

    def trim(self) -> None:
        """Collect cycles, and return free memory to the system. Cost: 20 to 40 ms."""
        gc.collect()
        self.release()

    def report_excess(self) -> None:
        """Log the excess, and what may cause it."""
        self.complain(
            "the process is larger than memory.budget, although the answers fit into it: "
            "large compressed batches need a larger budget (docs/memory.md)"
        )


def _allowed(budget: BudgetSetting, limit_bytes: int) -> int:
    """Return a budget in bytes, at most `limit_bytes`."""
    return min(budget.resolve(limit_bytes), limit_bytes)


def budget_of(settings: Settings, before: Budget | None = None) -> Budget:
    """Resolve the memory budget on this machine.

    A process that holds events already passes its budget as `before`, whose baseline is kept.

    Raises ValueError if the budget is too small.
    """
    meter = MemoryMeter()
    limit = meter.limit()
    total = _allowed(settings.memory.budget, limit.bytes)
    topics = sum(stream.source.topic is not None for stream in settings.streams.values())
    replies = max(_LEAST_FOR_REPLIES, total // 16)
    empty = meter.resident().total + _RESERVE_BYTES + _TOPIC_BYTES * max(0, topics - 1)
    baseline = (empty if before is None else before.baseline - before.replies) + replies
    least = baseline + _LEAST_FOR_EVENTS * len(settings.streams)
    if total < least:
        raise ValueError(
            f"memory.budget: expected at least {least >> 20} MiB, which an empty service needs, "
            f"got {total >> 20} MiB ({limit.origin}: {limit.bytes >> 20} MiB)"
        )
    return Budget(total, baseline, replies)


def tune_memory() -> None:
    """Have glibc map large blocks one by one and use one arena, and Python collect seldom. Called once, after all imports.

    Objects of imported modules are frozen: a walk over them takes 40 ms.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
