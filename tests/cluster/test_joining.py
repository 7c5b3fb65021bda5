"""The coverage and the identity of an answer that several shards give together."""

from actors.cluster.joining import coverage_of, origin_of
from actors.cluster.messages import Part
from actors.replies import Coverage
from actors.timeline.span import EVER, Span


def test_an_idle_shard_does_not_hold_back_what_is_complete():
    told = [Coverage(None, 10, None), Coverage(None, 50, None)]
    assert coverage_of(told, [False, False], ()).complete_to == 10
    assert coverage_of(told, [True, False], ()).complete_to == 50
    assert coverage_of(told, [True, True], ()).complete_to == 50
    assert coverage_of([Coverage(None, None, None), told[1]], [False, False], ()).complete_to is None
    assert coverage_of([Coverage(None, None, None), told[1]], [True, True], ()).complete_to == 50


def test_an_answer_is_complete_from_where_all_shards_are_and_final_where_all_are():
    told = [Coverage(None, 9, 5), Coverage(3, 9, 4, (Span(1, 2),)), Coverage(2, 9, 7, (Span(1, 2), Span(6, 7)))]
    found = coverage_of(told, [False] * 3, ())
    assert (found.complete_from, found.final_until, found.missing, found.absent) == (3, 4, (Span(1, 2), Span(6, 7)), ())
    assert coverage_of([*told, Coverage(None, 9, None)], [False] * 4, ()).final_until is None


def test_with_an_absent_shard_all_time_is_missing_and_the_shard_is_named():
    found = coverage_of([Coverage(None, 9, 5, (Span(1, 2),))], [False], ["words 1"])
    assert (found.missing, found.absent) == ((EVER,), ("words 1",))
    assert coverage_of([], [], ["words 0"]) == Coverage(None, None, None, (EVER,), ("words 0",))


def test_another_lease_or_another_slice_is_another_origin():
    def part(origin: tuple[tuple[int, int], ...] | None, epoch: int) -> Part:
        return Part((), Coverage(None, None, None), origin, idle=True, epoch=epoch)

    found = [
        origin_of({0: part(((1, 1),), 4), 1: part(((1, 1),), 5)}),
        origin_of({0: part(((1, 1),), 4), 1: part(((1, 1),), 6)}),
        origin_of({0: part(((1, 1), (2, 1)), 4), 1: part((), 5)}),
        origin_of({0: part(((1, 1),), 4), 1: part(((2, 1),), 5)}),
        origin_of({0: part(((1, 1),), 4), 2: part(((1, 1),), 5)}),
    ]
    assert None not in found
    assert len(set(found)) == len(found)
    assert origin_of({0: part(((1, 1),), 4), 1: part(None, 5)}) is None
