"""The history of a stream: bounded rings of rates and levels, and marks of what happened."""

import asyncio
import contextlib
import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.cluster.summing import stats_of
from actors.replies import Busy, DeadLetter, Progress, Trouble
from actors.views.kinds import VIEWS
from actors.views.sets.slices import SetSummary
from gateway.ask import Asker
from gateway.page.doubts import doubt_of
from gateway.page.history import LEVELS, NAMES, POINTS, RATES, STEP_S, STREAM_BYTES, Histories, Seen, StreamHistory
from gateway.stream import Served
from tests.support.allowed import allowance

BASE = 1_700_000_000.0


def seen(count: int, **changed: Any) -> Seen:
    """Return a look at a stream that has read `count` records, a third of them answers."""
    members: dict[str, Any] = {
        "counts": (count, count // 3, count // 100, count // 50),
        "levels": (float(count % 17), 1e6 + count, float(count // 3)),
        "newest": 1,
        "dropped": {},
        "checkpoints_failed": 0,
        "trouble": None,
        "why": "",
    }
    return Seen(**{**members, **changed})


def fed(counts: list[int | None], step_s: float = STEP_S) -> StreamHistory:
    history = StreamHistory()
    for at, count in enumerate(counts):
        history.take(BASE + at * step_s, None if count is None else seen(count))
    return history


@given(st.lists(st.integers(0, 10_000) | st.none(), max_size=60), st.integers(1, 80))
def test_points_are_at_most_as_many_as_asked_and_rates_have_the_same_sum(grown: list[int | None], points: int):
    counts: list[int | None] = []
    total = 0
    for each in grown:
        total += each or 0
        counts.append(None if each is None else total)
    fine, coarse = fed(counts).since(0, POINTS), fed(counts).since(0, points)
    assert len(coarse.at) <= points
    assert coarse.at == sorted(coarse.at)
    assert {len(row) for row in coarse.values.values()} <= {len(coarse.at)}
    assert set(coarse.values) == set(NAMES)
    each = round(coarse.step_s / STEP_S)
    for name in NAMES:
        groups = [fine.values[name][at : at + each] for at in range(0, len(fine.at), each)]
        for group, found in zip(groups, coarse.values[name], strict=True):
            known = [value for value in group if value is not None]
            assert (found is None) == (not known)
            if known:
                wanted = sum(known) / len(known) if name in RATES else max(known)
                assert found == pytest.approx(wanted, rel=1e-4)


def test_a_rate_is_what_a_counter_grew_by_per_second_also_over_a_gap_and_never_below_zero():
    found = fed([0, 100, None, 400, 50, 60]).since(0, POINTS)
    assert found.values["records"] == [None, 10.0, None, 15.0, 0.0, 1.0]
    assert found.values["lag"][2] is None
    assert found.values["memory"][1] == 1_000_100.0


def test_the_lag_is_unknown_while_a_stream_is_in_trouble():
    history = StreamHistory()
    quiet = stats_of({}, VIEWS["words"](), 1 << 20)
    for at, trouble in enumerate((None, Trouble("unreachable", BASE, ("no broker",)), None)):
        stats = replace(quiet, progress=Progress(lag={0: 1, 1: 2}, trouble=trouble))
        history.take(BASE + at * STEP_S, Seen.of(stats))
    found = history.since(0, POINTS).values
    assert found["lag"] == [3.0, None, 3.0]
    assert found["held"] == [0.0, 0.0, 0.0]


def test_only_the_newest_points_are_kept_in_as_many_bytes_as_is_said():
    history = fed(list(range(POINTS + 100)))
    found = history.since(0, POINTS)
    assert len(found.at) == POINTS
    assert found.at[0] == BASE + 100 * STEP_S
    assert found.at == sorted(found.at)
    for number in range(2_000):
        history.mark(BASE + number, "retired", "x" * 1_000)
        history.mark(BASE + number, "failed", "x" * 1_000)
    marks = history.since(0, 1).marks
    assert {each.kind for each in marks} == {"retired", "failed"}
    text = sum(len(each.text) + len(each.kind) + 150 for each in marks)
    assert history._at.nbytes + history._values.nbytes + text <= STREAM_BYTES < 1_000_000
    assert fed([1]).since(BASE + 1, 5).at == []


def test_marks_say_what_happened_and_routine_ones_push_out_no_other():
    history = StreamHistory()
    history.take(BASE, seen(1))
    history.take(BASE + 10, seen(2, newest=4, dropped={"memory": 2}, checkpoints_failed=1))
    history.take(BASE + 20, seen(3, newest=4, dropped={"memory": 2}, checkpoints_failed=1, trouble="unreachable", why="gone"))
    history.take(BASE + 30, seen(3, newest=4, dropped={"memory": 2}, checkpoints_failed=1))
    letter = DeadLetter(BASE + 31, "events", "Manager", "Query", "no reason")
    for at in (32, 33):
        history.health(BASE + at, 1, "failed ten times", [letter])
    assert [(mark.at - BASE, mark.kind) for mark in history.since(0, 1).marks] == [
        (10, "dropped"),
        (10, "failed"),
        (10, "retired"),
        (20, "troubled"),
        (30, "recovered"),
        (31, "failed"),
        (32, "given up"),
        (32, "restarted"),
    ]
    for number in range(10_000):
        history.mark(BASE + number, "retired", "one")
    assert sum(mark.kind == "failed" for mark in history.since(0, 1).marks) == 2


class Says:
    """An address that gives the same reply to every message."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def is_alive(self) -> bool:
        return True

    def tell(self, message: Any) -> None:
        message.reply_to(self.reply)


def test_changed_settings_are_marked_in_the_streams_that_they_are_for():
    async def tried() -> list[list[str]]:
        away: Any = Says(Busy("away"))
        histories = Histories(Asker(allowance()), away, [Served(name, "sets", away) for name in ("one", "one-two", "three")])
        histories.reloaded(["http.max_queries"])  # before the start there is no loop
        histories.start()
        await asyncio.to_thread(histories.reloaded, ["streams.one.max_aged", "memory.budget"])
        await asyncio.to_thread(histories.reloaded, ["streams.one-two.max_sets"])
        await asyncio.to_thread(histories.reloaded, [])
        histories.close()
        histories.reloaded(["http.max_queries"])
        marks = [histories.of(name).since(0, 5).marks for name in ("one", "one-two", "three")]
        return [[mark.text for mark in own if mark.kind == "reloaded"] for own in marks]

    one, other, three = asyncio.run(tried())
    assert one == ["changed: streams.one.max_aged, memory.budget"]
    assert other == ["changed: memory.budget", "changed: streams.one-two.max_sets"]
    assert three == ["changed: memory.budget"]


@pytest.mark.parametrize(
    ("progress", "sets", "waiting", "reason"),
    [
        (Progress(records=19, rejects={"not_json": 19}), 0, (0, 0, 0), None),
        (Progress(records=300, events=1, rejects={"not_json": 299}), 0, (1, 0, 0), None),
        (
            Progress(records=1_300, rejects={"y": 300, "x": 900}, other=100),
            0,
            (0, 0, 0),
            "none of 1,300 records is an event (900 refused: x; 300 refused: y; 100 other, which have no step of the configuration)",
        ),
        (Progress(records=999, events=999), 0, (999, 0, 0), None),
        (Progress(records=1_000, events=1_000), 0, (600, 0, 400), "no set after 1,000 events: no event of step G waits"),
        (Progress(records=1_000, events=1_000), 1, (600, 0, 400), None),
        (Progress(records=1_000, events=1_000), 0, (400, 300, 300), None),
    ],
)
def test_a_stream_that_reads_records_and_has_no_answers_says_why(
    progress: Progress, sets: int, waiting: tuple[int, ...], reason: str | None
):
    view = VIEWS["sets"](steps=("R", "G", "B"), max_sets=9)
    empty = stats_of({}, view, 1 << 20)
    nothing: SetSummary = view.nothing()
    live = dataclasses.replace(empty.active, summary=dataclasses.replace(nothing, sets=0, waiting=waiting))
    gone = dataclasses.replace(nothing, sets=sets)
    away: Any = Says(Busy("away"))
    served = Served("s", "sets", away, steps=("R", "G", "B"))
    doubt = doubt_of(served, replace(empty, progress=progress, active=live, gone=gone))
    assert (None if doubt is None else doubt.reason) == reason


def test_why_a_stream_has_no_answers_is_reported_once_until_it_has_some():
    told: list[str] = []
    lost, found = Progress(records=30, other=30), Progress(records=31, other=30, events=1)

    async def tried() -> None:
        stats = stats_of({}, VIEWS["words"](), 1 << 20)
        manager: Any = Says(None)
        histories = Histories(Asker(allowance()), manager, [Served("one", "words", manager)])
        histories.on_doubt = lambda name, doubt: told.append(f"{name}: {doubt.reason}")
        for progress in (lost, lost, found, found, lost):
            manager.reply = replace(stats, progress=progress)
            with contextlib.suppress(AttributeError):  # the reply is not that of a guardian
                await histories.look()

    asyncio.run(tried())
    assert told == ["one: none of 30 records is an event (30 other, which have no step of the configuration)"] * 2


def test_a_stream_that_does_not_reply_has_an_unknown_point():
    async def tried() -> Any:
        away: Any = Says(Busy("away"))
        histories = Histories(Asker(allowance()), away, [Served("one", "sets", away)])
        histories.start()
        histories.close()
        await histories.look()
        return histories.of("one").since(time.time() - 60, 5)

    found = asyncio.run(tried())
    assert json.dumps([found.values[name] for name in LEVELS]) == "[[null], [null], [null]]"
    assert [mark.kind for mark in found.marks] == ["started"]
