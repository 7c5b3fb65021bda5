"""What must go when memory is short: a decision, not an act.

Used by the manager, which carries it out. The ladder: to the disk, the oldest first, as far as that may be used; then dead
residue, then exactness, the oldest first, then the oldest generation, then the oldest residue. Compression is no rung of it,
because whatever can be compressed always is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Holding:
    """One aged generation as retention sees it: its bytes, how many of them only make it exact, and the end of its span.

    `file_bytes` it has in a file; 0 while it is in none, to which it may be `coming`. It `spilled` where its bytes are there
    alone.
    """

    nbytes: int
    end: int
    coarse_bytes: int = 0
    file_bytes: int = 0
    coming: bool = False
    spilled: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be kept: `budget_bytes` of memory always; `max_aged` generations and `max_age` (stream's unit) where not None.

    `spill_bytes` of generations may be on the disk alone.
    """

    budget_bytes: int
    max_aged: int | None = None
    max_age: int | None = None
    spill_bytes: int = 0


class Meter(Protocol):
    """Memory as the machine has it, measured anew at every call."""

    def limits(self) -> Limits:
        """Return what the stream may keep. A limit of the container may change while the process runs."""

    def budget_bytes(self) -> int:
        """Return the budget of the whole process, which all its streams share."""

    def resident_bytes(self) -> int:
        """Return what of the process's memory only it can give back."""

    def trim(self) -> None:
        """Give back to the system what is free already."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has to go.

    The bytes of the generations at the places `spill`, to the disk; the exactness of the oldest `coarsen` ones; the oldest
    `drop` ones whole, by the reason of each; and `shed_bytes` of what waits in the active one.
    """

    drop: tuple[str, ...] = ()
    shed_bytes: int = 0
    coarsen: int = 0
    spill: tuple[int, ...] = ()


STUB_BYTES = 8_192
"""What is accounted for a generation that is on the disk, until it says itself."""


def decide(
    limits: Limits,
    aged: Sequence[Holding],
    *,
    active_bytes: int,
    dead_bytes: int,
    other_bytes: int,
    watermark: int | None,
) -> Verdict:
    """Decide what goes, `aged` being oldest first. Follows accounted bytes and event time alone, so a replay prunes alike.

    `active_bytes` are the active collector's, `dead_bytes` of them can match nothing but a late event, `other_bytes` are
    what else counts against the budget. Cost: O(aged).
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
        over -= holding.nbytes - STUB_BYTES  # what is being written is as good as spilled
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
        elif over > 0:
            drop.append("memory")
        else:
            break
        if holding.spilled or index in spill:
            room += holding.file_bytes
        over -= STUB_BYTES if index in spill else holding.nbytes - (holding.coarse_bytes if index < coarsen else 0)
    return Verdict(tuple(drop), shed + max(0, over), coarsen, tuple(index for index in spill if index >= len(drop)))
