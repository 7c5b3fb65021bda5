"""The number of sets by their first time, against the sets themselves."""

import json
import random
from collections import Counter

import numpy as np
import pytest

from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.sets import histogram
from actors.views.sets.arguments import Buckets, Page
from actors.views.sets.histogram import counted
from actors.views.sets.pieces import Piece
from actors.views.words.arguments import Buckets as In
from actors.views.words.arguments import Counting
from tests.support.samples import Run


@pytest.mark.parametrize("name", ["sets", "late sets in small chunks"])
@pytest.mark.parametrize("width", [1, 7, 100, 10**12])
def test_buckets_have_as_many_sets_as_the_answer_has_in_them(name: str, width: int, monkeypatch: pytest.MonkeyPatch):
    run, chance = Run(name), random.Random(width)
    for constant, value in run.sample.constants.items():
        monkeypatch.setattr(constant, value)
    records = run.sample.records(chance)
    for _ in range(12):
        run.poll(next(records), idle=False)
        run.age(chance)
    for span in run.spans():
        sets = json.loads(run.shown(run.merged(span, Page()), span, Page()))["sets"]
        wanted = Counter(each["r"]["timestamp"] // width * width for each in sets)
        found = json.loads(run.shown(run.merged(span, Buckets(width=width)), span, Buckets(width=width)))["buckets"]
        assert [(each["start"], each["count"]) for each in found] == sorted(wanted.items())


def test_a_piece_within_one_bucket_is_counted_unopened(monkeypatch: pytest.MonkeyPatch):
    pieces = [Piece.of((np.arange(at, at + 100), np.arange(at, at + 100))).sealed() for at in range(0, 10_000, 100)]
    opened = []
    monkeypatch.setattr(Piece, "first_column", lambda piece: opened.append(piece) or piece.opened()[0])
    (block,) = counted(pieces, EVER, 1_000)
    assert block.columns == ([*range(0, 10_000, 1_000)], [1_000] * 10)
    assert not opened
    (block,) = counted(pieces, Span(150, 9_950), 1_050)
    assert sum(block.columns[1]) == 9_800
    assert len(opened) == 7, "two pieces at the ends of the span, and five with times of two buckets"


def test_many_buckets_come_in_blocks_and_times_may_be_negative(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(histogram, "_BLOCK", 3)
    piece = Piece.of((np.arange(-5, 5),))
    blocks = list(counted([piece, piece], Span(-4, 4), 2))
    assert [each.columns for each in blocks] == [([-4, -2, 0], [4, 4, 4]), ([2], [4])]


@pytest.mark.parametrize("width", [1, 1_000, 7_000, 10**9])
def test_buckets_of_words_have_the_events_of_their_seconds(width: int):
    run, chance = Run("words"), random.Random(width)
    records = run.sample.records(chance)
    for _ in range(12):
        run.poll(next(records), idle=False)
        run.age(chance)
    assert run.aged
    for span in run.spans():
        found = json.loads(run.shown(run.merged(span, In("types", width=width)), span, In("types", width=width)))["buckets"]
        counts = json.loads(run.shown(run.merged(span, Counting("types")), span, Counting("types")))
        assert sum(each["count"] for each in found) == sum(counts.values())
        assert [each["start"] for each in found] == sorted({each["start"] for each in found})
        for each in found[:: 1 + len(found) // 5] if width % 1_000 == 0 else ():
            own = Span(max(span.start, each["start"]), min(span.end, each["start"] + width))
            inside = json.loads(run.shown(run.merged(own, Counting("types")), own, Counting("types")))
            assert each["count"] == sum(inside.values())
            assert each["start"] % width == 0


def test_dropped_words_are_in_no_bucket():
    run, chance = Run("words"), random.Random(1)
    records = run.sample.records(chance)
    while len(run.aged) < 3:
        run.poll(next(records), idle=False)
        run.age(chance)
    run.drop()
    found = json.loads(run.shown(run.merged(EVER, In("types", width=10**9)), EVER, In("types", width=10**9)))["buckets"]
    assert sum(each["count"] for each in found) == sum(part.meta().events for part in run.parts)


def test_the_views_that_count_by_time():
    assert [name for name, view in VIEWS.items() if view.buckets(1) is not None] == ["sets", "words"]
