"""Decides which data to give up when memory is short. The manager carries the decision out.

The steps, until memory suffices: spill the oldest generations to disk, if allowed; shed dead residue; coarsen the oldest
generations; drop the oldest generations; shed the oldest residue. Compression is not a step, because it always happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Holding:
    """One aged generation: its bytes in memory, the end of its span, and the bytes that coarsening would free.

    `file_bytes` is the size of its file, 0 if it has none; `coming` means that the file is being written. `spilled` means that
    its data is in the file only.
    """

    nbytes: int
    end: int
    coarse_bytes: int = 0
    file_bytes: int = 0
    coming: bool = False
    spilled: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a stream: `budget_bytes` of memory, and if not None, `max_aged` generations and `max_age` (stream's unit).

    At most `spill_bytes` of generations may be on disk only.
    """

    budget_bytes: int
    max_aged: int | None = None
    max_age: int | None = None
    spill_bytes: int = 0


class Meter(Protocol):
    """The memory of the machine. Each call measures again."""

    def limits(self) -> Limits:
        """Return the limits of the stream. A container's limit may change while the process runs."""

    def budget_bytes(self) -> int:
        """Return the memory budget of the process, which all streams share."""

    def resident_bytes(self) -> int:
        """Return the bytes of memory that only this process can free."""

    def release(self) -> None:
        """Return free heap memory to the system."""

    def trim(self) -> None:
        """Collect cycles of objects, then do as `release` does."""

    def report_excess(self) -> None:
        """Report that the process is larger than its budget, although what the stream keeps is not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The data to give up.

    `spill`: indexes of the generations to move to disk. `coarsen`: number of the oldest generations to coarsen. `drop`: a
    reason for each of the oldest generations to drop. `shed_bytes`: bytes of waiting events of the active collector to shed.
    """

    drop: tuple[str, ...] = ()
    shed_bytes: int = 0
    coarsen: int = 0
    spill: tuple[int, ...] = ()


STUB_BYTES = 8_192
"""Assumed memory of a spilled generation until its collector reports it."""


def decide(
    limits: Limits,
    aged: Sequence[Holding],
    *,
    active_bytes: int,
    dead_bytes: int,
    other_bytes: int,
    watermark: int | None,
    drops: bool = True,
) -> Verdict:
    """Decide what to give up; `aged` is in order, oldest first. Unless it `drops`, no generation is dropped for memory.

    Depends on accounted bytes and event time, so a replay decides nearly equally. The bytes in buffers (`other_bytes`) and the
    time at which a file is written (`file_bytes`, `coming`) depend on the clock. The emergency brake has its own decision.

    `active_bytes` are those of the active collector. `dead_bytes` of them belong to events that only a late event can match.
    `other_bytes` also count against the budget. Cost: O(aged).
    """
    over = sum(holding.nbytes for holding in aged) + active_bytes + other_bytes - limits.budget_bytes
    spill: list[int] = []
    room = limits.spill_bytes - sum(holding.file_bytes for holding in aged if holding.spilled)
    for index, holding in enumerate(aged) if limits.spill_bytes else ():
        if over <= 0:
            break
        if holding.spilled or holding.nbytes <= STUB_BYTES:
            continue
        if holding.file_bytes:
            spill.append(index)
            room -= holding.file_bytes
        elif not holding.coming:
            continue
        over -= holding.nbytes - STUB_BYTES  # a generation that is being written counts as spilled
    shed = max(0, min(over, dead_bytes))
    over -= shed
    coarsen = 0
    for index, holding in enumerate(aged):
        if over <= 0:
            break
        if holding.coarse_bytes and not holding.spilled and index not in spill:
            over -= holding.coarse_bytes
            coarsen = index + 1
    drop: list[str] = []
    for index, holding in enumerate(aged):
        if limits.max_aged is not None and len(aged) - index > limits.max_aged:
            drop.append("max_aged")
        elif limits.max_age is not None and watermark is not None and holding.end <= watermark - limits.max_age:
            drop.append("max_age")
        elif room < 0:
            drop.append("disk")
        elif over > 0 and drops:
            drop.append("memory")
        else:
            break
        if holding.spilled or index in spill:
            room += holding.file_bytes
        over -= STUB_BYTES if index in spill else holding.nbytes - (holding.coarse_bytes if index < coarsen else 0)
    return Verdict(tuple(drop), shed + max(0, over), coarsen, tuple(index for index in spill if index >= len(drop)))
