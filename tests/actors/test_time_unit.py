"""`time_unit: auto`: the first plausible time decides the unit, in any polls, over a restart, and in any order of partitions."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.columns.values import Values
from actors.reading.first_polls import FirstPolls
from actors.reading.intake import Intake
from actors.reading.pace import Pace
from actors.sources.polled import Place, Polled
from actors.timeline.horizon import Ahead, Horizon
from actors.timeline.unit import UNITS, TimeUnit, unit_of
from actors.views.kinds import VIEWS
from actors.views.sets.arguments import Page
from scripts.checkout import ROOT
from tests.support.listed import listed
from tests.support.polled import polled

VIEW = VIEWS["sets"](steps="RGB", max_sets=100)
BEGINNING_S = 1_685_695_916
NOW_S = 1_700_000_000
HOUR_MS = 3_600_000


def intake(unit: TimeUnit, *, ahead: Ahead | None = None) -> Intake:
    fresh = Intake(
        view=VIEW,
        lateness=500,
        idle_s=1.0,
        pace=Pace(),
        keeps_dead=True,
        unit=unit,
        horizon=Horizon(ahead or Ahead(HOUR_MS)),
    )
    return fresh.anew(None, 0.0)


def read(into: Intake, values: list[bytes], partition: int = 0) -> list[Any]:
    """Read a poll. Return its dead letters."""
    first = into.place.offsets.get(partition, 0)
    poll = replace(polled(values, first=first), partitions=np.full(len(values), partition, np.uint16))
    into.prepare(0.0, 0.0, NOW_S)
    return into.take(poll, Place({**into.place.offsets, partition: first + len(values)}), 0.0, NOW_S).dead


def state_of(into: Intake) -> tuple[Any, ...]:
    """Return everything that must not depend on the polls: events that wait or are apart, counts, and the unit."""
    batch = into._order.flush()
    into._order.add(batch)
    report = into.report(0.0)
    return (
        [sorted(column.tolist()) for column in batch.times],
        (report.records, report.events, dict(report.rejects), report.ahead, report.apart, report.unit),
        into.watermark(0.0),
    )


TIMES = st.one_of(
    st.integers(0, 9_000),
    st.integers(0, 2**63 - 1),
    st.tuples(st.sampled_from([*UNITS.values(), 1, 1, 1]), st.integers(0, 100)).map(
        lambda drawn: (BEGINNING_S + drawn[1]) * drawn[0]
    ),
)
VALUES = st.lists(st.one_of(st.just(b"junk"), TIMES.map(lambda time: f"{'RGB'[time % 3]}_{time}".encode())), max_size=40)


@given(VALUES, st.lists(st.integers(0, 40), max_size=4), st.integers(0, 40))
def test_polls_and_restarts_change_nothing(values: list[bytes], cuts: list[int], restart: int):
    whole, parts, unit = intake(TimeUnit(None)), intake(TimeUnit(None)), TimeUnit(None)
    read(whole, values)
    bounds = [0, *sorted(min(cut, len(values)) for cut in [*cuts, restart]), len(values)]
    for low, high in pairwise(bounds):
        if low == min(restart, len(values)):
            state = parts.state()
            parts = intake(unit).anew(state, 0.0)
        read(parts, values[low:high])
    assert state_of(parts) == state_of(whole)


@given(VALUES)
def test_every_event_is_taken_in_or_is_a_dead_letter_with_the_reason(values: list[bytes]):
    into = intake(TimeUnit(None))
    dead = read(into, values)
    times = [int(value[2:]) for value in values if value != b"junk"]
    unit = next((found for found in map(unit_of, times) if found is not None), None)
    strange = [time for time in times if unit_of(time) not in {None, unit}]
    assert sorted(int(each.value[2:]) for each in dead if each.reason == "time_unit") == sorted(strange)
    report = into.report(0.0)
    assert (report.events, report.rejects.get("time_unit", 0)) == (len(times) - len(strange), len(strange))


@pytest.mark.parametrize("name", UNITS)
def test_a_decided_unit_reads_as_the_same_unit_given(name: str):
    values = [f"{'RGB'[number % 3]}_{(BEGINNING_S * UNITS[name]) + 7 * number}".encode() for number in range(60)]
    factor = UNITS[name] / UNITS["ms"]
    ahead = Ahead(int(HOUR_MS * factor), per_s=UNITS[name])
    given_unit = TimeUnit(name)
    wanted = Intake(
        view=VIEW,
        lateness=max(1, int(500 * factor)),
        idle_s=1.0,
        pace=Pace(),
        keeps_dead=True,
        unit=given_unit,
        horizon=Horizon(ahead),
    ).anew(None, 0.0)
    for into in (found := intake(TimeUnit(None))), wanted:
        read(into, [*values, f"R_{(NOW_S + 7_000) * UNITS[name]}".encode()])
    assert (found.report(0.0).apart, found.report(0.0).unit.name) == (1, name)
    assert state_of(found)[0] == state_of(wanted)[0]
    assert found.watermark(0.0) == wanted.watermark(0.0)
    assert clock_of(found) == clock_of(wanted)


def clock_of(into: Intake) -> Any:
    report = into.report(0.0)
    return (report.watermark, report.ahead, report.apart_from, into.silence(0.0), into._lateness)


def test_a_checkpoint_of_an_earlier_version_is_decided_by_its_times():
    before = intake(TimeUnit())
    read(before, [f"{'RGB'[number % 3]}_{BEGINNING_S + number}".encode() for number in range(30)])
    state = {key: value for key, value in before.state().items() if key != "unit"}
    after = intake(TimeUnit(None)).anew(state, 0.0)
    assert after.report(0.0).unit.name == "s"
    assert [dead.reason for dead in read(after, [f"R_{BEGINNING_S * 1_000}".encode(), f"R_{BEGINNING_S + 31}".encode()])] == [
        "time_unit"
    ]


def test_a_golden_checkpoint_keeps_all_of_its_sets(tmp_path: Path):
    folder = shutil.copytree(ROOT / "tests" / "golden" / "sets", tmp_path / "sets")
    found = []
    for unit in (TimeUnit(), TimeUnit(None)):
        with listed(
            VIEW, [b"read before"] * 10_000, folder=Path(shutil.copytree(folder, tmp_path / str(id(unit)))), unit=unit
        ) as on:
            on.saved()
            found.append(on.shown(Page(None, None)))
    assert found[0] == found[1] != '{"sets":[]}'


# Several partitions ---------------------------------------------------------------------------------------------------


def parts_of(chance: random.Random) -> dict[int, list[tuple[bytes, int]]]:
    """Return the records of some partitions, which begin with different units, with their timestamps in Kafka."""
    found = {}
    for number in range(chance.randrange(2, 5)):
        per_s = chance.choice([*UNITS.values()])
        early = [b"junk"] * chance.randrange(3) + [b"R_5"] * chance.choice([0, 0, 1, 30, 1_001])
        times = [f"R_{(BEGINNING_S + each) * per_s}".encode() for each in range(chance.choice([0, 5, 20]))]
        began = chance.randrange(1_000)
        found[number] = [(value, began + place) for place, value in enumerate([*early, *times])]
    return found


def polls(parts: dict[int, list[tuple[bytes, int]]], chance: random.Random) -> Iterator[tuple[Polled, Place]]:
    """Yield the records in polls of one partition, in a random order of partitions. The last poll of each has its end."""
    offsets = dict.fromkeys(parts, 0)
    left = list(parts)
    while left:
        number = chance.choice(left)
        low = offsets[number]
        high = offsets[number] = min(len(parts[number]), low + chance.choice([1, 5, 400]))
        if ended := high == len(parts[number]):
            left.remove(number)
        values, stamps = [value for value, _ in parts[number][low:high]], [stamp for _, stamp in parts[number][low:high]]
        yield (
            Polled(
                Values.of(values),
                np.full(len(values), number, np.uint16),
                lambda low=low, high=high: np.arange(low, high),
                lambda stamps=stamps: np.array(stamps, np.int64),
                ended=frozenset({number} if ended else ()),
            ),
            Place(dict(offsets)),
        )


@pytest.mark.parametrize("seed", range(40))
def test_the_order_of_partitions_decides_nothing(seed: int):
    parts = parts_of(random.Random(seed))
    decided, units = [], []
    for order in range(4):
        unit = TimeUnit(None)
        into = intake(unit)
        into.skip([], Place(dict.fromkeys(parts, 0)))
        first = FirstPolls(VIEW, unit, into.decide, fresh=True)
        for poll, place in polls(parts, random.Random(f"{seed} {order}")):
            for each, end in first.offer(poll, place, parts, at_once=False):
                into.take(each, end, 0.0, NOW_S)
        assert not first.open
        decided.append(unit.now)
        report = into.report(0.0)
        units.append((report.records, report.events, sorted(report.rejects.items())))
        assert into.place.offsets == {number: len(own) for number, own in parts.items()}
    events = [[(stamp, int(value[2:])) for value, stamp in own if value != b"junk"][:1_000] for own in parts.values()]
    firsts = sorted(next(each for each in own if unit_of(each[1])) for own in events if any(unit_of(time) for _, time in own))
    if firsts:
        assert len(set(decided)) == len({str(each) for each in units}) == 1
        assert decided[0].name in {unit_of(time) for stamp, time in firsts if stamp == firsts[0][0]}


def test_polls_wait_no_longer_than_their_bytes_or_a_trouble_allow():
    def opened() -> FirstPolls:
        unit = TimeUnit(None)
        unit.begin(None, ())
        return FirstPolls(VIEW, unit, unit.decide, fresh=True)

    def count(first: FirstPolls, value: bytes, *, at_once: bool = False) -> int:
        return len(first.offer(replace(polled([value]), ended=frozenset()), Place(), {0: 0, 1: 0}, at_once=at_once))

    large, plain = b"R_5" + b" " * 5_000_000, opened()
    assert [count(plain, b"R_5"), count(plain, b"R_5"), count(plain, b"R_5", at_once=True), count(plain, b"R_5")] == [
        0,
        0,
        3,
        1,
    ]
    assert [count(each := opened(), large), count(each, large), count(each, large)] == [0, 2, 1]
