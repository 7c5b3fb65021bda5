"""Frames of the view `uniques`, over minutes or months, and the right rows, in answers and in published results."""

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from actors.replies import Answer, Stats
from actors.timeline.span import EVER
from actors.views.uniques.arguments import Rows
from actors.views.uniques.view import UniquesView
from actors.views.view import View
from gateway.api.formats import write
from scripts.lab.truth import GRANULARITIES
from scripts.lab.truth import period as period_of
from tests.simulation.feed import JUNK, Feed, assert_named
from tests.simulation.topic import Record

BEGINNINGS_S = (1_468_244_384, 1_451_606_390, 1_520_751_590)
"""A common day; the last seconds of 2015; and the last seconds before New York puts its clocks forward."""

BEGINNING_S = 1_000.0
JITTER_MS = 200
_FEW = 40
_CROWD = 8
_COARSE = 0.15
"""The largest relative error of an estimate, some nine standard errors."""

_NO_FRAMES = (
    b'{"ts":1468244384}',
    b'{"uid":"u7"}',
    b'{"ts":"noon","uid":"u7"}',
    b'{"ts":1e300,"uid":"u7"}',
    b'{"ts":1468244384,"uid":',
)

Period = tuple[str, int]
"""A granularity and a start, seconds since 1970."""


class Frame(NamedTuple):
    """Time, ms since 1970, and user."""

    time: int
    user: str


@dataclass(slots=True)
class _Count:
    """The right figures of a period."""

    end: int
    frames: int = 0
    users: set[str] = field(default_factory=set)


class UniqueFeed(Feed):
    """If `orderly`, each frame is written at its time, plus or minus `JITTER_MS`. Otherwise some are late or have a wrong time."""

    questions = tuple((EVER, Rows(granularity)) for granularity in GRANULARITIES)
    dated = True
    publishes = True
    budgets = (20_000, 60_000)
    junk = JUNK + _NO_FRAMES
    junk_rate = 0.02

    def __init__(self, chance: random.Random, *, orderly: bool, max_cells: int) -> None:
        self._orderly = orderly
        self._zone = ZoneInfo(chance.choice(["UTC", "America/New_York", "Asia/Kolkata"]))
        self._beginning_s = chance.choice(BEGINNINGS_S)
        self._speed = chance.choice([1, 60, 60, 600])
        self._crowded = chance.random() < 0.15
        self._users = chance.choice([5, 60, 10**6])
        self._options = {
            "zone": self._zone.key,
            "max_cells": 50_000 if self._crowded else max_cells,
            "max_hashes": chance.choice([3_000, 12_000, 2_000_000]),
            "exact_users": chance.choice([_FEW, 1_000_000, 1_000_000]),
        }
        self._sketching = self._crowded or self._options["exact_users"] == _FEW

    def view(self) -> View:
        return UniquesView(**self._options)

    def holds(self, batch: Any, event: Frame) -> bool:
        return bool((batch.times == event.time).any())

    def alike(self, one: Frame, other: Frame) -> bool:
        return one.time == other.time

    def records(self, chance: random.Random, count: int, since: float, until: float) -> list[Record]:
        return super().records(chance, count * _CROWD if self._crowded else count, since, until)

    def record(self, chance: random.Random, at: float) -> Record:
        time = 1000 * self._beginning_s + int(1000 * self._speed * (at - BEGINNING_S))
        time += chance.randint(-JITTER_MS, JITTER_MS)
        if not self._orderly and chance.random() < 0.1:
            time -= chance.randrange(chance.choice([3_000, 300_000, 300_000, 9_000_000]))
        if not self._orderly and chance.random() < 0.005:
            time ^= 1 << chance.choice([33, 41, 45])
        seconds, user = time / 1000, f"u{chance.randrange(self._users)}"
        frame = {"uid": user, "more": {"uid": "x", "ts": 0}, "ts": chance.choice([seconds, str(seconds)])}
        return Record(at, json.dumps(frame).encode(), Frame(math.floor(seconds * 1000), user))

    def later(self, record: Record, by_ms: int) -> Record:
        frame, seconds = json.loads(record.value or b""), (record.truth.time + by_ms) / 1000
        return record._replace(
            value=json.dumps({**frame, "ts": seconds}).encode(),
            truth=record.truth._replace(time=math.floor(seconds * 1000)),
        )

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        level, until = answer.arguments.granularity, answer.coverage.complete_to
        least: list[Frame] = []
        sure = self.punctual and until is not None and not answer.coverage.missing
        if sure and not stats.progress.late:
            least = [frame for frame in expected if frame.time < until]
        most = self._counted([frame for life in given for frame in life], [level])
        self._judge(_answered(answer), self._counted(_covered(answer, least), [level]), most)

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        if self._orderly:
            assert_named(answer, [frame.time for frame in lost])
        level = answer.arguments.granularity
        frames = [frame for life in events for frame in life]
        self._judge(_answered(answer), self._counted(_covered(answer, frames), [level]), self._counted(frames, [level]))

    def published(
        self,
        records: Sequence[bytes],
        events: Sequence[Sequence[Any]],
        answers: Sequence[Answer],
        stats: Stats,
        *,
        repeated: bool,
    ) -> None:
        """Assert that the revisions of each period count up, that each changes the row, and that the last row is the answer.

        If rows may be `repeated`, or a dropped generation had frames of the period, only the last row is checked, and only
        against figures that are too high.
        """
        rows: dict[Period, list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            row = json.loads(record)
            rows[row["granularity"], row["start"]].append(row)
        right = self._counted([frame for life in events for frame in life], GRANULARITIES)
        last = {period: own[-1] for period, own in rows.items()}
        self._judge(last, {}, right)
        if repeated:
            return
        since = stats.coverage.complete_from
        answered = {period: row for answer in answers for period, row in _answered(answer).items()}
        last, answered, right = (
            {period: row for period, row in each.items() if since is None or 1000 * period[1] >= since}
            for each in (last, answered, right)
        )
        self._judge(last, right, right)
        assert last == answered, f"the last published row is not the answer: {_difference(last, answered)}"
        for period in last:
            own = rows[period]
            assert [row["revision"] for row in own] == list(range(1, len(own) + 1)), f"revisions of {period}: {own}"
            news = [(row["frames"], row["final"]) for row in own]
            assert news == sorted(set(news)), f"each revision of {period} changes the row: {news}"

    def _judge(
        self, rows: Mapping[Period, dict[str, Any]], least: Mapping[Period, _Count], most: Mapping[Period, _Count]
    ) -> None:
        """Assert that each row lies between `least` and `most`, as exactly as it states."""
        assert least.keys() <= rows.keys() <= most.keys(), (
            f"{least.keys() - rows.keys()} lacking, {rows.keys() - most.keys()} too many"
        )
        for period, row in rows.items():
            right, low = most[period], least.get(period, _Count(0))
            fewest, unique = len(low.users), row["unique"]
            assert row["end"] == right.end, f"{row} ends at {right.end}"
            assert low.frames <= row["frames"] <= right.frames, f"{row} has {low.frames} to {right.frames} frames"
            assert row["lower"] <= unique <= row["upper"], f"{row} does not lie in its own bounds"
            assert self._sketching or row["exact"], f"{row} has few enough users to be exact"
            if row["exact"]:
                assert row["lower"] == row["upper"], f"{row} is exact, and has bounds"
                assert fewest <= unique <= len(right.users), f"{row} has {fewest} to {len(right.users)} users"
            else:
                far = _COARSE * len(right.users)
                assert fewest - far <= unique <= len(right.users) + far, f"{row} has {fewest} to {len(right.users)} users"

    def counted(self, frames: Iterable[Frame]) -> dict[Period, _Count]:
        """Return the right figures of all periods."""
        return self._counted(frames, GRANULARITIES)

    def _counted(self, frames: Iterable[Frame], granularities: Sequence[str]) -> dict[Period, _Count]:
        counts: dict[Period, _Count] = {}
        for frame in frames:
            for name in granularities:
                start, end = period_of(name, frame.time // 1_000, self._zone)
                own = counts.setdefault((name, start), _Count(end))
                own.frames += 1
                own.users.add(frame.user)
        return counts


def _covered(answer: Answer, frames: Iterable[Frame]) -> list[Frame]:
    """Return the frames that must be counted: of months and years all, of shorter periods those in the covered time."""
    since = answer.coverage.complete_from
    long = answer.arguments.granularity in {"month", "year"}
    return [frame for frame in frames if since is None or long or frame.time >= since]


def _answered(answer: Answer) -> dict[Period, dict[str, Any]]:
    text = b"".join(write(answer, "json", {}))
    rows = json.loads(text)["uniques"]
    starts = [row["start"] for row in rows]
    assert starts == sorted(set(starts)), f"rows come in order, each once: {starts}"
    return {(row["granularity"], row["start"]): row for row in rows}


def _difference(one: Mapping[Period, Any], other: Mapping[Period, Any]) -> list[Any]:
    return [
        (period, one.get(period), other.get(period))
        for period in one.keys() | other.keys()
        if one.get(period) != other.get(period)
    ][:3]
