"""What the answers should be, by means so plain that they are surely right. Shares no code with the product."""

from collections import deque
from functools import cache

Event = tuple[int, int]
"""A time, and a step."""


def brute(events: list[Event], steps: int) -> int:
    """Return the largest number of disjoint sets, by trying every way to use or leave each event. For a dozen events."""
    ordered = sorted(events)

    @cache
    def best(place: int, waiting: tuple[int, ...]) -> int:
        if place == len(ordered):
            return 0
        _, step = ordered[place]
        left = best(place + 1, waiting)
        if step == 0:
            return max(left, best(place + 1, (waiting[0] + 1, *waiting[1:])))
        if not waiting[step - 1]:
            return left
        taken = list(waiting)
        taken[step - 1] -= 1
        if step == steps - 1:
            return max(left, 1 + best(place + 1, tuple(taken)))
        taken[step] += 1
        return max(left, best(place + 1, tuple(taken)))

    return best(0, (0,) * (steps - 1))


def greedy(events: list[Event], steps: int) -> list[tuple[int, ...]]:
    """Return the sets that first in, first out forms of the events in order of time, with an object for each."""
    queues: list[deque[tuple[int, ...]]] = [deque() for _ in range(steps)]
    for time, step in sorted(events):
        if step == 0:
            queues[0].append((time,))
        elif queues[step - 1]:
            queues[step].append((*queues[step - 1].popleft(), time))
    return sorted(queues[-1])


def min_cut(events: list[Event]) -> int:
    """Return min over a <= b of #R(t <= a) + #G(a < t <= b) + #B(t > b), for three steps, as it is written."""
    cuts = [-1, *sorted({time for time, _ in events})]
    return min(
        sum(1 for t, s in events if (s == 0 and t <= a) or (s == 1 and a < t <= b) or (s == 2 and t > b))
        for a in cuts
        for b in cuts
        if a <= b
    )
