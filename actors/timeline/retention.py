"""What must go when memory is short: a decision, not an act.

Used by the manager, which carries it out. The ladder: dead residue, then exactness, the oldest first, then the oldest
generation, then the oldest residue. Compression is no rung of it, because whatever can be compressed always is.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holding:
    """One aged generation as retention sees it: its bytes, how many of them only make it exact, and the end of its span."""

    nbytes: int
    end: int
    coarse_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be kept. `budget_bytes` always binds; `max_aged` generations and `max_age` (stream's unit) where not None."""

    budget_bytes: int
    max_aged: int | None = None
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has to go.

    The exactness of the oldest `coarsen` generations, the oldest `drop` ones whole, by the reason of each, and `shed_bytes` of
    what waits in the active one.
    """

    drop: tuple[str, ...] = ()
    shed_bytes: int = 0
    coarsen: int = 0


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
    shed = max(0, min(over, dead_bytes))
    over -= shed
    coarsen = 0
    for index, holding in enumerate(aged):
        if over <= 0:
            break
        if holding.coarse_bytes:
            over -= holding.coarse_bytes
            coarsen = index + 1
    drop: list[str] = []
    for index, holding in enumerate(aged):
        if limits.max_aged is not None and len(aged) - index > limits.max_aged:
            drop.append("max_aged")
        elif limits.max_age is not None and watermark is not None and holding.end <= watermark - limits.max_age:
            drop.append("max_age")
        elif over > 0:
            drop.append("memory")
        else:
            break
        over -= holding.nbytes - (holding.coarse_bytes if index < coarsen else 0)
    return Verdict(tuple(drop), shed + max(0, over), coarsen)
