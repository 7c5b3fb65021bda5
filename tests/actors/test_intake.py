"""Records that never came: what is said of them is narrowed as soon as it is known better, each one counted once."""

from dataclasses import replace

import numpy as np
import pytest

from actors.collecting.ledger import Ledger
from actors.messages import RecordsMissing
from actors.reading.intake import Intake
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from tests.support.polled import polled

VIEW = VIEWS["sets"](steps="RGB", max_sets=100)
LATENESS = 10


def intake() -> Intake:
    return Intake(view=VIEW, lateness=LATENESS, idle_s=1.0, buffer_events=1_000, keeps_dead=False)


def read(into: Intake, ledger: Ledger, time: int, partition: int = 0) -> None:
    """Take in one event of a partition, and have the ledger know what is known better then."""
    poll = replace(polled([f"R_{time}".encode()]), partitions=np.full(1, partition, np.uint16))
    for missed in into.take(poll, {**into.offsets, partition: time}, 0.0, 0.0):
        ledger.miss(missed)


def test_a_gap_ends_where_something_comes_after_it():
    into, ledger = intake(), Ledger(VIEW)
    read(into, ledger, 100)
    ledger.miss(into.gap(0, 7, "deleted"))
    assert ledger.missing == (Span(90, EVER.end),)
    read(into, ledger, 200)
    assert ledger.missing == (Span(90, 211),)
    assert ledger.missed == {"deleted": 7}


@pytest.mark.parametrize("reasons", [("deleted", "deleted"), ("recreated", "deleted"), ("recreated", "recreated", "recreated")])
def test_gaps_one_after_the_other_end_together(reasons: tuple[str, ...]):
    into, ledger = intake(), Ledger(VIEW)
    read(into, ledger, 100)
    for reason in reasons:
        ledger.miss(into.gap(0, 7, reason))
    again = intake()
    again.restore(into.state(), 0.0)
    read(again, ledger, 200)
    assert set(ledger.missing) == {Span(90, 211)}
    assert ledger.missed == {reason: 7 * reasons.count(reason) for reason in reasons}


def test_gaps_in_many_partitions_at_once_are_counted_once_and_end():
    into, ledger = intake(), Ledger(VIEW)
    partitions = range(150)
    for number in partitions:
        read(into, ledger, 100 + number, number)
    for number in partitions:
        ledger.miss(into.gap(number, 7, "deleted"))
    assert len(ledger.missing) <= 100
    for number in partitions:
        read(into, ledger, 1_000 + number, number)
    assert ledger.missed == {"deleted": 7 * 150}
    assert len(ledger.missing) == len(ledger.reasons()) == 100
    assert max(span.end for span in ledger.missing) < 2_000
    assert sum(count for _, _, count in ledger.reasons()) == 7 * 150


def test_a_ledger_tells_the_newest_hundred_spans_apart():
    ledger = Ledger(VIEW)
    for number in range(300):
        ledger.miss(RecordsMissing(f"gap {number}", "deleted", Span(10 * number, 10 * number + 5), 1))
    assert len(ledger.missing) == 100
    assert ledger.missing[0] == Span(0, 2_005)
    assert ledger.missed == {"deleted": 300}
