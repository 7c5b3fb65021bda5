"""What an explanation says of an event agrees with the sets, for every event of a random stream."""

import random
from collections import Counter
from typing import Any

import pytest

from actors.timeline.span import EVER, Span
from actors.views.sets.arguments import Explain
from actors.views.view import listed
from tests.support.batches import Event, batch
from tests.support.chains import Chain
from tests.support.trees import kept

Row = tuple[int, str, str | None, tuple[int | None, ...]]
"""A number of events, their state, why they stand in no set, and the times of their set."""


def told(chain: Chain, event: Event, limit: int | None = None) -> list[Row]:
    time, step = event
    wanted = Explain(limit=limit, step=step, time=time)
    chosen = chain.view.select([each.meta() for each in chain.frozen], EVER, wanted)
    parts: list[Any] = [*(chain.frozen[index] for index in chosen), chain.live]
    partial = chain.view.merge([part.read(Span(time, time + 1), wanted) for part in parts])
    rows: list[Row] = []
    for block in chain.view.blocks(partial, Span(time, time + 1), wanted):
        columns = [listed(column) for column in block.columns]
        rows += [(count, state, reason, tuple(times)) for count, state, reason, *times in zip(*columns, strict=True)]
    return rows


def streams(seed: int, most_late: int) -> tuple[Chain, list[list[Event]]]:
    """Return an empty chain, and the batches of a random stream."""
    chance = random.Random(seed)
    steps, spread = chance.choice([2, 3, 4]), chance.choice([15, 60, 300])
    events = sorted((chance.randrange(spread), chance.randrange(steps)) for _ in range(chance.randrange(1, 160)))
    order = sorted(range(len(events)), key=lambda place: place + chance.uniform(0, most_late))
    within = chance.choice([None, spread // 10, spread // 2])
    size = chance.randrange(1, 30)
    batches = [[events[number] for number in order[low : low + size]] for low in range(0, len(order), size)]
    return Chain(steps, chance.choice([2, 7, 10**6]), within), batches


@pytest.mark.parametrize("most_late", [0, 40])
@pytest.mark.parametrize("seed", range(12))
def test_every_event_stands_in_the_sets_that_are_listed_or_is_counted_with_a_reason(seed: int, most_late: int):
    chain, batches = streams(seed, most_late)
    came: Counter[Event] = Counter()
    for number, part in enumerate(batches):
        chain.add(batch(part, len(chain.view.steps)), None)
        came.update(part)
        if number % 5 == 1:
            chain.live = chain.view.revive(kept(chain.live.state()))
            chain.frozen = [chain.view.thaw(kept(each.state())) for each in chain.frozen]
        sets = chain.sets()
        for event, count in came.items() if number in {len(batches) // 2, len(batches) - 1} else ():
            rows = told(chain, event)
            assert sum(row[0] for row in rows) == count
            in_sets = Counter({times: own for own, state, _, times in rows if state == "set"})
            assert in_sets == Counter(each for each in sets if each[event[1]] == event[0])
            for _, state, reason, times in rows:
                assert (reason is None) == (state == "set") == (None not in times)
        for time, step in ((-1, 0), (10**6, 1)):
            assert told(chain, (time, step)) == []


@pytest.mark.parametrize("seed", range(12))
def test_events_in_order_that_are_unmatched_never_come_into_a_set(seed: int):
    chain, batches = streams(seed, 0)
    unmatched: dict[Event, int] = {}
    for part in batches:
        chain.add(batch(part, len(chain.view.steps)), None)
        before = part[-1][0]  # a later event at the same time may still use the others of this time
        for event in {each for own in batches for each in own if each[0] < before}:
            count = sum(row[0] for row in told(chain, event) if row[1] == "unmatched")
            assert count >= unmatched.get(event, 0)
            unmatched[event] = count


def test_the_reasons_say_what_an_event_lacks():
    chain = Chain(3, 10**6)
    chain.add(batch([(1, 1), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 1)]), None)
    assert told(chain, (1, 1)) == [(1, "unmatched", "no A before it that is in no other set", (None,) * 3)]
    assert told(chain, (3, 1)) == [(1, "set", None, (2, 3, 4))]
    assert told(chain, (5, 0)) == [(1, "waiting", "waits for C", (None,) * 3)]
    assert told(chain, (6, 0)) == [(1, "waiting", "waits for B", (None,) * 3)]
    assert told(chain, (7, 1)) == [(1, "waiting", "waits for C", (None,) * 3)]


def test_with_a_limit_the_reasons_say_that_it_is_over():
    chain = Chain(2, 10**6, 10)
    chain.add(batch([(1, 0), (1, 0), (12, 1), (20, 0)], 2), None)
    assert told(chain, (1, 0)) == [(2, "unmatched", "lapsed: no set for it within 10", (None,) * 2)]
    assert told(chain, (12, 1)) == [(1, "unmatched", "no A before it, in reach, that is in no other set", (None,) * 2)]
    assert told(chain, (20, 0)) == [(1, "waiting", "waits for the rest of a set, until 30", (None,) * 2)]


def test_equal_sets_are_one_row_and_no_more_rows_come_than_asked_for():
    chain = Chain(2, 10**6)
    chain.add(batch([(1, 0), (1, 0), (2, 1), (2, 1), (1, 0), (3, 1), (1, 0)], 2), None)
    assert told(chain, (1, 0)) == [
        (2, "set", None, (1, 2)),
        (1, "set", None, (1, 3)),
        (1, "waiting", "waits for B", (None,) * 2),
    ]
    assert told(chain, (1, 0), limit=1) == [(2, "set", None, (1, 2))]
    assert [row[0] for row in told(chain, (1, 0), limit=2)] == [2, 1]


def test_an_explanation_asks_only_the_slices_that_may_have_the_event():
    chain = Chain(2, 2)
    chain.add(batch([(time, time % 2) for time in range(80)], 2), None)
    metas = [each.meta() for each in chain.frozen]
    assert len(metas) > 10
    for time in range(79):
        assert len(chain.view.select(metas, EVER, Explain(step=time % 2, time=time))) <= 1
