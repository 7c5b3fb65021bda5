"""Events of sets as batches: one ascending column of times for each step."""

import numpy as np

from actors.timeline.batch import Batch

Event = tuple[int, int]
"""A time and a step."""


def batch(events: list[Event], steps: int = 3) -> Batch:
    """Return an ordered batch that cannot be written to."""
    made = Batch(tuple(np.array(sorted(t for t, s in events if s == each), np.int64) for each in range(steps)))
    for column in made.times:
        column.flags.writeable = False
    return made
