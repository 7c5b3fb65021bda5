"""The view `funnel`: its answers are those of an oracle that reads the records one by one, whatever the batches."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.text import Text
from actors.records.form import Form, TimeAt
from actors.timeline.span import EVER, Span
from actors.views.funnel import totals
from actors.views.funnel.arguments import Cursor, Listing, Story, Totals
from actors.views.funnel.store import by_hash
from actors.views.funnel.view import FunnelView
from actors.views.view import Silence
from scripts.lab.truth import sequences
from tests.support.polled import polled
from tests.support.rendered import rendered

STEPS = ["created", "paid", "shipped"]
WITHIN = 50
RECORD = Form({"step": "/type", "key": "/id"}, TimeAt("/at", "ms"))


def view_of(**options: Any) -> FunnelView:
    given: dict[str, Any] = {"steps": STEPS, "within": WITHIN, "record": RECORD, "max_sequences": 30, **options}
    return FunnelView(**given)


def record(key: object, step: str, time: int) -> bytes:
    return json.dumps({"id": key, "type": step, "at": time}).encode()


class Fed:
    """A view with its slices, fed with polls of records whose times ascend."""

    def __init__(self, view: FunnelView) -> None:
        self.view = view
        self.live = view.open(None)
        self.aged: list[Any] = []
        self.published: list[dict[str, Any]] = []

    def poll(self, values: Sequence[bytes], watermark: int | None) -> None:
        decoded = self.view.decode(polled(values))
        assert not decoded.refusals
        self.live.add(decoded.batch, watermark)
        self.close(watermark, None)

    def close(self, watermark: int | None, silence: Silence | None) -> None:
        due = self.live.close(watermark, silence)
        if due is not None:
            assert due.arguments is None
            self.published += [json.loads(line) for line in b"".join(self.view.publish(due.partial, due)).splitlines()]
        while self.live.full:
            frozen, carry = self.live.freeze()
            while frozen.settle():
                pass
            self.aged.append(frozen)
            self.live = self.view.open(carry)

    def asked(self, arguments: Any, span: Span = EVER) -> dict[str, Any]:
        partial = self.view.merge([part.read(span, arguments) for part in (*self.aged, self.live)])
        members = self.view.remarks(partial, arguments)
        body: dict[str, Any] = json.loads(b"".join(rendered(self.view, partial, span, arguments, "json", members)))
        return body


Key = str | int


def truth(events: Sequence[tuple[Key, int, int]], now: int) -> list[dict[str, Any]]:
    """Return the right sequences at the time `now`."""
    found = []
    for key, times in sequences(events, len(STEPS), WITHIN):
        complete = len(times) == len(STEPS)
        state = "complete" if complete else "open" if now - times[0] <= WITHIN else "lapsed"
        steps = dict(zip_longest(STEPS, times))
        found.append({"key": key, "state": state, "steps": steps, "lapsesAt": None if complete else times[0] + WITHIN})
    return found


def ordered(rows: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def stream_of(chance: random.Random, count: int, keys: int) -> list[tuple[Key, int, int]]:
    """Return events as keys, times and steps. Times ascend, and some are equal. Some keys are numbers, some their digits."""
    time = 0
    events: list[tuple[Key, int, int]] = []
    forms: list[Callable[[int], Key]] = chance.choice([[int], [str], [int, str], ["k{}".format, int, str]])
    for _ in range(count):
        time += chance.choice([0, 1, 1, 3])
        events.append((chance.choice(forms)(chance.randrange(keys)), time, chance.choices(range(3), [4, 3, 2])[0]))
    return events


@given(st.integers(0, 10**6))
def test_any_batches_give_the_sequences_of_the_whole(seed: int):
    chance = random.Random(seed)
    events = stream_of(chance, chance.randrange(1, 120), chance.choice([1, 4, 40]))
    fed, place = Fed(view_of(max_sequences=chance.choice([1, 5, 1_000]))), 0
    while place < len(events):
        size = chance.randrange(1, 30)
        some = events[place : place + size]
        place += size
        following = events[place][1] if place < len(events) else events[-1][1]
        chance.shuffle(some)
        fed.poll([record(key, STEPS[step], time) for key, time, step in some], following - chance.choice([0, 0, 2]))
        if chance.random() < 0.2:
            fed.asked(Listing())
    fed.close(None, Silence(events[-1][1]))
    rows = truth(events, events[-1][1])
    assert ordered(fed.asked(Listing())["sequences"]) == ordered(rows)
    last = max((row["lapsesAt"] or 0 for row in rows), default=0) + 1
    fed.close(None, Silence(max(last, events[-1][1] + 1)))
    assert ordered(fed.published) == ordered(fed.asked(Listing())["sequences"]), "each sequence is published once"
    assert not [row for row in fed.published if row["state"] == "open"]
    rows = [{**row, "state": "lapsed"} if row["state"] == "open" else row for row in rows]
    sums = fed.asked(Totals())
    assert {name: sums[name] for name in ("complete", "open", "lapsed")} == {
        "complete": 0, "open": 0, "lapsed": 0, **Counter(row["state"] for row in rows)
    }  # fmt: skip
    assert [step["reached"] for step in sums["steps"]] == [
        sum(row["steps"][step] is not None for row in rows) for step in STEPS
    ]
    for place, step in enumerate(sums["steps"][1:], 1):
        gaps = sorted(
            (row["steps"][STEPS[place]] - row["steps"][STEPS[place - 1]]) / 1_000
            for row in rows
            if row["steps"][STEPS[place]] is not None
        )
        wanted = [gaps[-(-len(gaps) * percent // 100) - 1] for percent in (50, 95, 100)] if gaps else [None] * 3
        assert [step["p50"], step["p95"], step["max"]] == wanted
    key = events[0][0]
    name = str(key).encode()
    assert ordered(fed.asked(Listing(key=name))["sequences"]) == ordered([row for row in rows if str(row["key"]) == str(key)])
    story = fed.asked(Story(name))["events"]
    assert Counter((event["key"], event["time"], STEPS.index(event["step"])) for event in story) == Counter(
        event for event in events if str(event[0]) == str(key)
    )
    reasons = [event["reason"] or "" for event in story]
    assert not any(reason.startswith("late:") for reason in reasons), "no event was late"


@given(st.integers(0, 10**6))
def test_the_pages_of_a_listing_are_the_whole(seed: int):
    chance = random.Random(seed)
    fed = Fed(view_of(max_sequences=20))
    for _ in range(4):
        some = stream_of(chance, 40, 6)
        fed.poll([record(key, STEPS[step], time // 8) for key, time, step in some], 0)
    whole = fed.asked(Listing())["sequences"]
    assert [row["steps"]["created"] for row in whole] == sorted(row["steps"]["created"] for row in whole)
    rows, cursor = [], None
    while True:
        page = fed.asked(Listing(limit=chance.randrange(1, 9), after=cursor))
        rows += page["sequences"]
        if "next" not in page:
            break
        cursor = Cursor.parse(page["next"])
    assert rows == whole


@given(st.integers(0, 10**6), st.integers(1, 3))
def test_keys_of_one_hash_are_told_apart(seed: int, hashes: int):
    chance = random.Random(seed)
    events = stream_of(chance, 80, 9)

    def few(text: Text) -> Any:
        return np.array([sum(name) % hashes for name in text.take(np.arange(text.starts.size))], np.uint64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "hashes", few)
        fed = Fed(view_of())
        for place in range(0, 80, 10):
            some = events[place : place + 10]
            fed.poll([record(key, STEPS[step], time) for key, time, step in some], some[-1][1])
        assert ordered(fed.asked(Listing())["sequences"]) == ordered(truth(events, events[-1][1]))
        for name in {str(key) for key, _, _ in events}:
            assert len(fed.asked(Story(name.encode()))["events"]) == sum(str(each) == name for each, _, _ in events)


@given(st.lists(st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1)), max_size=60), st.integers(0, 63))
def test_hashes_are_in_stable_order(values: list[int], shift: int):
    hashes = np.array([(value << shift) % 2**64 for value in values], np.uint64)
    assert by_hash(hashes).tolist() == np.argsort(hashes, kind="stable").tolist()


def test_the_story_of_a_key_has_the_reason_of_each_event_without_a_sequence():
    fed = Fed(view_of())
    events = [("paid", 1), ("created", 10), ("paid", 20), ("paid", 21), ("shipped", 30), ("created", 40), ("shipped", 200)]
    fed.poll([record("A", *event) for event in events], 45)
    fed.poll([record("A", "created", 210)], 205)
    told = [(event["time"], event["sequence"], event["state"], event["reason"]) for event in fed.asked(Story(b"A"))["events"]]
    assert told == [
        (1, None, "unmatched", "no created before it"),
        (10, 1, "complete", None),
        (20, 1, "complete", None),
        (21, None, "unmatched", "every earlier event in reach stands in another sequence"),
        (30, 1, "complete", None),
        (40, 2, "lapsed", None),
        (200, None, "unmatched", "later than the limit after the last created"),
        (210, 3, "open", None),
    ]
    assert fed.asked(Story(b"B")) == {"events": []}


def test_an_event_that_came_when_its_sequence_had_lapsed_is_late():
    fed = Fed(view_of())
    fed.poll([record("A", *event) for event in [("created", 10), ("created", 20), ("paid", 30)]], 31)
    fed.close(None, Silence(75))
    fed.poll([record("A", "paid", 55), record("A", "paid", 65), record("A", "shipped", 58), record("A", "shipped", 90)], 90)
    told = [(event["time"], event["state"], event["reason"]) for event in fed.asked(Story(b"A"))["events"]]
    assert told == [
        (10, "lapsed", None),
        (20, "lapsed", None),
        (30, "lapsed", None),
        (55, "unmatched", "late: a sequence had lapsed without paid"),
        (58, "unmatched", "late: a sequence had lapsed without shipped"),
        (65, "unmatched", "late: a sequence had lapsed without paid"),
        (90, "unmatched", "later than the limit after the last created"),
    ]


def test_an_open_sequence_lapses_with_the_clock_and_is_kept_until_then():
    fed = Fed(view_of())
    fed.poll([record("A", "created", 1_000)], 1_001)
    assert fed.live.due_at == 1_051
    fed.live.close(None, Silence(1_050))
    assert [row["state"] for row in fed.asked(Listing())["sequences"]] == ["open"]
    fed.live.close(None, Silence(1_051))
    assert [row["state"] for row in fed.asked(Listing())["sequences"]] == ["lapsed"]
    assert fed.live.due_at is None
    assert fed.live.meta().summary.held == 0


def test_a_late_event_completes_what_is_not_final():
    fed = Fed(view_of())
    fed.poll([record("A", "created", 10), record("A", "shipped", 30)], 28)
    fed.poll([record("A", "paid", 20)], 30)
    fed.poll([record("B", "created", 70)], 70)
    assert [row["state"] for row in fed.asked(Listing())["sequences"]] == ["complete", "open"]


@pytest.mark.parametrize("most", [2, 8_192])
def test_what_earlier_totals_found_never_shows_in_later_ones(most: int, monkeypatch: pytest.MonkeyPatch):
    """Each poll is followed by questions, while pieces are joined, frozen, compressed and dropped."""
    monkeypatch.setattr(totals, "_MOST_KNOWN", most)
    chance, fed, reused = random.Random(most), Fed(view_of(within=120_000, max_sequences=40)), 0
    late = [chance.choice([0] * 19 + [4_000_000]) for _ in range(500)]
    events = [
        (key, max(0, 9_000 * time - by), step) for by, (key, time, step) in zip(late, stream_of(chance, 500, 30), strict=True)
    ]
    warm = totals._Known()
    for place in range(0, len(events), 18):
        some = events[place : place + 18]
        fed.poll([record(key, STEPS[step], time) for key, time, step in some], max(time for _, time, _ in some) - 100_000)
        if len(fed.aged) > 3:
            fed.aged.pop(0)
        cuts = sorted(chance.sample(range(max(time for _, time, _ in events)), 2))
        for asked in (Totals("minute"), Totals("hour", "Asia/Kolkata"), Totals("hour"), Totals()):
            for span in (EVER, Span(*cuts), EVER):
                monkeypatch.setattr(totals, "_known", totals._Known())
                expected = fed.asked(asked, span)
                monkeypatch.setattr(totals, "_known", warm)
                assert fed.asked(asked, span) == expected
                assert len(warm._rows) <= most
        reused += sum(warm.starts(piece, ("hour", "UTC", "ms")) is not None for each in fed.aged for piece in each._pieces)
    assert reused > 50


def test_totals_are_by_period_of_a_zone():
    day = 86_400_000
    fed = Fed(view_of(within=day))
    events = [("A", "created", day - 3_600_001), ("A", "paid", day), ("B", "created", day - 3_600_000), ("C", "created", day)]
    fed.poll([record(*event) for event in events], None)
    rows = fed.asked(Totals("day", "Europe/Berlin"))["steps"]
    assert [(row["start"], row["step"], row["reached"]) for row in rows] == [
        (-3_600_000, "created", 1), (-3_600_000, "paid", 1), (-3_600_000, "shipped", 0),
        (day - 3_600_000, "created", 2), (day - 3_600_000, "paid", 0), (day - 3_600_000, "shipped", 0),
    ]  # fmt: skip
    assert [row["p50"] for row in rows[:2]] == [None, 3_600.001]


def test_a_key_may_be_that_of_the_record_and_is_refused_without():
    view = view_of(record=Form({"step": "/type"}, TimeAt("/at", "ms")))
    values = [record("x", "created", time) for time in range(5)]
    values[3] = record("x", "unknown", 3)
    decoded = view.decode(polled(values, keys={0: b"A", 2: b"\xff", 3: b"A", 4: "ä".encode()}))
    assert decoded.batch.keys.take(np.arange(2)) == [b"A", "ä".encode()]
    assert decoded.times.tolist() == [0, 4]
    assert decoded.accepted is not None
    assert decoded.accepted.tolist() == [True, False, False, False, True]
    assert [(refusal.place, refusal.reason.rpartition("got ")[2]) for refusal in decoded.refusals] == [
        (1, "nothing"), (2, "other bytes than UTF-8")
    ]  # fmt: skip


def test_a_number_differs_from_its_digits_as_text_and_other_values_are_no_keys():
    view = view_of()
    values = [record(key, "created", 1) for key in (17, "17", 17.0, True, 1.5, "x" * 65_537, None)]
    decoded = view.decode(polled([*values, b'{"type":"created","at":1}', record("A", "created", 10**15)]))
    assert decoded.batch.keys.take(np.arange(3)) == [b"\xff17", b"17", b"\xff17"]
    assert decoded.times.size == 3
    assert [refusal.reason for refusal in decoded.refusals] == [
        f"/id: expected text of at most 65,536 bytes or a whole number of 64 bits, got {got}"
        for got in ("true or false", "a fraction", "longer text", "null", "nothing")
    ] + ["/at: expected a number of milliseconds since 1970, from 1970 to 9999, got a later one"]


def test_answers_have_numbers_as_numbers_and_frames_have_them_as_text():
    fed, keys = Fed(view_of()), [7, "7", -(2**63), 2**63 - 1, "ä"]
    fed.poll([record(key, "created", time) for time, key in enumerate(keys)], 0)
    assert [row["key"] for row in fed.asked(Listing())["sequences"]] == keys
    told = fed.asked(Story(b"7"))["events"]
    assert [(event["key"], event["time"], event["sequence"]) for event in told] == [("7", 1, 1), (7, 0, 1)]
    fed.close(None, Silence(10**6))
    assert [row["key"] for row in fed.published] == keys
    partial = fed.view.merge([fed.live.read(EVER, Listing())])
    table = pa.ipc.open_stream(b"".join(rendered(fed.view, partial, EVER, Listing(), "arrow"))).read_all()
    assert table["key"].to_pylist() == list(map(str, keys))
    lines = b"".join(rendered(fed.view, partial, EVER, Listing(), "csv")).decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == list(map(str, keys))


def test_the_keys_that_wait_longest_are_forgotten_first_and_counted():
    fed = Fed(view_of(within=10**6, max_sequences=10**6))
    fed.poll([record(f"key {number:04}", "created", number) for number in range(1_000)], 0)
    before = fed.live.meta()
    lost, until = fed.live.shed(before.nbytes // 2)
    after = fed.live.meta()
    assert lost["open"] + after.events == before.events
    assert until == lost["open"]
    assert after.nbytes < 0.6 * before.nbytes
    rows = fed.asked(Listing())["sequences"]
    assert [row["steps"]["created"] for row in rows] == list(range(lost["open"], 1_000))
