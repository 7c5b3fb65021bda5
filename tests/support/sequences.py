"""The right sequences of a funnel, from all events at once and without columns. `test_funnel_matching.py` proves the rule."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Found(NamedTuple):
    """The key of a sequence, and the times of the steps that it has."""

    key: str
    times: tuple[int, ...]


def sequences(events: Iterable[tuple[str, int, int]], steps: int, within: int) -> list[Found]:
    """Return the sequences of events, which are keys, times and numbers of steps."""
    by_key: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for key, time, step in events:
        by_key[key].append((time, step))
    return [Found(key, times) for key, own in by_key.items() for times in _of_key(sorted(own), steps, within)]


def _of_key(left: Sequence[tuple[int, int]], steps: int, within: int) -> Iterable[tuple[int, ...]]:
    for length in range(steps, 0, -1):
        numbered = [(*event, number) for number, event in enumerate(left) if event[1] < length]
        used: Counter[tuple[int, int]] = Counter()
        floor = [(-1, -1, -1)] * length  # the last event of each step that is taken
        for first in [event for event in numbered if event[1] == 0]:
            row = [first]
            for step in range(1, length):
                later = [each for each in numbered if each[1] == step and each > row[-1] and each > floor[step]]
                if not later:
                    break
                row.append(later[0])
            if len(row) == length and row[-1][0] - first[0] <= within:
                floor = row
                used.update(event[:2] for event in row)
                yield tuple(event[0] for event in row)
        left = sorted((Counter(left) - used).elements())
