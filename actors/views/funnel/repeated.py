"""Matches the events of one key to sequences in which a name is listed for several steps.

An event of such a name can be one step or another, so events cannot be matched by step. As soon as a sequence has two steps of
one name, it stands apart: all events from the end of the sequence before it to its own end are decided with it, and the next
one begins behind it. The largest number of sequences that stand apart is found by taking the one that ends first. Those that
have no name twice yet are matched as others are.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """The places of the events of a sequence; `step` is the step of the first one, and above 0 if it stands in no sequence."""

    places: list[int]
    step: int
    final: bool


class Matcher:
    """Matches the events of a key, which are in order. `kinds[i]` is the first step that has the name of event i.

    `pattern[s]` is the first step that has the name of step s.
    """

    def __init__(self, times: Sequence[int], kinds: Sequence[int], pattern: Sequence[int], within: int) -> None:
        self._times = times
        self._kinds = kinds
        self._pattern = pattern
        self._within = within
        self._rows: list[Row] = []

    def match(self, watermark: int) -> list[Row]:
        """Return rows with all events, each in one. Cost: about 5 us an event."""
        self._decide(list(range(len(self._times))), len(self._pattern), watermark, settled=False)
        return self._rows

    def _decide(self, places: list[int], length: int, bound: int, *, settled: bool) -> None:
        """Match events to sequences of `length` steps, and what they leave to shorter ones.

        Nothing from `bound` on is final, unless all is `settled`, because it lies within the span of a final sequence.
        """
        if not length or not places:
            self._rows += [Row([place], self._kinds[place], settled or self._times[place] < bound) for place in places]
            return
        apart = len(set(self._pattern[:length])) < length
        found = self._sequences(places, length, apart=apart)
        final = [each for each in found if settled or self._times[each[-1]] < bound]
        self._rows += [Row(each, 0, number < len(final)) for number, each in enumerate(found)]
        used = {place for each in found for place in each}
        spans = [each[-1] for each in found] if apart else []
        open_from = spans[len(final) - 1] if apart and final else -1
        begun = {each[0] for each in final}
        firsts = [
            self._times[place]
            for place in places
            if self._kinds[place] == self._pattern[0] and place > open_from and place not in begun
        ]
        later = min((time for time in firsts if bound - time <= self._within), default=bound)
        begin = 0
        for number, last in enumerate([*spans, places[-1]]):
            end = bisect_right(places, last)
            left = [place for place in places[begin:end] if place not in used]
            self._decide(left, length - 1, min(bound, later), settled=settled or (apart and number < len(final)))
            begin = end

    def _sequences(self, places: list[int], length: int, *, apart: bool) -> list[list[int]]:
        """Return the sequences of `length` steps: the smallest possible one, and so on behind it, or behind all of it."""
        of_step = [[place for place in places if self._kinds[place] == kind] for kind in self._pattern[:length]]
        at, found = [0] * length, list[list[int]]()
        while True:
            made: list[int] = []
            for step, own in enumerate(of_step):
                if step:
                    at[step] = bisect_right(own, made[-1], at[step])
                if at[step] == len(own):
                    return found
                made.append(own[at[step]])
            if self._times[made[-1]] - self._times[made[0]] > self._within:
                at[0] += 1
            elif apart:
                found.append(made)
                at = [bisect_right(own, made[-1], index) for own, index in zip(of_step, at, strict=True)]
            else:
                found.append(made)
                at = [index + 1 for index in at]
