"""Every view keeps these laws about the states that checkpoints write and read."""

import gc
import random
from typing import Any

import msgspec
import pytest

from actors.columns import snapshot
from actors.views.view import Meta
from tests.support.samples import Run, fed
from tests.support.trees import REFUSED, file_of, kept, spoilt


def described(view: Any, summary: Any) -> msgspec.Struct:
    return view.describe(view.nothing(), Meta(None, 0, 0, 0, None, summary))


def assert_alike(view: Any, part: Any, other: Any) -> None:
    meta, again = part.meta(), other.meta()
    assert (again.span, again.events, again.final_until) == (meta.span, meta.events, meta.final_until)
    for one, twin in zip(
        (meta.nbytes, meta.dead_bytes, meta.coarse_bytes), (again.nbytes, again.dead_bytes, again.coarse_bytes), strict=True
    ):
        assert twin == pytest.approx(one, rel=0.1, abs=64)
    assert described(view, again.summary) == described(view, meta.summary)


def assert_runs_alike(one: Run, other: Run) -> None:
    for part, twin in zip(one.parts, other.parts, strict=True):
        assert_alike(one.view, part, twin)
    assert other.answers(*one.spans()) == one.answers(*one.spans())


def test_restored_slices_answer_and_describe_themselves_like_the_originals(run: Run):
    spans = run.spans()
    for part in run.parts:
        again = run.restored(part, kept(part.state()))
        assert run.answers(*spans, parts=[again]) == run.answers(*spans, parts=[part])
        assert_alike(run.view, part, again)
        assert part is not run.live or again.full == part.full


def test_restored_slices_settle_and_coarsen_like_the_originals(case: tuple[str, int]):
    run, again = fed(*case), fed(*case)
    again.restart()
    for part, other in zip(run.aged, again.aged, strict=True):
        more = True
        while more:
            more = part.settle()
            assert other.settle() == more
    assert_runs_alike(run, again)
    for part in (*run.aged, *again.aged):
        part.coarsen()
    assert_runs_alike(run, again)
    again.restart()
    assert_runs_alike(run, again)


def test_restored_summaries_describe_and_compose_like_the_originals(run: Run):
    view, gone, again = run.view, run.view.nothing(), run.view.nothing()
    for part in run.parts:
        summary = part.meta().summary
        gone, again = gone.then(summary), view.summary(kept(again.then(view.summary(kept(summary.state()))).state()))
        for one, other in ((summary, view.summary(kept(summary.state()))), (gone, again)):
            assert described(view, other) == described(view, one)
            for span in run.spans():
                for arguments in run.sample.arguments:
                    recalled = [run.shown(view.recall(each, span, arguments), span, arguments) for each in (one, other)]
                    assert recalled[0] == recalled[1]


@pytest.mark.parametrize("often", [1.0, 0.2])
def test_an_interrupted_stream_continues_like_an_uninterrupted_one(case: tuple[str, int], often: float):
    name, seed = case
    chance, straight, broken = random.Random(seed), Run(name), Run(name)
    records = straight.sample.records(chance)
    for turn in range(24):
        values, idle, act = next(records), chance.random() < 0.1, chance.random()
        nbytes = chance.choice([0, straight.live.meta().nbytes // 10, 20_000])
        for run in (straight, broken):
            run.poll(values, idle=idle)
            if act < 0.15:
                run.shed(nbytes)
            elif act > 0.9 and run.sample.view != "top":
                run.freeze()
            run.age(random.Random(turn))
            if 0.7 < act < 0.9 and len(run.aged) > 2:
                run.aged[0].coarsen()
                run.drop()
        if chance.random() < often:
            broken.restart()
        assert broken.published == straight.published
        assert broken.lost == straight.lost
        assert broken.live.full == straight.live.full
        assert_alike(straight.view, straight.live, broken.live)
    assert_runs_alike(straight, broken)
    assert sum(part.meta().events for part in broken.parts) + broken.lost.total() + broken.dropped == straight.events


def test_a_state_does_not_change_with_its_slice(case: tuple[str, int]):
    name, seed = case
    chance = random.Random(seed)
    run = fed(name, seed, polls=chance.randrange(1, 15))
    spans, parts = run.spans(), run.parts
    states, now = [part.state() for part in parts], [file_of(part.state()) for part in parts]
    again = [run.restored(part, kept(part.state())) for part in parts]
    records = run.sample.records(chance)
    for _ in range(8):
        run.poll(next(records), idle=chance.random() < 0.1)
        run.shed(chance.choice([0, 0, 1_000, 20_000]))
        run.age(chance)
    run.finish()
    assert [file_of(state) for state in states] == now
    late = [run.view.thaw(kept(state)) for state in states[:-1]] + [run.view.revive(kept(states[-1]))]
    assert run.answers(*spans, parts=late) == run.answers(*spans, parts=again)


def test_a_restored_slice_never_writes_to_its_file(run: Run):
    files = [file_of(part.state()) for part in run.parts]
    before = list(map(bytes, files))
    *run.aged, run.live = [
        run.restored(part, snapshot.read("state", memoryview(file))) for part, file in zip(run.parts, files, strict=True)
    ]
    chance = random.Random(5)
    records = run.sample.records(chance)
    for _ in range(8):
        run.poll(next(records), idle=chance.random() < 0.3)
        run.shed(chance.choice([100, 20_000]))
        run.age(chance)
    run.finish()
    assert list(map(bytes, files)) == before


def test_a_revived_slice_and_a_summary_do_not_keep_their_files_open(run: Run):
    """There are two exceptions: a live slice of sets and a summary of words share compressed columns."""
    live = file_of(run.live.state())
    revived = run.view.revive(snapshot.read("state", memoryview(live))) if run.sample.view != "sets" else run.live
    answers = run.answers(parts=[run.live])
    if run.sample.view != "top":
        run.freeze()
    summaries = [part.meta().summary for part in run.parts] if run.sample.view != "words" else []
    files = [file_of(summary.state()) for summary in summaries]
    restored = [run.view.summary(snapshot.read("state", memoryview(file))) for file in files]
    thawed = [run.view.thaw(snapshot.read("state", memoryview(file_of(part.state())))).meta().summary for part in run.aged]
    gc.collect()
    for file in (*files, live):
        file.clear()
    for found in (restored, thawed):
        for one, other in zip(found, summaries, strict=False):
            assert described(run.view, one) == described(run.view, other)
    assert run.sample.view == "sets" or run.answers(parts=[revived]) == answers


def test_an_invalid_state_raises_one_of_the_documented_errors(run: Run):
    chance, view, refused = random.Random(1), run.view, 0
    made = [(view.revive, run.live.state(), 120), (view.summary, run.parts[0].meta().summary.state(), 40)]
    made += [(view.thaw, part.state(), 60) for part in run.aged[:2]]
    for make, state, count in made:
        tree = kept(state)
        for _ in range(count):
            try:
                restored = make(spoilt(tree, chance))
                if make != view.summary and run.sample.view != "sets":  # sets open compressed times for it
                    restored.meta()
            except REFUSED:
                refused += 1
    assert refused > 80
