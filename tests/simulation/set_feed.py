"""Events of the view `sets`, in order or not, and the right sets."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from actors.replies import Answer, Stats
from actors.timeline.span import EVER
from actors.views.sets.arguments import Page
from actors.views.sets.render import rows
from actors.views.sets.view import SetsView
from actors.views.view import View
from scripts.lab.truth import greedy, limited
from tests.simulation.feed import Feed, assert_named
from tests.simulation.topic import Record

STEPS = "RGB"
BEGINNING_MS = 1_685_695_916_000
DAY_MS = 86_400_000
JITTER_MS = 200


class SetFeed(Feed):
    """If `orderly`, each event is written at its time, plus or minus `JITTER_MS`, so that no event is late.

    Otherwise the first partition may be a day behind, times may have flipped bits, and some events are late.
    """

    dated = True
    questions = ((EVER, Page()),)
    budgets = (12_000, 30_000)

    def __init__(self, chance: random.Random, *, orderly: bool, max_sets: int, within: int | None = None) -> None:
        self._orderly = orderly
        self.silences = 0
        self._max_sets = max_sets
        self._weights = chance.choice([(1, 1, 1), (1, 1, 1), (3, 2, 1), (1, 2, 3), (1, 0, 0)])
        self._within = within
        self._behind = chance.random() < 0.4 and not orderly
        self._flipping = 0.01 if chance.random() < 0.5 and not orderly else 0.0
        self._final: tuple[int, int | None, int, list[tuple[int, ...]]] | None = None

    def view(self) -> View:
        self._final = None
        return SetsView(steps=STEPS, max_sets=self._max_sets, within=self._within)

    def holds(self, batch: Any, event: Any) -> bool:
        return bool((batch.times[event[1]] == event[0]).any())

    def record(self, chance: random.Random, at: float) -> Record:
        step = chance.choices(range(3), self._weights)[0]
        time = BEGINNING_MS + int(1000 * at) + chance.randint(-JITTER_MS, JITTER_MS)
        if not self._orderly and chance.random() < 0.05:
            time -= chance.randrange(20_000)
        if chance.random() < self._flipping:
            time ^= 1 << chance.choice([33, 41, 62])
        return Record(at, f"{STEPS[step]}_{time}".encode(), (time, step))

    def later(self, record: Record, by_ms: int) -> Record:
        time, step = record.truth
        return record._replace(value=f"{STEPS[step]}_{time + by_ms}".encode(), truth=(time + by_ms, step))

    def time_of(self, event: Any) -> int:
        return int(event[0])

    def logged(self, partition: int, records: list[Record]) -> list[Record]:
        """Return a partition's records. Those of the first partition may be a day behind."""
        if not self._behind or partition:
            return records
        return [
            record
            if record.truth is None
            else record._replace(
                value=f"{STEPS[record.truth[1]]}_{record.truth[0] - DAY_MS}".encode(),
                truth=(record.truth[0] - DAY_MS, record.truth[1]),
            )
            for record in records
        ]

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        coverage = answer.coverage
        found = _sets(answer)
        assert all(list(each) == sorted(each) for each in found), "the times of a set ascend"
        since, until, final = coverage.complete_from, coverage.complete_to, coverage.final_until
        back = self._final is not None and (until is None or until < self._final[2])
        if back and (until is None or not self._orderly):
            self._final = None  # after a restart Kafka may have fewer records, or late events may be matched differently
        if self._final is not None and not back:
            was_final, was_since, _, were = self._final
            low = max((time for time in (was_since, since) if time is not None), default=0)
            gone = coverage.missing  # the sets of a generation that cannot be read are missing
            before, after = (
                [
                    each
                    for each in sets
                    if low <= each[0] < was_final and not any(span.start <= each[-1] and each[0] < span.end for span in gone)
                ]
                for sets in (were, found)
            )
            vanished = Counter(before) - Counter(after)
            assert not vanished, f"sets before {was_final} were final, and changed: {_difference(before, after)}"
            if self._orderly:
                assert before == after, f"sets before {was_final} were complete: {_difference(before, after)}"
        if final is not None and until is not None and not coverage.missing and not back:
            self._final = (final, since, until, found)
        if stats.progress.late or stats.dropped.get("residue"):
            return  # dropped events are replaced by others in their sets
        if self.punctual and until is not None and not coverage.missing:
            low = since if since is not None else 0
            settled = [event for event in expected if event[0] < until]
            right = [each for each in self._right(settled) if each[0] >= low]
            mine = [each for each in found if each[2] < until and each[0] >= low]
            assert mine == right, f"complete from {since} to {until}, but {_difference(right, mine)}"

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        own = [event for part in events for event in part]
        found = _sets(answer)
        used, there = Counter((time, step) for each in found for step, time in enumerate(each)), Counter(own)
        assert not used - there, f"sets of events that were never sent, or were used twice: {used - there}"
        # After a silence every event is released, so an event that is a little older is late.
        assert not (self.punctual and stats.progress.late and self.silences < 2), "events are counted as late, but none was"
        since = answer.coverage.complete_from
        if self._orderly:
            assert_named(answer, [time for time, _ in lost])
        right = [each for each in self._right(own) if since is None or each[0] >= since]
        mine = [each for each in found if since is None or each[0] >= since]
        assert len(found) <= len(self._right(own)), "more sets than the events allow"
        # A late event could use one whose limit was over, and which was dropped.
        lacks = stats.dropped.get("dead_residue") if self._within is not None else None
        exact = not stats.progress.late or (self._max_sets > 1_000 and not lacks)
        if exact and not stats.dropped.get("residue"):
            assert mine == right, f"within the coverage: {_difference(right, mine)}"

    def _right(self, events: Sequence[Any]) -> list[tuple[int, ...]]:
        return greedy(events, 3) if self._within is None else sorted(limited(events, 3, self._within))


def _sets(answer: Answer) -> list[tuple[int, ...]]:
    found = rows(answer.partial, answer.span, None)
    return sorted(tuple(map(int, each)) for block in found for each in zip(*block, strict=True))


def _difference(right: list[tuple[int, ...]], mine: list[tuple[int, ...]]) -> str:
    lacking, extra = list((Counter(right) - Counter(mine)).elements()), list((Counter(mine) - Counter(right)).elements())
    return f"{len(lacking)} lacking {lacking[:3]}, {len(extra)} too many {extra[:3]}, of {len(right)}"
