"""How the parts of shards become one answer: the coverage, and the identity of what it was read from. Decides only."""

from collections.abc import Mapping, Sequence

from actors.cluster.messages import Part
from actors.replies import Coverage
from actors.timeline.span import EVER

_SHARD = -1
"""No collector has this id: the pair with it begins the pairs of the next shard."""


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


def clock_of(told: Sequence[Part], until: int | None, idle: bool) -> int | None:  # noqa: FBT001  # one of three facts
    """Return the time that the stream has passed in all shards: `until`, or once all are idle, that of the latest silence."""
    if not idle:
        return until
    return max((time for time in (until, *(part.silence for part in told)) if time is not None), default=None)


def origin_of(parts: Mapping[int, Part]) -> tuple[tuple[int, int], ...] | None:
    """Return what an answer was read from, None if a live slice of any shard contributes. A new lease is another origin."""
    found: list[tuple[int, int]] = []
    for shard, part in sorted(parts.items()):
        if part.origin is None:
            return None
        found += [(_SHARD, shard), (_SHARD, part.epoch), *part.origin]
    return tuple(found)
