"""Every view keeps these laws about its answers, over random streams of its own records."""

import random

import msgspec
import pytest

from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.view import Frozen, Live, Meta, View
from tests.support.samples import SAMPLES, VARIANTS, Run


def test_every_view_has_a_sample():
    assert set(SAMPLES) == set(VIEWS) == {sample.view for sample in VARIANTS.values()}


def test_merging_is_associative_and_has_an_identity(run: Run):
    view = run.view
    for arguments in run.sample.arguments:
        partials = [part.read(EVER, arguments) for part in run.parts]
        at_once = run.shown(view.merge(partials), EVER, arguments)
        for cut in range(len(partials) + 1):
            halves = [view.merge(partials[:cut]), view.merge([]), view.merge(partials[cut:])]
            assert run.shown(view.merge(halves), EVER, arguments) == at_once


def test_the_selected_slices_give_the_answer_of_all_slices(run: Run):
    start = run.hull().start
    metas = [part.meta() for part in run.aged]
    for span in [*run.spans(), *(Span(start - 10**power, start) for power in (4, 7, 9, 10, 11))]:
        for arguments in run.sample.arguments:
            chosen = [run.aged[index] for index in run.view.select(metas, span, arguments)]
            some = run.merged(span, arguments, [*chosen, run.live])
            assert run.shown(some, span, arguments) == run.shown(run.merged(span, arguments), span, arguments)


def test_compressing_a_frozen_slice_changes_no_answer_and_no_count(run: Run):
    spans = run.spans()[::4]
    for frozen in run.aged:
        before, meta, more = run.answers(*spans, parts=[frozen]), frozen.meta(), True
        while more:
            more = frozen.settle()
            assert run.answers(*spans, parts=[frozen]) == before
        assert (frozen.meta().span, frozen.meta().events) == (meta.span, meta.events)
        assert frozen.meta().nbytes <= meta.nbytes + 1_000
        assert not frozen.settle()


def test_every_event_is_in_one_slice_or_counted_as_lost(run: Run):
    assert sum(part.meta().events for part in run.parts) + run.lost.total() == run.events


def test_summaries_compose_in_any_grouping_and_do_not_change(run: Run):
    view, described = run.view, set()
    summaries = [part.meta().summary for part in run.parts]

    def of(summary: object) -> bytes:
        return msgspec.json.encode(view.describe(view.nothing(), Meta(None, 0, 0, 0, None, summary)))

    for cut in range(len(summaries)):
        left, right = view.nothing(), summaries[cut]
        for summary in summaries[:cut]:
            left = left.then(summary)
        for summary in summaries[cut + 1 :]:
            right = right.then(summary)
        before = of(left), of(right)
        described.add(of(left.then(right)))
        assert (of(left), of(right)) == before
    assert len(described) == 1


def test_a_frozen_slice_and_its_successor_answer_like_the_live_slice(run: Run):
    if run.sample.view == "top":
        return
    spans = run.spans()
    before = run.answers(*spans)
    run.freeze()
    assert run.answers(*spans) == before
    assert sum(part.meta().events for part in run.parts) + run.lost.total() == run.events


def test_a_span_cut_anywhere_is_the_merge_of_its_parts(run: Run):
    hull = run.hull()
    low = hull.start // run.sample.granule * run.sample.granule - 10**9
    for cut in run.cuts() if run.sample.halves else ():
        left, right = Span(low, cut), Span(cut, hull.end + 10**9)
        both = Span(left.start, right.end)
        for arguments in run.sample.arguments:
            whole = run.shown(run.merged(both, arguments), both, arguments, "ndjson")
            halves = [(run.merged(span, arguments), span) for span in (left, right)]
            if run.sample.halves == "joined":
                assert b"".join(run.shown(half, span, arguments, "ndjson") for half, span in halves) == whole
            else:
                merged = run.view.merge([half for half, _ in halves])
                assert run.shown(merged, both, arguments, "ndjson") == whole


def test_a_partial_answer_never_changes(run: Run):
    chance = random.Random(99)
    asked = [(span, each) for span in run.spans()[::3] for each in run.sample.arguments]
    partials = [(part.read(*each), *each) for part in run.parts for each in asked]
    before = [run.shown(*each) for each in partials]
    records = run.sample.records(chance)
    for _ in range(4):
        run.poll(next(records), idle=chance.random() < 0.5)
        run.shed(10_000)
        run.age(chance)
    run.finish()
    assert [run.shown(*each) for each in partials] == before


BEYOND = {"sets": {"steps"}, "uniques": {"periods"}, "funnel": {"within", "step_count"}}
"""Public names of a view that are not in the contract: the routes or the parcels of that view use them."""


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
        beyond = {"of_state"} if contract is not View else {"answers", "counts", *BEYOND.get(name, ())}
        assert own_names(thing) == {each for each in dir(contract) if not each.startswith("_")} | beyond
        for each in contract.__abstractmethods__:
            assert getattr(type(thing), each) is not getattr(contract, each)


def test_a_slice_that_never_becomes_full_cannot_be_frozen_or_thawed():
    with pytest.raises(AssertionError, match="never frozen"):
        Run("top").live.freeze()
    with pytest.raises(ValueError, match="never frozen"):
        VIEWS["top"]().thaw(None)
