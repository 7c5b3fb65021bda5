"""Which rows one process publishes for all shards: a law over random shards, looks and restarts of the process that publishes."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.messages import Part
from actors.cluster.parcels import arguments_of, parcel_of, part_bytes, part_of, question_bytes, question_of
from actors.replies import Coverage
from actors.timeline.span import EVER
from actors.views.uniques.arguments import Rows
from actors.views.uniques.issue import due as issue
from actors.views.uniques.issue.due import LOOK, Issued, Look, asking, chunks, row_of
from actors.views.uniques.view import UniquesView
from tests.support.polled import polled

NOON = 1_468_238_400
LENGTHS = ("minute", "hour")
SHARDS = 3
Frame = tuple[int, str]


class Shards:
    """Some shards, the process that publishes for them, and the rows that readers see."""

    def __init__(self, count: int = SHARDS, max_cells: int = 12) -> None:
        self.view = UniquesView(granularities=LENGTHS, max_cells=max_cells)
        self.live = [self.view.open(None) for _ in range(count)]
        self.frozen: list[list[Any]] = [[] for _ in range(count)]
        self.passed = [NOON] * count
        self.lines: list[bytes] = []
        self.frames: list[Frame] = []
        self.restart()

    def restart(self) -> None:
        """Let another process publish, by what readers see."""
        self.issued, self.before = Issued(), None
        for line in self.lines:
            self.issued.put(row_of(line))

    def put(self, shard: int, frames: Sequence[Frame]) -> None:
        self.frames += frames
        values = [json.dumps({"ts": second, "uid": user}).encode() for second, user in frames]
        self.live[shard].add(self.view.decode(polled(values)).batch, None)
        self.live[shard].close(self.passed[shard] * 1_000, None)
        if self.live[shard].full:
            frozen, carry = self.live[shard].freeze()
            self.frozen[shard].append(frozen)
            self.live[shard] = self.view.open(carry)

    def asked(self, arguments: Rows, *, idle: bool) -> Any:
        """Return what the gatherer has for a question, over the wire."""
        question = question_of(question_bytes("u", 0, 1, span=EVER, arguments=arguments, deadline_s=1.0))
        assert arguments_of(question, "uniques") == arguments
        found = []
        for live, frozen in zip(self.live, self.frozen, strict=True):
            chosen = self.view.select([each.meta() for each in frozen], EVER, arguments)
            partial = self.view.merge([*(frozen[at].read(EVER, arguments) for at in chosen), live.read(EVER, arguments)])
            part = Part(partial, Coverage(None, None, None), None, idle=idle, epoch=1)
            arrived = part_of("uniques", self.view, part_bytes("uniques", self.view, part, arguments))
            assert isinstance(arrived, Part)
            found.append(arrived.partial)
        until = min(self.passed) * 1_000
        return parcel_of("uniques").joined(
            self.view, found, until=until, idle=idle, clock=until, span=EVER, arguments=arguments
        )

    def look(self, *, idle: bool = False) -> list[dict[str, Any]]:
        """Look once, and publish what is due; return it."""
        now: Look = self.asked(LOOK, idle=idle)
        wanted = issue.due(self.view, self.issued, self.before, now)
        self.before = now
        added = []
        for chunk in chunks(wanted):
            for row, line in issue.rows(self.view, self.asked(asking(chunk), idle=idle), chunk):
                self.issued.put(row)
                added.append(line)
        self.lines += added
        return [json.loads(line) for line in added]


def truth(frames: Sequence[Frame]) -> dict[tuple[str, int], tuple[int, int]]:
    users: dict[tuple[str, int], list[str]] = {}
    for second, user in frames:
        for name, length in zip(LENGTHS, (60, 3_600), strict=True):
            users.setdefault((name, second - second % length), []).append(user)
    return {key: (len(set(own)), len(own)) for key, own in users.items()}


def check(rows: Sequence[dict[str, Any]], frames: Sequence[Frame]) -> None:
    """The revisions of a period are 1, 2, 3 and so on, each with more frames or final for the first time; the last is right."""
    last: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        before = last.get((row["granularity"], row["start"]), {"revision": 0, "frames": 0, "final": False})
        assert row["revision"] == before["revision"] + 1
        assert row["frames"] > before["frames"] or (row["final"] and not before["final"])
        assert row["final"] >= before["final"]
        last[row["granularity"], row["start"]] = row
    assert {key: (row["unique"], row["frames"]) for key, row in last.items()} == truth(frames)
    assert all(row["final"] for row in last.values())


FRAMES = st.lists(st.tuples(st.integers(NOON, NOON + 900), st.sampled_from("abcdefgh")), min_size=1, max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, SHARDS - 1), FRAMES),
        st.tuples(st.just("pass"), st.integers(0, SHARDS - 1), st.integers(NOON, NOON + 900)),
        st.tuples(st.just("look"), st.booleans()),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@given(STEPS)
def test_each_revision_comes_once_and_the_last_one_has_all_frames(steps: list[tuple[Any, ...]]):
    shards, rows = Shards(), []
    for what, *values in steps:
        match what:
            case "put":
                shards.put(*values)
            case "pass":
                shards.passed[values[0]] = max(shards.passed[values[0]], values[1])
            case "look":
                found = shards.look(idle=values[0])
                until = min(shards.passed)
                assert values[0] or all(row["end"] <= until or not row["final"] for row in found if row["revision"] == 1)
                rows += found
            case "restart":
                shards.restart()
    shards.passed = [NOON + 7_200] * SHARDS
    for _ in range(3):
        rows += shards.look(idle=True)
    assert shards.look(idle=True) == shards.look() == []
    check(rows, shards.frames)


@pytest.mark.parametrize("seed", range(3))
def test_frames_in_order_give_one_row_a_period_after_all_shards_have_passed_it(seed: int):
    chance, shards, rows = random.Random(seed), Shards(), []
    for minute in range(40):
        for second in range(0, 60, 15):
            for shard in range(SHARDS):
                if chance.random() < 0.7:
                    shards.put(shard, [(NOON + 60 * minute + second, f"u{chance.randrange(9)}")])
                shards.passed[shard] = NOON + 60 * minute + second
                if chance.random() < 0.5:
                    found = shards.look()
                    assert all(row["end"] <= min(shards.passed) for row in found)
                    rows += found
                if chance.random() < 0.05:
                    shards.restart()
    shards.passed = [NOON + 7_200] * SHARDS
    rows += shards.look() + shards.look()
    assert all(row["revision"] == 1 for row in rows)
    check(rows, shards.frames)


def test_late_frames_come_with_the_next_period_or_in_a_silence_and_what_is_dropped_changes_no_row():
    shards = Shards(max_cells=1_000)
    shards.put(0, [(NOON + 1, "a")])
    shards.put(1, [(NOON + 2, "b"), (NOON + 61, "a")])
    shards.passed = [NOON + 60, NOON + 61, NOON + 70]
    assert shards.look() == []
    assert [(row["start"], row["unique"], row["final"]) for row in shards.look()] == [(NOON, 2, True)]
    shards.put(2, [(NOON + 3, "c")])
    assert shards.look() == shards.look() == []
    shards.passed = [NOON + 120] * SHARDS
    shards.look()
    found = [(row["start"], row["unique"], row["revision"]) for row in shards.look()]
    assert found == [(NOON, 3, 2), (NOON + 60, 1, 1)]
    shards.put(0, [(NOON + 3, "d")])
    assert shards.look(idle=True) == []
    found = [(row["granularity"], row["unique"], row["revision"], row["final"]) for row in shards.look(idle=True)]
    assert found == [("minute", 4, 3, True), ("hour", 4, 1, False)]
    shards.live[1] = shards.view.open(None)
    shards.restart()
    for idle in (True, True, False, False):
        assert shards.look(idle=idle) == []


def test_the_rows_of_one_question_are_bounded():
    shards = Shards(max_cells=100_000)
    for minute in range(1_500):
        shards.put(minute % SHARDS, [(NOON + 60 * minute, "a")])
    shards.passed = [NOON + 60 * 2_000] * SHARDS
    shards.look()
    wanted = issue.due(shards.view, shards.issued, shards.before, shards.asked(LOOK, idle=False))
    cut = list(chunks(wanted))
    assert [row for each in cut for row in each] == wanted
    assert [len(each) for each in cut] == [1_024, len(wanted) - 1_024]
    many = [row._replace(frames=600_000) for row in wanted[:5]]
    assert [len(each) for each in chunks(many)] == [1] * 5
    check([*shards.look()], shards.frames)


def test_a_row_that_has_lost_frames_since_the_look_is_not_written():
    shards = Shards(max_cells=1_000)
    shards.put(0, [(NOON + 1, "a")])
    shards.put(1, [(NOON + 2, "b")])
    shards.passed = [NOON + 60] * SHARDS
    shards.look()
    wanted = issue.due(shards.view, shards.issued, shards.before, shards.asked(LOOK, idle=False))
    shards.live[1] = shards.view.open(None)
    with pytest.raises(ValueError, match="some are gone"):
        issue.rows(shards.view, shards.asked(asking(wanted), idle=False), wanted)
