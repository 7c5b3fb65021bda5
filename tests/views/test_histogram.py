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


def test_only_the_view_of_sets_counts_by_time_so_far():
    assert [name for name, view in VIEWS.items() if view.buckets(1) is not None] == ["sets"]
