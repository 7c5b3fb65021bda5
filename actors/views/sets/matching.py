"""The greedy first-in-first-out matching of `sets`, on sorted columns.

Events of one step wait in a queue for events of the next: each of these takes the oldest waiting one at or before its time. For
events in order of time this yields the largest possible number of disjoint sets. Queues are first in first out, so the k-th
set is the k-th matched event of each step. There is no object per event.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import NO_TIMES, Times
from actors.timeline.batch import Batch


class Matched(NamedTuple):
    """A matched batch: for each step, the times that found a partner of the previous step, and those that did not.

    Events of step 0 need no partner, so `dead[0]` is empty.
    """

    taken: list[Times]
    dead: list[Times]


def match(waiting: list[int], batch: Batch) -> Matched:
    """Match an ordered batch whose events are not earlier than the waiting ones.

    `waiting[i]` is the number of events of step i that wait for one of step i + 1. At equal times, earlier steps come first.
    Cost: about 15 ns an event.
    """
    taken = [batch.times[0]]
    dead: list[Times] = [NO_TIMES]
    for step, events in enumerate(batch.times[1:]):
        found, unfound = _serve(waiting[step], taken[step], events)
        taken.append(found)
        dead.append(unfound)
    return Matched(taken, dead)


def _serve(waiting: int, arrivals: Times, takers: Times) -> tuple[Times, Times]:
    """Split `takers` into those that find the queue non-empty and those that find it empty."""
    served = serve(waiting, arrivals, takers)
    if served is None:
        return takers, NO_TIMES
    return takers[served], takers[~served]


def serve(waiting: int, arrivals: Times, takers: Times) -> NDArray[np.bool_] | None:
    """Return which `takers` find the queue of `arrivals` non-empty; None: all of them. `waiting` more wait from the start.

    The number served after the j-th taker is M(j) = min(M(j - 1) + 1, a(j)); a(j) is the number of arrivals up to it. So M(j)
    is j plus the running minimum of a(i) - i, at most 1: a walk reflected at an empty queue. A taker is unserved exactly if
    that minimum falls at it.
    """
    if not takers.size:
        return None
    arrived = np.searchsorted(arrivals, takers, side="right")
    arrived += waiting
    arrived -= np.arange(takers.size)
    lowest = np.minimum.accumulate(np.minimum(arrived, 1))
    if lowest[-1] == 1:
        return None
    served = np.empty(takers.size, np.bool_)
    served[0] = lowest[0] == 1
    np.equal(lowest[1:], lowest[:-1], out=served[1:])
    return served
