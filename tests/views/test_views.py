"""The laws that every view keeps, over random streams of its own records."""

import gc
import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from actors.columns import snapshot
from actors.durability.spool import Spool
from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.segments.listing import Listing
from actors.views.sets.page import Page
from actors.views.top.slices import Top
from actors.views.uniques.slices import Rows
from actors.views.view import Frozen, Live, Meta, View
from actors.views.words.slices import Counting
from tests.support.polled import polled


def of_sets(chance: random.Random) -> Iterator[list[bytes]]:
    time = 0
    while True:
        values = []
        for _ in range(chance.randrange(60)):
            time += chance.randrange(4)
            values.append(f"{chance.choice('RGB')}_{time}".encode())
        yield values


def of_top(chance: random.Random) -> Iterator[list[bytes]]:
    while True:
        yield [f"id{chance.randrange(80)}_{chance.randrange(-50, 50)}".encode() for _ in range(chance.randrange(60))]


def of_segments(chance: random.Random) -> Iterator[list[bytes]]:
    batch, waiting = 0, []
    while True:
        for _ in range(chance.randrange(6)):
            batch += 1
            for segment in range(3):
                data = sorted(chance.randrange(1_000) for _ in range(chance.randrange(5)))
                waiting.append(json.dumps({"batch_id": batch, "segment_id": segment, "data": data}).encode())
        chance.shuffle(waiting)
        cut = chance.randrange(len(waiting) + 1)
        yield waiting[:cut]
        waiting = waiting[cut:]


def of_uniques(chance: random.Random) -> Iterator[list[bytes]]:
    time = 1_468_244_384.0
    while True:
        values = []
        for _ in range(chance.randrange(60)):
            time += chance.expovariate(0.05)
            late = chance.random() < 0.02
            frame = {"ts": time - (4_000 if late else 0), "uid": f"u{chance.randrange(40)}"}
            values.append(json.dumps(frame).encode())
        yield values


def of_words(chance: random.Random) -> Iterator[list[bytes]]:
    time = 1_513_765_893
    while True:
        values = []
        for _ in range(chance.randrange(60)):
            time += chance.random() < 0.3
            data = " ".join(chance.choices(["lorem", "ipsum", "dolor", "ä"], k=chance.randrange(4)))
            values.append(json.dumps({"event_type": chance.choice("abc"), "data": data, "timestamp": time}).encode())
        yield values


@dataclass(frozen=True)
class Sample:
    """How a view is tried: its options, its records, what to ask, and how answers of parts make that of the whole."""

    options: dict[str, Any]
    records: Any
    arguments: list[Any]
    by_rows: bool
    granule: int = 1
    many: dict[str, Any] = field(default_factory=dict)


SAMPLES = {
    "sets": Sample({"steps": ["R", "G", "B"], "max_sets": 40}, of_sets, [Page()], by_rows=True),
    "top": Sample({}, of_top, [Top(), Top(7)], by_rows=False),
    "segments": Sample(
        {"segments": 3, "max_batches": 6, "spool": Spool(None), "spill_bytes": 400}, of_segments, [Listing()], by_rows=True
    ),
    "uniques": Sample(
        {"zone": "Europe/Berlin", "max_cells": 60},
        of_uniques,
        [Rows("minute"), Rows("hour"), Rows("week"), Rows("year")],
        by_rows=True,
    ),
    "words": Sample({"max_pairs": 60}, of_words, [Counting("types"), Counting("words"), Counting("words", 2)], False, 1_000),
}


@dataclass
class Case:
    """Slices after a random stream."""

    view: Any
    sample: Sample
    parts: list[Any]
    events: int
    lost: int

    def whole(self, span: Span, arguments: Any) -> Any:
        return self.view.merge([part.read(span, arguments) for part in self.parts])

    def shown(self, partial: Any, span: Span, arguments: Any, form: str = "json") -> bytes:
        return b"".join(self.view.render(partial, span, arguments, form, {}))

    def answers(self, span: Span = EVER) -> list[bytes]:
        return [self.shown(self.whole(span, each), span, each) for each in self.sample.arguments]

    def hull(self) -> Span:
        spans = [part.meta().span for part in self.parts if part.meta().span is not None]
        return Span(min(span.start for span in spans), max(span.end for span in spans))

    def hull_or_none(self) -> Span | None:
        return self.hull() if any(part.meta().span is not None for part in self.parts) else None

    def cuts(self) -> list[int]:
        hull, granule = self.hull(), self.sample.granule
        return [(hull.start + (hull.end - hull.start) * tenth // 10) // granule * granule for tenth in range(12)]


def test_every_view_has_a_sample():
    assert set(SAMPLES) == set(VIEWS)


class Run:
    """A view that is fed as a collector feeds it: slices are frozen when they are full, and what is due is taken."""

    def __init__(self, name: str) -> None:
        self.sample = SAMPLES[name]
        self.view = VIEWS[name](**self.sample.options)
        self.live = self.view.open(None)
        self.aged: list[Any] = []
        self.first = self.events = 0
        self.lost: Counter[str] = Counter()
        self.published: list[bytes] = []

    def poll(self, values: list[bytes], *, idle: bool) -> None:
        times, batch, accepted, refusals = self.view.decode(polled(values, first=self.first))
        assert (accepted is None) == (not refusals)
        self.first += len(values)
        self.events += times.size
        if isinstance(batch, Batch):
            batch = batch.ordered()
        watermark = int(times.max()) if times.size else None
        if times.size:
            self.lost.update(self.live.add(batch, watermark))
        due = self.live.close(watermark, idle=idle)
        if due is not None:
            asked = [] if due.arguments is None else [part.read(due.span, due.arguments) for part in [*self.aged, self.live]]
            self.published.append(b"".join(self.view.publish(self.view.merge([due.partial, *asked]), due)))
            assert self.published[-1].endswith(b"\n")

    def age(self, chance: random.Random) -> None:
        while self.live.full:
            frozen, carry = self.live.freeze()
            while chance.random() < 0.5 and frozen.settle():
                pass
            self.aged.append(frozen)
            self.live = self.view.open(carry)

    def case(self) -> Case:
        return Case(self.view, self.sample, [*self.aged, self.live], self.events, self.lost.total())


EVERY = [(name, seed) for name in VIEWS for seed in range(4)]
RETIRING = [(name, seed) for name, seed in EVERY if name != "top"]


@pytest.fixture(params=EVERY, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """Return slices of a view after a random stream, with results taken as they become due."""
    name, seed = request.param
    chance, run = random.Random(seed), Run(name)
    records = run.sample.records(chance)
    for _ in range(20):
        run.poll(next(records), idle=chance.random() < 0.1)
        run.age(chance)
    return run.case()


def test_merging_is_associative_and_has_an_identity(case: Case):
    view = case.view
    for arguments in case.sample.arguments:
        partials = [part.read(EVER, arguments) for part in case.parts]
        at_once = case.shown(view.merge(partials), EVER, arguments)
        for cut in range(len(partials) + 1):
            halves = [view.merge(partials[:cut]), view.merge(partials[cut:])]
            assert case.shown(view.merge(halves), EVER, arguments) == at_once
        nothing = view.merge([])
        assert case.shown(view.merge([nothing, view.merge(partials), nothing]), EVER, arguments) == at_once


def test_the_selected_slices_give_the_same_answer_as_all_slices(case: Case):
    view, cuts = case.view, case.cuts()
    *aged, live = case.parts
    for start, end in zip(cuts, cuts[2:], strict=False):
        span = Span(start, end)
        for arguments in case.sample.arguments:
            chosen = view.select([part.meta() for part in aged], span, arguments)
            some = view.merge([*(aged[index].read(span, arguments) for index in chosen), live.read(span, arguments)])
            assert case.shown(some, span, arguments) == case.shown(case.whole(span, arguments), span, arguments)


def test_settling_changes_no_answer_and_no_count(case: Case):
    for frozen in case.parts[:-1]:
        before, meta = case.answers(), frozen.meta()
        while frozen.settle():
            pass
        assert case.answers() == before
        assert (frozen.meta().span, frozen.meta().events) == (meta.span, meta.events)
        assert frozen.meta().nbytes <= meta.nbytes + 1_000


def test_every_event_is_held_by_one_slice_or_counted_as_lost(case: Case):
    assert sum(part.meta().events for part in case.parts) + case.lost == case.events


def test_summaries_compose_in_any_grouping(case: Case):
    view = case.view
    summaries = [part.meta().summary for part in case.parts]
    described = []
    for cut in range(len(summaries)):
        left, right = view.nothing(), summaries[cut]
        for summary in summaries[:cut]:
            left = left.then(summary)
        for summary in summaries[cut + 1 :]:
            right = right.then(summary)
        described.append(json.dumps(view.describe(view.nothing(), Meta(None, 0, 0, 0, None, left.then(right)))))
    assert len(set(described)) == 1


@pytest.mark.parametrize("case", RETIRING, indirect=True, ids=str)
def test_a_slice_that_freezes_with_its_carry_answers_what_it_answered_live(case: Case):
    spans = [EVER, *(Span(start, end) for start, end in zip(case.cuts(), case.cuts()[3:], strict=False))]
    before = [case.answers(span) for span in spans]
    frozen, carry = case.parts[-1].freeze()
    case.parts[-1:] = [frozen, case.view.open(carry)]
    assert [case.answers(span) for span in spans] == before
    assert sum(part.meta().events for part in case.parts) + case.lost == case.events


def test_a_span_cut_anywhere_is_the_merge_of_its_parts(case: Case):
    hull = case.hull()
    low = hull.start // case.sample.granule * case.sample.granule - 10**9
    for cut in case.cuts():
        left, right = Span(low, cut), Span(cut, hull.end + 10**9)
        both = Span(left.start, right.end)
        for arguments in case.sample.arguments:
            whole = case.shown(case.whole(both, arguments), both, arguments, "ndjson")
            halves = [(case.whole(span, arguments), span) for span in (left, right)]
            if case.sample.by_rows:
                assert b"".join(case.shown(half, span, arguments, "ndjson") for half, span in halves) == whole
            else:
                merged = case.view.merge([half for half, _ in halves])
                assert case.shown(merged, both, arguments, "ndjson") == whole


def test_a_partial_answer_does_not_change_with_later_events(case: Case):
    live = case.parts[-1]
    for arguments in case.sample.arguments:
        partial = live.read(EVER, arguments)
        before = case.shown(partial, EVER, arguments)
        for values in [next(case.sample.records(random.Random(99))) for _ in range(3)]:
            times, batch, _, _ = case.view.decode(polled(values, first=10**6))
            if times.size and not live.full:
                live.add(batch.ordered() if isinstance(batch, Batch) else batch, None)
        assert case.shown(partial, EVER, arguments) == before


BEYOND = {"sets": {"steps", "named"}, "words": {"max_error"}}
"""Public names of a view that are not in the contract: the routes of that view use them."""


def own_names(thing: object) -> set[str]:
    return {name for name in (*dir(type(thing)), *getattr(thing, "__dict__", ())) if not name.startswith("_")}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_and_its_slices_have_the_names_of_the_contract_and_no_other(name: str):
    run = Run(name)
    records = run.sample.records(random.Random(1))
    while not run.aged and run.events < 1_000:
        run.poll(next(records), idle=False)
        run.age(random.Random(1))
    assert (run.aged == []) == (name == "top")
    for thing, contract in ((run.view, View), (run.live, Live), *((each, Frozen) for each in run.aged)):
        assert isinstance(thing, contract)
        beyond = {"of_state"} if contract is not View else BEYOND.get(name, set())
        assert own_names(thing) == {each for each in dir(contract) if not each.startswith("_")} | beyond
        for each in contract.__abstractmethods__:
            assert getattr(type(thing), each) is not getattr(contract, each)


def test_a_slice_that_never_becomes_full_cannot_be_frozen_or_thawed():
    with pytest.raises(AssertionError, match="never frozen"):
        Run("top").live.freeze()
    with pytest.raises(ValueError, match="never frozen"):
        VIEWS["top"]().thaw(None)


# State ---------------------------------------------------------------------------------------------------------------


def written(state: Any) -> bytes:
    """Write a state; it may be read at any address of a file, which is why it is not told its own."""
    blocks: list[bytes] = []
    said = snapshot.write("test", state, lambda block: blocks.append(bytes(block)))
    data = b"".join(blocks)
    assert said == len(data)
    return data


def restored(view: Any, part: Any, data: bytes) -> Any:
    """Return the part that `data` holds the state of."""
    state = snapshot.read("test", data)
    return view.revive(state) if hasattr(part, "add") else view.thaw(state)


def described(view: Any, meta: Meta) -> dict[str, object]:
    return view.describe(view.nothing(), meta)


def spans_of(case: Case) -> list[Span]:
    cuts = case.cuts()
    return [EVER, *(Span(start, end) for start, end in zip(cuts, cuts[2:], strict=False))]


def assert_alike(view: Any, part: Any, other: Any) -> None:
    meta, again = part.meta(), other.meta()
    assert (again.span, again.events, again.final_until) == (meta.span, meta.events, meta.final_until)
    assert again.nbytes == pytest.approx(meta.nbytes, rel=0.1, abs=64)
    assert again.dead_bytes == pytest.approx(meta.dead_bytes, rel=0.1, abs=64)
    assert again.coarse_bytes == pytest.approx(meta.coarse_bytes, rel=0.1, abs=64)
    assert described(view, again) == described(view, meta)


def test_restored_slices_answer_as_before(case: Case):
    asked = spans_of(case)
    before = [case.answers(span) for span in asked]
    again = replace(case, parts=[restored(case.view, part, written(part.state())) for part in case.parts])
    assert [again.answers(span) for span in asked] == before
    for part, other in zip(case.parts, again.parts, strict=True):
        alone, beside = replace(case, parts=[part]), replace(case, parts=[other])
        assert [alone.answers(span) for span in asked] == [beside.answers(span) for span in asked]
        assert_alike(case.view, part, other)
        if hasattr(part, "add"):
            assert other.full == part.full


def test_restored_slices_settle_and_coarsen_like_the_originals(case: Case):
    asked = spans_of(case)
    again = replace(case, parts=[restored(case.view, part, written(part.state())) for part in case.parts])
    for part, other in zip(case.parts[:-1], again.parts[:-1], strict=True):
        more = True
        while more:
            more = part.settle()
            assert other.settle() == more
        assert_alike(case.view, part, other)
    assert [again.answers(span) for span in asked] == [case.answers(span) for span in asked]
    for part, other in zip(case.parts[:-1], again.parts[:-1], strict=True):
        part.coarsen()
        other.coarsen()
        assert_alike(case.view, part, other)
    assert [again.answers(span) for span in asked] == [case.answers(span) for span in asked]
    twice = replace(case, parts=[restored(case.view, part, written(part.state())) for part in again.parts])
    assert [twice.answers(span) for span in asked] == [case.answers(span) for span in asked]


def test_restored_summaries_describe_and_compose_like_the_originals(case: Case):
    view, gone, again = case.view, case.view.nothing(), case.view.nothing()
    for part in case.parts:
        summary = part.meta().summary
        for each, other in ((summary, None), (gone.then(summary), again.then(summary))):
            twin = view.summary(snapshot.read("test", written(each.state())))
            for one in filter(None, (twin, other)):
                assert described(view, Meta(None, 0, 0, 0, None, one)) == described(view, Meta(None, 0, 0, 0, None, each))
                for arguments in case.sample.arguments:
                    recalled = [view.recall(own, EVER, arguments) for own in (each, one)]
                    assert case.shown(recalled[1], EVER, arguments) == case.shown(recalled[0], EVER, arguments)
        gone, again = gone.then(summary), view.summary(snapshot.read("test", written(again.then(summary).state())))


@pytest.mark.parametrize("often", [1.0, 0.15])
@pytest.mark.parametrize("name,seed", EVERY, ids=str)
def test_an_interrupted_stream_continues_like_one_that_was_not(name: str, seed: int, often: float):
    chance, stops = random.Random(seed), random.Random(seed)
    straight, broken = Run(name), Run(name)
    records = straight.sample.records(chance)
    for turn in range(20):
        values, idle = next(records), chance.random() < 0.1
        for run in (straight, broken):
            run.poll(values, idle=idle)
        assert broken.published == straight.published
        assert broken.lost == straight.lost
        assert broken.live.full == straight.live.full
        for run in (straight, broken):
            run.age(random.Random(turn))
        if stops.random() < often:
            case = broken.case()
            *broken.aged, broken.live = [restored(case.view, part, written(part.state())) for part in case.parts]
        if stops.random() < 0.1:
            nbytes = straight.live.meta().nbytes // 10
            shed = straight.live.shed(nbytes)
            assert broken.live.shed(nbytes) == shed
    one, other = straight.case(), broken.case()
    for part, twin in zip(one.parts, other.parts, strict=True):
        assert_alike(one.view, part, twin)
    assert [other.answers(span) for span in spans_of(one)] == [one.answers(span) for span in spans_of(one)]
    assert one.events == other.events


@pytest.mark.parametrize("name,seed", EVERY, ids=str)
def test_a_state_does_not_change_with_its_slice(name: str, seed: int):
    chance, run = random.Random(seed), Run(name)
    records = run.sample.records(chance)
    for _ in range(chance.randrange(1, 15)):
        run.poll(next(records), idle=chance.random() < 0.1)
        run.age(chance)
    case = run.case()
    asked = spans_of(case) if case.hull_or_none() else [EVER]
    answers = [case.answers(span) for span in asked]
    now = written(run.live.state()), [written(part.state()) for part in run.aged]
    states = [part.state() for part in case.parts]
    slices = case.parts
    for _ in range(10):
        run.poll(next(records), idle=chance.random() < 0.1)
        run.live.shed(chance.choice([0, 0, 1_000]))
        run.age(chance)
    if name != "top" and not run.live.full:
        run.live.freeze()
    for part in run.aged:
        while part.settle():
            pass
        part.coarsen()
    *aged, live = map(written, states)
    assert (live, aged) == now
    again = replace(case, parts=[restored(run.view, part, data) for part, data in zip(slices, [*aged, live], strict=True)])
    assert [again.answers(span) for span in asked] == answers


def test_a_restored_slice_never_writes_to_the_file_it_was_read_from(case: Case):
    run = Run("top")
    run.view, run.sample, run.first = case.view, case.sample, 10**6
    files = [bytearray(written(part.state())) for part in case.parts]
    before = list(map(bytes, files))
    *run.aged, run.live = [restored(case.view, part, memoryview(file)) for part, file in zip(case.parts, files, strict=True)]
    chance = random.Random(5)
    records = case.sample.records(chance)
    for _ in range(10):
        run.poll(next(records), idle=chance.random() < 0.3)
        run.live.shed(100)
        run.age(chance)
    if not isinstance(run.view, VIEWS["top"]):
        run.live.freeze()
    for part in run.aged:
        while part.settle():
            pass
        part.coarsen()
    assert list(map(bytes, files)) == before


def damaged(state: Any, chance: random.Random) -> Any:
    """Return a copy of a tree with one thing in it changed."""
    if isinstance(state, dict | list) and state and chance.random() < 0.8:
        keys = list(state) if isinstance(state, dict) else list(range(len(state)))
        chosen = chance.choice(keys)
        pairs = [(key, state[key]) for key in keys]
        kind = chance.randrange(8)
        if kind == 0:
            pairs = [pair for pair in pairs if pair[0] != chosen]
        elif kind == 1:
            pairs.append(("more", state[chosen]))
        else:
            pairs = [(key, damaged(value, chance) if key == chosen else value) for key, value in pairs]
        return dict(pairs) if isinstance(state, dict) else [value for _, value in pairs]
    if isinstance(state, np.ndarray) and state.size and chance.random() < 0.6:
        other = state.copy()
        other.flat[chance.randrange(other.size)] = chance.choice([0, 1, other.flat[0], other.max(), 100])
        return chance.choice([other, state[:-1], state[1:], np.concatenate((state, state[:1])), state.reshape(1, -1)])
    if isinstance(state, bytes | memoryview) and chance.random() < 0.6:
        return chance.choice([state[:-1], bytes(state) + b"x", b"", b"\xff" + bytes(state)[1:]])
    return chance.choice(ODD)


ODD = [None, 0, -1, 7, 2**62, 1.5, "x", b"x", [], [1], ["x"], {}, {1: 2}, [[1, 2]], np.zeros(3), np.zeros(0, np.int64)]


def test_an_invalid_state_raises_one_of_the_four_documented_errors(case: Case):
    chance, view = random.Random(1), case.view
    made: list[tuple[Any, Any]] = [(view.revive, case.parts[-1].state()), (view.summary, case.parts[0].meta().summary.state())]
    made += [(view.thaw, part.state()) for part in case.parts[:-1][:3]]
    refused = 0
    for make, state in made:
        tree = snapshot.read("test", written(state))
        for wrong in [*ODD, *(damaged(tree, chance) for _ in range(60))]:
            try:
                make(wrong)
            except (ValueError, TypeError, KeyError, IndexError):
                refused += 1
    assert refused > 10


@pytest.mark.parametrize("name", VIEWS)
def test_the_reported_bytes_of_a_slice_match_the_memory_in_use(name: str):
    sample = SAMPLES[name]
    chance = random.Random(3)
    options = {key: value for key, value in sample.options.items() if not key.startswith(("max", "spill"))}
    view = VIEWS[name](**options, **({"max_sets": 10**9} if name == "sets" else {}))
    records = sample.records(chance)
    Run(name).poll([value for _ in range(5) for value in next(records)], idle=False)  # what is imported late is no slice's
    gc.collect()
    tracemalloc.start()
    try:
        live, first = view.open(None), 0
        while live.meta().nbytes < 400_000 and first < 20_000:
            values = next(records)
            times, batch, _, _ = view.decode(polled(values, first=first))
            first += len(values)
            if times.size:
                live.add(batch.ordered() if isinstance(batch, Batch) else batch, None)
                live.close(None, idle=False)
        del batch, times, values
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        said = live.meta().nbytes
    finally:
        tracemalloc.stop()
    assert 0.5 * said < taken < 2 * said + 100_000, (said, taken)
