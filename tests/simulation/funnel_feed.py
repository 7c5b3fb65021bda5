"""Events of the view `funnel`, and the right sequences, in answers and in published results."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from actors.records.form import Form, TimeAt
from actors.replies import Answer, Stats
from actors.timeline.span import EVER
from actors.views.funnel.arguments import Listing, Story, Totals
from actors.views.funnel.view import FunnelView
from actors.views.view import View
from gateway.api.formats import write
from scripts.lab.truth import sequences
from tests.simulation.feed import JUNK, Feed, assert_named
from tests.simulation.topic import Record

STEPS = ("created", "paid", "shipped")
BEGINNING_MS = 1_468_244_384_000
BEGINNING_S = 1_000.0
JITTER_MS = 200
_FORM = Form({"step": "/type", "key": "/id"}, TimeAt("/at", "ms"))
_NO_EVENTS = (
    b'{"id":"k1","type":"paid"}',
    b'{"type":"paid","at":1468244384000}',
    b'{"id":"k1","type":7,"at":1468244384000}',
    b'{"id":"k1","type":"paid","at":"noon"}',
)


class Event(NamedTuple):
    """The time, ms since 1970, the key, and the number of the step."""

    time: int
    key: str
    step: int


class FunnelFeed(Feed):
    """If `orderly`, each event is written at its time, plus or minus `JITTER_MS`. Otherwise some are late."""

    questions = ((EVER, Listing()), (EVER, Totals()), (EVER, Story(b"k1")), (EVER, Listing("lapsed")))
    dated = True
    publishes = True
    budgets = (8_000, 20_000)
    junk = JUNK + _NO_EVENTS

    def __init__(self, chance: random.Random, *, orderly: bool, max_sequences: int) -> None:
        self._orderly = orderly
        self._within = chance.choice([300, 2_000, 60_000])
        self._keys = chance.choice([3, 20, 10**6])
        self._max_sequences = max_sequences

    def view(self) -> View:
        return FunnelView(steps=STEPS, within=self._within, record=_FORM, max_sequences=self._max_sequences)

    def holds(self, batch: Any, event: Event) -> bool:
        there = np.flatnonzero((batch.times == event.time) & (batch.steps == event.step))
        return event.key.encode() in batch.keys.take(there)

    def record(self, chance: random.Random, at: float) -> Record:
        time = BEGINNING_MS + int(1000 * (at - BEGINNING_S)) + chance.randint(-JITTER_MS, JITTER_MS)
        if not self._orderly and chance.random() < 0.1:
            time -= chance.randrange(chance.choice([3_000, 300_000]))
        event = Event(time, f"k{chance.randrange(self._keys)}", chance.choices(range(3), [4, 3, 3])[0])
        return Record(at, _value(event), event)

    def later(self, record: Record, by_ms: int) -> Record:
        event = record.truth._replace(time=record.truth.time + by_ms)
        return record._replace(value=_value(event), truth=event)

    def claim(self, answer: Answer, stats: Stats, given: Sequence[Sequence[Any]], expected: Sequence[Any]) -> None:
        if isinstance(answer.arguments, Listing):
            _assert_real(_listed(answer), [event for life in given for event in life])

    def whole(self, answer: Answer, stats: Stats, events: Sequence[Sequence[Any]], lost: Sequence[Any]) -> None:
        if self._orderly:
            assert_named(answer, [event.time for event in lost])
        own = [event for life in events for event in life]
        if isinstance(answer.arguments, Listing):
            _assert_real(_listed(answer), own)
        if not self._sure(stats) or answer.coverage.missing:
            return
        right = sequences([(event.key, event.time, event.step) for event in own], len(STEPS), self._within)
        match answer.arguments:
            case Listing(None):
                found = Counter(_row(row) for row in _listed(answer))
                wanted = Counter((each.key, each.times) for each in right)
                assert found == wanted, (
                    f"{list((wanted - found).elements())[:3]} lacking, {list((found - wanted).elements())[:3]} too many"
                )
            case Totals():
                shown = json.loads(b"".join(write(answer, "json", answer.view.remarks(answer.partial, answer.arguments))))
                reached = [sum(len(each.times) > step for each in right) for step in range(len(STEPS))]
                assert [row["reached"] for row in shown["steps"]] == reached
                assert shown["complete"] + shown["open"] + shown["lapsed"] == reached[0]
            case Story(key):
                told = json.loads(b"".join(write(answer, "json", {})))["events"]
                assert [row["time"] for row in told] == sorted(event.time for event in own if event.key == key.decode())
            case _:
                pass

    def published(
        self,
        records: Sequence[bytes],
        events: Sequence[Sequence[Any]],
        answers: Sequence[Answer],
        stats: Stats,
        *,
        repeated: bool,
    ) -> None:
        """Assert that each result is that of a sequence, once, and that no final sequence of the answer is lacking."""
        rows = [json.loads(record) for record in records]
        own = [event for life in events for event in life]
        if repeated:
            assert {(row["key"], time) for row in rows for time in _times(row)} <= {(event.key, event.time) for event in own}
            return
        _assert_real(rows, own, all_known=self._orderly)  # a topic that is gone may have had others
        assert not [row for row in rows if row["state"] == "open"]
        found = Counter(map(_row, rows))
        since = stats.coverage.complete_from
        final = [row for row in _listed(answers[3]) if since is None or _times(row)[0] >= since]
        lacking = Counter(map(_row, final)) - found
        now = max((event.time for event in own), default=0) - 1_000
        sure = [key for key in lacking if key[1][0] + self._within < now - self._within]
        assert not sure, f"lapsed, but not published: {sure[:3]}"

    def _sure(self, stats: Stats) -> bool:
        """Whether every event is where it belongs: none was late, dropped or forgotten."""
        kept = not stats.dropped_generations and not stats.dropped and stats.coverage.complete_from is None
        return self._orderly and kept and not stats.progress.late


def _value(event: Event) -> bytes:
    return json.dumps({"id": event.key, "type": STEPS[event.step], "at": event.time}).encode()


def _listed(answer: Answer) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(b"".join(write(answer, "json", {})))["sequences"]
    return rows


def _times(row: dict[str, Any]) -> list[int]:
    return [time for time in row["steps"].values() if time is not None]


def _row(row: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    return row["key"], tuple(_times(row))


def _assert_real(rows: Iterable[dict[str, Any]], events: Iterable[Event], *, all_known: bool = True) -> None:
    """Assert that sequences are made of events, each in one of them at most. Unless all are known, others may be there too."""
    used = Counter(
        Event(time, row["key"], STEPS.index(step)) for row in rows for step, time in row["steps"].items() if time is not None
    )
    known = Counter(events)
    extra = [event for event, count in used.items() if count > known[event] and (all_known or event in known)]
    assert not extra, f"no events, or in two sequences: {extra[:3]}"
