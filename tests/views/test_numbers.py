"""The figures of sets against the sets themselves, and buckets of time against the calendar."""

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.sets import numbers as figures
from actors.views.sets.arguments import Numbers, Page
from actors.views.sets.numbers import numbers
from actors.views.sets.pieces import Piece
from tests.support.samples import Run

DAY_S = 86_400
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Africa/Monrovia", "America/Sao_Paulo", "Pacific/Apia"]


def midnight(day: date, zone: str) -> int:
    """Return the first second of a day, found in another way than the product does: by trying the quarters of an hour."""
    begins = datetime.combine(day, time(), ZoneInfo(zone))
    return int(begins.timestamp())


def bucket(second: int, grid: Grid) -> tuple[int, int]:
    """Return the bucket of a second."""
    if grid.unit in "sm":
        start = second - second % grid.seconds
        return start, start + grid.seconds
    zone = grid.zone
    day = datetime.fromtimestamp(second, ZoneInfo(zone)).date()
    while midnight(day + timedelta(days=1), zone) <= second:  # a clock that is set back over midnight
        day += timedelta(days=1)
    if grid.unit == "h":
        first, last = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        start = first + (second - first) // grid.seconds * grid.seconds
        return start, min(start + grid.seconds, last)
    number = (day - date(1970, 1, 1)).days // grid.size * grid.size
    low = date(1970, 1, 1) + timedelta(days=number)
    return midnight(low, zone), midnight(low + timedelta(days=grid.size), zone)


def rank(values: list[int], percent: int) -> int:
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def oracle(
    rows: Iterable[tuple[int, ...]], names: list[str], span: Span, grid: Grid | None, per_s: int
) -> list[dict[str, Any]]:
    groups: dict[tuple[int, int], list[tuple[int, ...]]] = defaultdict(list)
    chosen = [row for row in rows if span.start <= row[0] < span.end]
    for row in chosen:
        if grid is None:
            place = (min(each[0] for each in chosen), max(each[0] for each in chosen) + 1)
        else:
            start, end = bucket(row[0] // per_s, grid)
            place = (max(start * per_s, span.start), min(end * per_s, span.end))
        groups[place].append(row)
    found = []
    for (start, end), own in sorted(groups.items()):
        measures = [("whole", [row[-1] - row[0] for row in own])]
        measures += [(name, [row[step] - row[step - 1] for row in own]) for step, name in enumerate(names) if step]
        found += [
            {
                "start": start,
                "end": end,
                "step": name,
                "count": len(own),
                "rate": len(own) * per_s / (end - start),
                "p50": rank(values, 50),
                "p95": rank(values, 95),
                "max": max(values),
            }
            for name, values in measures
        ]
    return found


@pytest.mark.parametrize("name", ["sets", "late sets in small chunks"])
@pytest.mark.parametrize("by", [None, "1s", "2m", "1h"])
def test_figures_are_those_of_the_sets_of_the_answer(name: str, by: str | None, monkeypatch: pytest.MonkeyPatch):
    run, chance = Run(name), random.Random(name)
    for constant, value in run.sample.constants.items():
        monkeypatch.setattr(constant, value)
    monkeypatch.setattr(figures, "_SORTED", 7)
    asked = Numbers(by=Grid.of(by) if by else None, per_s=10)
    records = run.sample.records(chance)
    for _ in range(12):
        run.poll(next(records), idle=False)
        run.age(chance)
    for span in run.spans():
        sets = json.loads(run.shown(run.merged(span, Page()), span, Page()))["sets"]
        rows = [tuple(each[step]["timestamp"] for step in "rgb") for each in sets]
        found = json.loads(run.shown(run.merged(span, asked), span, asked))["summary"]
        assert found == oracle(rows, ["r", "g", "b"], span, asked.by, 10)


@pytest.mark.parametrize("by", [None, "1s", "2m"])
def test_what_earlier_answers_found_never_shows_in_a_later_one(by: str | None, monkeypatch: pytest.MonkeyPatch):
    """Every poll is followed by two equal questions, while pieces are closed, frozen, compressed and dropped."""
    run, chance = Run("late sets in small chunks"), random.Random(3)
    for constant, value in run.sample.constants.items():
        monkeypatch.setattr(constant, value)
    for constant, value in {"_WORTH": 1, "_SORTED": 5, "_MOST_KNOWN": 6, "KEPT_PIECES": 3}.items():
        monkeypatch.setattr(figures, constant, value)
    monkeypatch.setattr(figures, "_known", figures._Known())
    asked, joined = Numbers(by=Grid.of(by) if by else None, per_s=10), 0
    monkeypatch.setattr(figures, "_joined", counted := Counting(figures._joined))
    records = run.sample.records(chance)
    for poll in range(40):
        run.poll(next(records), idle=False)
        run.age(chance)
        if poll > 20 and len(run.aged) > 2:
            run.drop()
        for span in [EVER, run.spans()[4], EVER]:
            sets = json.loads(run.shown(run.merged(span, Page()), span, Page()))["sets"]
            rows = [tuple(each[step]["timestamp"] for step in "rgb") for each in sets]
            found = json.loads(run.shown(run.merged(span, asked), span, asked))["summary"]
            assert found == oracle(rows, ["r", "g", "b"], span, asked.by, 10)
        joined += counted.calls
    assert len(figures._known._figures) == 6
    assert joined > 0 or by == "1s"


def test_a_view_that_forgets_has_no_columns_left_and_answers_the_same():
    times = np.arange(0, 100_000, 5)
    pieces = [Piece.of((times, times + 3)).sealed()]
    asked = Numbers(by=Grid.of("1s"), per_s=1_000)
    before = [block.columns for block in numbers(pieces, ["a", "b"], EVER, asked)]
    assert figures._kept.cache_info().currsize > 0
    VIEWS["sets"].forget()
    assert (figures._kept.cache_info().currsize, figures._cut_once.cache_info().currsize, figures._known._ordered) == (0, 0, {})
    assert [block.columns for block in numbers(pieces, ["a", "b"], EVER, asked)] == before


class Counting:
    """A function that counts its calls."""

    def __init__(self, function: Any) -> None:
        self.calls, self._function = 0, function

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self._function(*arguments)


@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(0, 9)))
def test_the_value_at_a_place_of_two_columns_is_that_of_their_union(one: list[int], other: list[int]):
    columns = [np.array(sorted(column), np.uint32) for column in (one, other)]
    assert [figures.nth(*columns, place) for place in range(len(one) + len(other))] == sorted(one + other)


TIMES = st.integers(0, 4 * 10**9) | st.sampled_from([int(datetime(2024, 3, 31, 0, 30, tzinfo=UTC).timestamp()), 0, 10**11])


@given(
    st.lists(TIMES, min_size=1, max_size=20),
    st.sampled_from(["1s", "7s", "1m", "90m", "1h30min", "1h", "5h", "1d", "3d", "400d"]),
    st.sampled_from(ZONES),
)
@example([1_711_839_600, 1_711_922_399, 1_711_922_400], "1d", "Europe/Berlin")
@example([1_540_700_000 + 600 * each for each in range(200)], "1d", "America/Sao_Paulo")
@example([1_325_200_000 + 3_600 * each for each in range(60)], "1h", "Pacific/Apia")
def test_times_are_cut_as_the_calendar_does(times: list[int], length: str, zone: str):
    grid = Grid.of(length, zone)
    column = np.sort(np.array(times, np.int64))
    cut = grid.cut(column, 1)
    wanted: dict[tuple[int, int], int] = {}
    for index, second in enumerate(column.tolist()):
        wanted.setdefault(bucket(second, grid) if second < 10**10 else (second, second), index)
    found = {(start, end): first for start, end, first in zip(cut.starts, cut.ends, cut.firsts, strict=True)}
    near = {place: first for place, first in found.items() if place[1] < 10**10}
    assert near == {place: first for place, first in wanted.items() if place[0] < 10**10}
    assert all(start <= int(column[first]) < end for (start, end), first in found.items())


@given(
    st.lists(
        st.tuples(st.integers(0, 2**62), st.sampled_from([0, 1, 2**16, 2**31, 2**32, 2**61]), st.integers(0, 9)), max_size=40
    ),
    st.integers(1, 9),
    st.sampled_from([None, "1s", "1d"]),
    st.sampled_from([1, 4, 1 << 20]),
)
def test_figures_do_not_depend_on_pieces_sizes_or_the_way_of_sorting(
    events: list[tuple[int, int, int]], size: int, by: str | None, at_once: int
):
    rows = sorted((first, first + gap, first + gap + more) for first, gap, more in events)
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] if rows else []
    pieces = [Piece.of(tuple(np.sort(column[at : at + size]) for column in columns)) for at in range(0, len(rows), size)]
    pieces = [piece.sealed() if number % 2 else piece for number, piece in enumerate(pieces)]
    of_pieces = [row for piece in pieces for row in zip(*(column.tolist() for column in piece.opened()), strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "AT_ONCE", at_once)
        patch.setattr(figures, "_SORTED", 5)
        grid = Grid.of(by) if by else None
        blocks = list(numbers(pieces, ["a", "b", "c"], EVER, Numbers(by=grid, per_s=1_000_000_000)))
    found = [row for block in blocks for row in zip(*block.columns, strict=True)]
    assert found == [tuple(row.values()) for row in oracle(of_pieces, ["a", "b", "c"], EVER, grid, 1_000_000_000)]


def test_a_limit_names_the_start_of_the_first_bucket_that_is_left_out():
    times = np.arange(0, 10_000, 100)
    piece = Piece.of((times, times + 5))
    for most in (1, 3, 9, 10, 11):
        blocks = list(numbers([piece], ["a", "b"], EVER, Numbers(by=Grid.of("1s"), per_s=1_000, most=most)))
        rows = [row for block in blocks for row in zip(*block.columns, strict=True)]
        assert [row[0] for row in rows] == [1_000 * bucket for bucket in range(min(most, 10)) for _ in "ab"]
        assert blocks[-1].following == (1_000 * most if most < 10 else None)


@pytest.mark.parametrize("length", ["", "0s", "1", "1w", "s", "1.5h", "100000s", "-1s", "1 h"])
def test_a_length_that_is_none_is_refused(length: str):
    with pytest.raises(ValueError, match="a length such as"):
        Grid.of(length)


def test_an_unknown_zone_is_refused():
    for zone in ("Mars/Olympus", "../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(ValueError, match="a time zone such as"):
            Grid.of("1d", zone)
