"""The figures of each view against its records, or against its rows, as a plain loop counts them."""

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.figures.ranks import percentiles
from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.funnel.arguments import Listing
from actors.views.kinds import VIEWS
from actors.views.segments.arguments import Listing as Batches
from tests.support.samples import VARIANTS, Run, patch_constants
from tests.views.test_numbers import bucket, rank

MINUTE_MS = 60_000


class Seen(Run):
    """A run that remembers its records, in order."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.values: list[bytes] = []

    def poll(self, values: Any, *, idle: bool) -> None:
        self.values += values
        super().poll(values, idle=idle)


def seen(name: str, patch: pytest.MonkeyPatch) -> Seen:
    patch_constants(name, patch)
    run, chance = Seen(name), random.Random(name)
    records = run.sample.records(chance)
    for _ in range(12):
        run.poll(next(records), idle=False)
        run.age(chance)
    return run


def grouped(rows: Iterable[tuple[int, Any]], span: Span, grid: Grid | None, unit: int = 1) -> list[tuple[int, int, list[Any]]]:
    """Return the values of rows with a time in ms in `span`, by bucket. A time stands for `unit` ms."""
    groups: dict[tuple[int, int], list[Any]] = defaultdict(list)
    chosen = sorted((row for row in rows if span.start <= row[0] < span.end), key=lambda row: row[0])
    for time, value in chosen:
        start, end = (chosen[0][0], chosen[-1][0] + unit)
        if grid is not None:
            first, last = bucket(time // 1_000, grid)
            start, end = max(first * 1_000, span.start), min(last * 1_000, span.end)
        groups[start, end].append(value)
    return [(*place, own) for place, own in sorted(groups.items())]


def rate(count: int, start: int, end: int) -> float:
    return count * 1_000 / (end - start)


def of_funnel(run: Seen, span: Span, grid: Grid | None) -> list[dict[str, Any]]:
    shown = json.loads(run.shown(run.merged(span, Listing()), span, Listing()))["sequences"]
    rows = [(min(time for time in each["steps"].values() if time is not None), list(each["steps"].values())) for each in shown]
    found = []
    for start, end, own in grouped(rows, span, grid):
        measures = [("whole", [each[-1] - each[0] for each in own if each[-1] is not None], 0)]
        names = run.sample.options["steps"]
        measures += [(names[0], [0 for _ in own], None)]
        measures += [
            (name, [each[step] - each[step - 1] for each in own if each[step] is not None], step)
            for step, name in enumerate(names)
            if step
        ]
        for name, took, timed in measures:
            some = bool(took) and timed is not None
            shown = (rank(took, 50), rank(took, 95), max(took)) if some else (None,) * 3
            found.append([start, end, name, len(took), rate(len(took), start, end), *shown])
    return [dict(zip(("start", "end", "step", "count", "rate", "p50", "p95", "max"), row, strict=True)) for row in found]


def of_words(run: Seen, span: Span, grid: Grid | None) -> list[dict[str, Any]]:
    times = [int(json.loads(value)["timestamp"]) * 1_000 for value in run.values]
    wide = Span(span.start // 1_000 * 1_000, -(-span.end // 1_000) * 1_000)
    return [
        {
            "start": start, "end": end, "count": len(own), "rate": rate(len(own), start, end),
            "max": max(own.count(each) for each in own),
        }
        for start, end, own in grouped([(time, time) for time in times], wide, grid, 1_000)
    ]  # fmt: skip


def of_uniques(run: Seen, span: Span, grid: Grid | None) -> list[dict[str, Any]]:
    frames = [json.loads(value) for value in run.values]
    rows = [(int(each["ts"] * 1_000) // MINUTE_MS * MINUTE_MS, each["uid"]) for each in frames]
    return [
        {
            "start": start, "end": end, "unique": len(set(own)), "count": len(own), "rate": rate(len(own), start, end),
            "lower": len(set(own)), "upper": len(set(own)), "exact": True,
        }
        for start, end, own in grouped(rows, span, grid, MINUTE_MS)
    ]  # fmt: skip


def of_top(run: Seen, span: Span, grid: Grid | None) -> list[dict[str, Any]]:
    last = {}
    for time, value in enumerate(run.values):
        name, _, number = value.decode().partition("_")
        last[name] = (time, int(number))
    return [
        {
            "start": start, "end": end, "count": len(own), "rate": rate(len(own), start, end),
            "p50": rank(own, 50), "p95": rank(own, 95), "max": max(own),
        }
        for start, end, own in grouped(last.values(), span, grid)
    ]  # fmt: skip


def of_segments(run: Seen, span: Span, grid: Grid | None) -> list[dict[str, Any]]:
    by_epoch = defaultdict(list)
    for each in json.loads(run.shown(run.merged(span, Batches()), span, Batches()))["segments"]:
        by_epoch[each["epoch"]].append(each)
    found = []
    for epoch, own in sorted(by_epoch.items()):
        counts, ids = [each["count"] for each in own], [each["batch"] for each in own]
        bounds = {"epoch": epoch, "start": min(ids), "end": max(ids) + 1, "count": len(own), "numbers": sum(counts)}
        found.append({**bounds, "p50": rank(counts, 50), "p95": rank(counts, 95), "max": max(counts)})
    return found


ORACLES = {"funnel": of_funnel, "words": of_words, "uniques": of_uniques, "top": of_top, "segments": of_segments}
NAMES = ["funnel", "late events of a funnel", "words", "uniques", "many uniques", "top", "segments", "repeated segments"]
LENGTHS: dict[str, list[str | None]] = {"segments": [None], "uniques": [None, "1m", "7m", "1h", "1d"]}
ASKED = [(name, by) for name in NAMES for by in LENGTHS.get(VARIANTS[name].view, [None, "1s", "1m", "1d"])]


@pytest.mark.parametrize(("name", "by"), ASKED)
def test_figures_are_those_of_a_plain_count(name: str, by: str | None, monkeypatch: pytest.MonkeyPatch):
    run = seen(name, monkeypatch)
    grid = None if by is None else Grid.of(by, "Europe/Berlin")
    asked = run.view.figures(grid, 1_000, 1 << 62, ())
    for span in run.spans():
        found = json.loads(run.shown(run.merged(span, asked), span, asked))["summary"]
        assert found == ORACLES[run.sample.view](run, span, grid), span
    run.restart()
    found = json.loads(run.shown(run.merged(EVER, asked), EVER, asked))["summary"]
    assert found
    assert found == ORACLES[run.sample.view](run, EVER, grid)


@pytest.mark.parametrize("name", ["funnel", "words", "uniques", "top"])
def test_a_limit_names_the_start_of_the_first_bucket_that_is_left_out(name: str, monkeypatch: pytest.MonkeyPatch):
    run = seen(name, monkeypatch)
    by = Grid.of("1m" if name == "uniques" else "1s")
    whole = json.loads(run.shown(run.merged(EVER, every := run.view.figures(by, 1_000, 1 << 62, ())), EVER, every))["summary"]
    rows, start = [], EVER.start
    for _ in range(len(whole) + 1):
        span, asked = Span(start, EVER.end), run.view.figures(by, 1_000, 9, ())
        answer = json.loads(run.shown(run.merged(span, asked), span, asked))
        assert len(answer["summary"]) <= 9
        rows += answer["summary"]
        if "next" not in answer:
            break
        start = answer["next"]
    assert rows == whole


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6), max_size=6))
def test_percentiles_of_groups_are_those_of_each_group(groups: list[list[int]]):
    found = percentiles(np.array([value for group in groups for value in group], np.int64), list(map(len, groups)))
    wanted = [(rank(own, 50), rank(own, 95), max(own)) if own else (None,) * 3 for own in groups]
    assert list(zip(*found, strict=True)) == wanted


def test_each_view_describes_its_figures():
    for name, view in VIEWS.items():
        shape = view.summarised
        assert shape is not None, name
        assert all(field.meaning for field in shape.fields), name


def test_uniques_have_figures_of_whole_minutes_alone():
    assert VIEWS["uniques"].figures(None, 1_000, 9, ("hour", "day")) is None
    assert VIEWS["uniques"].figures(Grid.of("120s"), 1_000, 9, ("minute", "day")) is not None
    with pytest.raises(ValueError, match="whole minutes"):
        VIEWS["uniques"].figures(Grid.of("90s"), 1_000, 9, ())
