"""The laws that every view keeps, over random streams."""

import random
from typing import Any

import numpy as np
import pytest

from actors.timeline.batch import Batch
from actors.timeline.span import EVER, Span
from actors.views import VIEWS
from actors.views.sets.page import EVERYTHING

OPTIONS: dict[str, dict[str, Any]] = {"sets": {"steps": ["R", "G", "B"], "max_sets": 40}}
ARGUMENTS = {"sets": EVERYTHING}


@pytest.fixture(params=[(name, seed) for name in VIEWS for seed in range(15)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, list[Any], int]:
    """Return a view, its arguments, slices after a random stream, and how many events that had."""
    name, seed = request.param
    view, chance = VIEWS[name](**OPTIONS[name]), random.Random(seed)
    live, made, time, count = view.open(None), [], 0, 0
    for _ in range(20):
        columns: list[list[int]] = [[] for _ in range(view.categories)]
        for _ in range(chance.randrange(60)):
            time += chance.randrange(4)
            columns[chance.randrange(view.categories)].append(time)
        batch = Batch(tuple(np.array(column, np.int64) for column in columns))
        live.add(batch, time)
        count += batch.count
        while live.full:
            frozen, carry = live.freeze()
            while chance.random() < 0.5 and frozen.settle():
                pass
            made.append(frozen)
            live = view.open(carry)
    return view, ARGUMENTS[name], [*made, live], count


def shown(view: Any, partial: Any, span: Span, arguments: Any) -> bytes:
    return b"".join(view.render(partial, span, arguments, "json", {}))


def test_merging_is_associative_and_has_an_identity(case: Any):
    view, arguments, parts, _ = case
    partials = [part.read(EVER, arguments) for part in parts]
    at_once = shown(view, view.merge(partials), EVER, arguments)
    for cut in range(len(partials) + 1):
        halves = [view.merge(partials[:cut]), view.merge(partials[cut:])]
        assert shown(view, view.merge(halves), EVER, arguments) == at_once
    nothing = view.merge([])
    assert shown(view, view.merge([nothing, view.merge(partials), nothing]), EVER, arguments) == at_once


def test_selected_slices_say_all_that_all_of_them_say(case: Any):
    view, arguments, parts, _ = case
    for start in range(0, 2_000, 170):
        span = Span(start, start + 300)
        chosen = view.select([part.meta() for part in parts], span, arguments)
        some = view.merge([parts[index].read(span, arguments) for index in chosen])
        every = view.merge([part.read(span, arguments) for part in parts])
        assert shown(view, some, span, arguments) == shown(view, every, span, arguments)


def test_settling_changes_no_answer_and_no_count(case: Any):
    view, arguments, parts, _ = case
    for frozen in parts[:-1]:
        before, meta = shown(view, frozen.read(EVER, arguments), EVER, arguments), frozen.meta()
        while frozen.settle():
            pass
        assert shown(view, frozen.read(EVER, arguments), EVER, arguments) == before
        assert (frozen.meta().span, frozen.meta().events) == (meta.span, meta.events)
        assert frozen.meta().nbytes <= meta.nbytes + 1_000


def test_every_event_is_held_by_one_slice(case: Any):
    _, _, parts, count = case
    assert sum(part.meta().events for part in parts) == count


def test_summaries_compose_in_any_grouping(case: Any):
    view, _, parts, _ = case
    summaries = [part.meta().summary for part in parts]
    described = []
    for cut in range(len(summaries) + 1):
        left, right = view.nothing(), view.nothing()
        for summary in summaries[:cut]:
            left = left.then(summary)
        for summary in summaries[cut:]:
            right = right.then(summary)
        total = left.then(right)
        described.append((total.sets, total.proof.bound))
    assert len(set(described)) == 1


def test_a_slice_that_freezes_with_its_carry_answers_what_it_answered_live(case: Any):
    view, arguments, parts, count = case
    before = [
        shown(view, view.merge([part.read(Span(start, 3_000), arguments) for part in parts]), EVER, arguments)
        for start in (0, 50)
    ]
    frozen, carry = parts[-1].freeze()
    after = [*parts[:-1], frozen, view.open(carry)]
    assert [
        shown(view, view.merge([part.read(Span(start, 3_000), arguments) for part in after]), EVER, arguments)
        for start in (0, 50)
    ] == before
    assert sum(part.meta().events for part in after) == count


def test_a_span_cut_anywhere_is_the_merge_of_its_parts(case: Any):
    view, arguments, parts, _ = case
    for cut in (0, 1, 100, 333, 2_000):
        left, right = Span(0, cut), Span(cut, 5_000)
        lines = b""
        for span in (left, right):
            partial = view.merge([part.read(span, arguments) for part in parts])
            lines += b"".join(view.render(partial, span, arguments, "ndjson", {}))
        whole = view.merge([part.read(Span(0, 5_000), arguments) for part in parts])
        assert lines == b"".join(view.render(whole, Span(0, 5_000), arguments, "ndjson", {}))
