"""How the parts of shards become one answer: the coverage, and the identity of what it was read from. Decides only.

The parts are made at different moments. A shard that had read all does not hold the others back, but it may have read records
since its part was made. So the watermark of a shard that reads counts only as far as it was known when each idle shard had
surely read all. The asking process measures that by its own clock: a part was made after it was asked for, and before it came.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from actors.cluster.messages import Part
from actors.replies import Coverage
from actors.timeline.span import EVER

_SHARD = -1
"""No collector has this id: the pair with it begins the pairs of the next shard."""


class Heard(NamedTuple):
    """A part, when it was asked for, and when it came (monotonic, s)."""

    part: Part
    asked_at: float
    came_at: float

    @property
    def complete_to(self) -> int | None:
        """The watermark of the shard."""
        return self.part.coverage.complete_to

    @property
    def whole_at(self) -> float:
        """The moment until which an idle shard had surely read all records; -inf if that is unknown."""
        return -math.inf if self.part.whole_s is None else self.asked_at - self.part.whole_s

    @property
    def silent_from(self) -> float:
        """The moment from which on surely no record came."""
        return -math.inf if self.part.news_s is None else self.came_at - self.part.news_s

    def known_at(self, moment: float) -> int | None:
        """Return the watermark that the shard surely had at a moment; None if that is unknown."""
        known = next((watermark for age_s, watermark in self.part.past if self.came_at - age_s <= moment), None)
        return None if known is None or self.complete_to is None else min(known, self.complete_to)


class Standing(NamedTuple):
    """Where a stream stands in all shards: the joined coverage, whether all are idle, and the clock, see `parcels`."""

    coverage: Coverage
    idle: bool
    clock: int | None


def standing_of(heard: Sequence[Heard], absent: Sequence[str]) -> Standing:
    """Return where a stream stands by the parts of shards; the names of the others are `absent`.

    All are idle if there was a moment at which each had read all, and since which no record came to any, as far as is known.
    """
    parts = [each.part for each in heard]
    idle = [part.idle for part in parts]
    coverage = coverage_of([part.coverage for part in parts], idle, absent)
    until = _complete_to(heard, coverage.complete_to)
    coverage = replace(coverage, complete_to=until)
    moment = min((each.whole_at for each in heard), default=-math.inf)
    sleeps = not absent and all(idle) and moment > -math.inf and all(each.silent_from <= moment for each in heard)
    clock = _clock(heard, until, moment) if sleeps else until
    return Standing(coverage, sleeps, None if absent else clock)


def _complete_to(heard: Sequence[Heard], most: int | None) -> int | None:
    """Return the time before which all parts are complete: `most`, unless an idle shard's part is too old for that.

    It is never before the least watermark of all shards, because each part is complete before its own.
    """
    if most is None:
        return None
    early = [each for each in heard if each.part.idle and (each.complete_to is None or each.complete_to < most)]
    if not early:
        return most
    moment = min(each.whole_at for each in early)
    awake = [each.known_at(moment) for each in heard if not each.part.idle]
    asleep = [each.known_at(moment) for each in heard if each.part.idle]
    told = awake or [max((each for each in asleep if each is not None), default=None)]
    own = [each.complete_to for each in heard]
    sure = [_least(told), _least(own)]
    return max((each for each in sure if each is not None), default=None)


def _least(times: Sequence[int | None]) -> int | None:
    """Return the earliest time; None if one is unknown."""
    known = [each for each in times if each is not None]
    return min(known) if len(known) == len(times) else None


def _clock(heard: Sequence[Heard], until: int | None, moment: float) -> int | None:
    """Return the time that the stream had passed in all shards at a `moment` of silence: `until`, or that of the latest.

    The time of a silence goes on with the clock, so at that moment it was earlier by at most the time since then.
    """
    silences = [
        each.part.silence - math.ceil(each.part.per_s * max(0.0, each.came_at - moment))
        for each in heard
        if each.part.silence is not None
    ]
    return max((time for time in (until, *silences) if time is not None), default=None)


def coverage_of(told: Sequence[Coverage], idle: Sequence[bool], absent: Sequence[str]) -> Coverage:
    """Join the coverage of shards. An idle shard does not hold `complete_to` back, as with idle partitions in one process.

    The names of `absent` shards are in the coverage. Something of any time may be in them, so all time is missing.
    """
    froms = [each.complete_from for each in told if each.complete_from is not None]
    awake = [each.complete_to for each, sleeps in zip(told, idle, strict=True) if not sleeps]
    asleep = [each.complete_to for each, sleeps in zip(told, idle, strict=True) if sleeps and each.complete_to is not None]
    known = [each for each in awake if each is not None]
    to = (min(known) if len(known) == len(awake) else None) if awake else max(asleep, default=None)
    finals = [each.final_until for each in told if each.final_until is not None]
    final = min(finals) if finals and len(finals) == len(told) else None
    missing = dict.fromkeys(span for each in told for span in each.missing)
    if absent:
        missing = {EVER: None}
    return Coverage(max(froms, default=None), to, final, tuple(missing), tuple(absent))


def origin_of(parts: Mapping[int, Part]) -> tuple[tuple[int, int], ...] | None:
    """Return what an answer was read from, None if a live slice of any shard contributes. A new lease is another origin."""
    found: list[tuple[int, int]] = []
    for shard, part in sorted(parts.items()):
        if part.origin is None:
            return None
        found += [(_SHARD, shard), (_SHARD, part.epoch), *part.origin]
    return tuple(found)
