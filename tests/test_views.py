"""The laws that every view keeps, over random streams of its own records."""

import gc
import json
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.spool import Spool
from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views import VIEWS
from actors.views.segments.listing import Listing
from actors.views.sets.page import EVERYTHING
from actors.views.top.slices import Top
from actors.views.uniques.slices import Rows
from actors.views.view import Meta
from actors.views.words.slices import Counting
from tests.polled import polled


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
    "sets": Sample({"steps": ["R", "G", "B"], "max_sets": 40}, of_sets, [EVERYTHING], by_rows=True),
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

    def cuts(self) -> list[int]:
        hull, granule = self.hull(), self.sample.granule
        return [(hull.start + (hull.end - hull.start) * tenth // 10) // granule * granule for tenth in range(12)]


def test_every_view_has_a_sample():
    assert set(SAMPLES) == set(VIEWS)


@pytest.fixture(params=[(name, seed) for name in VIEWS for seed in range(12)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """Return slices of a view after a random stream, with results taken as they become due."""
    name, seed = request.param
    sample, chance = SAMPLES[name], random.Random(seed)
    view = VIEWS[name](**sample.options)
    live, made, first, events, lost = view.open(None), [], 0, 0, 0
    records = sample.records(chance)
    for _ in range(20):
        values = next(records)
        times, batch, accepted, refusals = view.decode(polled(values, first=first))
        assert (accepted is None) == (not refusals)
        first += len(values)
        events += times.size
        if isinstance(batch, Batch):
            batch = batch.ordered()
        watermark = int(times.max()) if times.size else None
        if times.size:
            lost += sum(live.add(batch, watermark).values())
        due = live.close(watermark, idle=chance.random() < 0.1)
        if due is not None:
            asked = [] if due.arguments is None else [part.read(due.span, due.arguments) for part in [*made, live]]
            written = b"".join(view.publish(view.merge([due.partial, *asked]), due))
            assert written.endswith(b"\n")
        while live.full:
            frozen, carry = live.freeze()
            while chance.random() < 0.5 and frozen.settle():
                pass
            made.append(frozen)
            live = view.open(carry)
    return Case(view, sample, [*made, live], events, lost)


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


def test_selected_slices_say_all_that_all_of_them_say(case: Case):
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


def test_what_was_read_does_not_change_with_what_comes_later(case: Case):
    live = case.parts[-1]
    for arguments in case.sample.arguments:
        partial = live.read(EVER, arguments)
        before = case.shown(partial, EVER, arguments)
        for values in [next(case.sample.records(random.Random(99))) for _ in range(3)]:
            times, batch, _, _ = case.view.decode(polled(values, first=10**6))
            if times.size and not live.full:
                live.add(batch.ordered() if isinstance(batch, Batch) else batch, None)
        assert case.shown(partial, EVER, arguments) == before


def test_no_name_of_a_route_or_message_is_known_to_a_view_by_more_than_the_contract(case: Case):
    for name in ("decode", "open", "nothing", "select", "merge", "recall", "publish", "render", "describe"):
        assert callable(getattr(case.view, name))
    for part, names in ((case.parts[-1], ("add", "close", "read", "shed", "freeze", "meta")),):
        for name in names:
            assert callable(getattr(part, name))


@pytest.mark.parametrize("name", VIEWS)
def test_a_slice_says_how_many_bytes_it_takes(name: str):
    sample = SAMPLES[name]
    chance = random.Random(3)
    options = {key: value for key, value in sample.options.items() if not key.startswith(("max", "spill"))}
    view = VIEWS[name](**options, **({"max_sets": 10**9} if name == "sets" else {}))
    records = sample.records(chance)
    gc.collect()
    tracemalloc.start()
    try:
        live, first = view.open(None), 0
        while live.meta().nbytes < 400_000 and first < 200_000:
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
