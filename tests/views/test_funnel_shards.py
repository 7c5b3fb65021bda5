"""Shards of a funnel: their join is the answer of one process over the same records, or is refused if a key is in two shards."""

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.messages import Part
from actors.cluster.parcels import arguments_of, parcel_of, part_bytes, part_of, question_bytes, question_of
from actors.columns.partitioners import PARTITIONERS
from actors.columns.text import Text
from actors.replies import Coverage
from actors.sources.polled import Polled
from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.funnel.arguments import Cursor, Figures, Listing, Story, Totals
from actors.views.funnel.view import FunnelView
from actors.views.view import Silence
from tests.support.polled import in_columns
from tests.support.rendered import rendered
from tests.support.samples import FUNNEL, kept

SHARDS = 3
WITHIN = 40
PARCEL = parcel_of("funnel")
NUMBERS = dict(PARTITIONERS)
KEYS: list[int | str] = [*range(9), *(f"k{number}" for number in range(9)), "5", "ä", "k" * 300]
QUESTIONS: list[Any] = [
    Totals(),
    Totals("minute"),
    Figures(),
    Figures(by=Grid.of("1m"), per_s=1_000),
    Listing(),
    Listing(limit=3),
    Listing("open", limit=2),
    Listing("open"),
    Listing("lapsed", limit=2),
    Listing("complete", limit=1),
    Listing("lapsed", 1, limit=2),
    Listing(missing=2, limit=4),
    Listing(key=b"5"),
    Listing("open", key=b"k1", limit=1),
    Story(b"5"),
    Story("ä".encode()),
]

Event = tuple[int | str, int, int]
"""A key, a step and a time."""


def view_of(**more: Any) -> FunnelView:
    return FunnelView(**{**FUNNEL, "within": WITHIN, "max_sequences": 6, **more})


def text_of(key: int | str) -> bytes:
    return str(key).encode()


def partition_of(key: int | str, partitioner: str, partitions: int) -> int:
    return int(NUMBERS[partitioner](Text.of([text_of(key)]))[0]) % partitions


def polled_at(values: Sequence[bytes], partitions: Sequence[int], first: int) -> Polled:
    return Polled(
        in_columns(values),
        np.array(partitions, np.uint16),
        lambda: np.arange(first, first + len(values)),
        lambda: np.arange(first, first + len(values)),
    )


class Slices:
    """A view with its slices, as the collectors of one process or of one shard have them."""

    def __init__(self, view: Any) -> None:
        self.view = view
        self.live = view.open(None)
        self.aged: list[Any] = []
        self.records = 0

    def take(self, events: Sequence[Event], partitions: Sequence[int], watermark: int | None) -> None:
        steps = FUNNEL["steps"]
        values = [json.dumps({"order": key, "type": steps[step], "at": at}).encode() for key, step, at in events]
        decoded = self.view.decode(polled_at(values, partitions, self.records))
        assert decoded.accepted is None or decoded.accepted.all()
        self.records += len(values)
        if decoded.batch.count:
            self.live.add(decoded.batch, watermark)
        self.close(watermark, None)

    def close(self, watermark: int | None, silence: Silence | None) -> None:
        self.live.close(watermark, silence)
        while self.live.full:
            frozen, carry = self.live.freeze()
            while frozen.settle():
                pass
            self.aged.append(frozen)
            self.live = self.view.open(carry)

    def restart(self) -> None:
        self.aged = [self.view.thaw(kept(each.state())) for each in self.aged]
        self.live = self.view.revive(kept(self.live.state()))

    def read(self, span: Span, arguments: Any) -> Any:
        return self.view.merge([part.read(span, arguments) for part in (*self.aged, self.live)])

    def shown(self, partial: Any, span: Span, arguments: Any) -> bytes:
        return b"".join(rendered(self.view, partial, span, arguments, "json", self.view.remarks(partial, arguments)))


def shards_of(partitions: int, complaints: list[str], **more: Any) -> list[Slices]:
    return [
        Slices(
            PARCEL.of_shard(
                view_of(**more), shard=shard, shards=SHARDS, partitions=lambda: partitions, complain=complaints.append
            )
        )
        for shard in range(SHARDS)
    ]


def sent(shard: Slices, partial: Any, arguments: Any) -> Any:
    """Return a partial as another process gets it."""
    part = Part(partial, Coverage(None, None, None), None, idle=False, epoch=1)
    found = part_of("funnel", shard.view, part_bytes("funnel", shard.view, part, arguments))
    assert isinstance(found, Part)
    return found.partial


def asked(shards: Sequence[Slices], span: Span, arguments: Any, clock: int | None, here: Sequence[bool]) -> Any:
    """Return the join of what shards say when they are asked as the gatherer asks. Those that are `here` send nothing."""
    question, asked_span = PARCEL.first(arguments, span)
    while True:
        again = question_of(question_bytes("f", 0, 1, span=asked_span, arguments=question, deadline_s=1.0))
        assert arguments_of(again, "funnel") == question
        partials = [
            shard.read(asked_span, question) if own else sent(shard, shard.read(asked_span, question), question)
            for shard, own in zip(shards, here, strict=True)
        ]
        further = PARCEL.further(arguments, question, partials, clock=clock)
        if further is None:
            assert PARCEL.refusal(partials) is None
            return PARCEL.joined(shards[0].view, partials, until=clock, idle=False, clock=clock, span=span, arguments=arguments)
        question = further


def alike(whole: Slices, shards: Sequence[Slices], clock: int, here: Sequence[bool]) -> None:
    """Compare all answers of the whole with those of the shards, page by page."""
    for span in (EVER, Span(20, 90)):
        for arguments in QUESTIONS:
            at: Any = arguments
            for _ in range(30):
                joined, right = asked(shards, span, at, clock, here), whole.read(span, at)
                assert whole.shown(joined, span, at) == whole.shown(right, span, at), at
                following = [block.following for block in whole.view.blocks(right, span, at)]
                cursor = following[-1] if following else None
                if not isinstance(at, Listing) or not isinstance(cursor, Cursor):
                    break
                at = Listing(at.state, at.missing, at.key, at.limit, cursor)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    keys, steps = st.sampled_from(KEYS[: draw(st.integers(1, len(KEYS)))]), st.integers(0, 2)
    found = draw(st.lists(st.tuples(keys, steps, st.integers(0, 9)), min_size=1, max_size=70))
    times = np.cumsum([gap for _, _, gap in found]).tolist()
    return [(key, step, at) for (key, step, _), at in zip(found, times, strict=True)]


@given(
    streams(),
    st.sampled_from(sorted(NUMBERS)),
    st.sampled_from([3, 5, 6, 7]),
    st.randoms(use_true_random=False),
)
def test_the_join_of_shards_is_the_answer_of_one_process(
    events: list[Event], partitioner: str, partitions: int, chance: random.Random
):
    complaints: list[str] = []
    whole, shards = Slices(view_of()), shards_of(partitions, complaints)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.views.funnel.pieces.PIECE_ROWS", 8)
        patch.setattr("actors.views.funnel.store._ALWAYS", 5)
        placed = [(event, partition_of(event[0], partitioner, partitions)) for event in events]
        waiting = [[each for each in placed if each[1] % SHARDS == shard] for shard in range(SHARDS)]
        fronts = [0 if own else None for own in waiting]  # a shard without records holds nothing back
        here = [chance.random() < 0.5 for _ in shards]
        while any(waiting):
            shard = chance.choice([number for number, own in enumerate(waiting) if own])
            cut = chance.randrange(1, len(waiting[shard]) + 1)
            polled, waiting[shard] = waiting[shard][:cut], waiting[shard][cut:]
            fronts[shard] = polled[-1][0][2]
            clock = min(front for front in fronts if front is not None)
            for taker, watermark in ((shards[shard], fronts[shard]), (whole, clock)):
                taker.take([event for event, _ in polled], [place for _, place in polled], watermark)
            if chance.random() < 0.2:
                shards[shard].restart()
        alike(whole, shards, clock, here)
        silence = events[-1][2] + chance.randrange(2 * WITHIN)
        whole.close(clock, Silence(silence))
        for shard_, front in zip(shards, fronts, strict=True):
            shard_.close(front, Silence(chance.randrange((front or 0), silence + 1)) if front is not None else None)
        alike(whole, shards, silence, here)
    assert complaints == []


@pytest.mark.parametrize("partitions", [3, 7])
def test_records_in_any_partition_are_refused_with_the_place_of_one_of_them(partitions: int):
    complaints: list[str] = []
    shards = shards_of(partitions, complaints)
    right = [number for number in range(500) if partition_of(number, "murmur2", partitions) % SHARDS == 0]
    shards[0].take([(number, 0, 1) for number in right], [0] * len(right), 1)
    assert PARCEL.refusal([shard.read(EVER, Totals()) for shard in shards]) is None
    wrong = next(number for number in range(500) if partition_of(number, "murmur2", partitions) % SHARDS == 1)
    shards[0].take([(number, 0, 2) for number in (*right[:9], wrong, *right[9:20])], [0] * 21, 2)
    found = PARCEL.refusal([sent(shard, shard.read(EVER, Totals()), Totals()) for shard in shards])
    assert found is not None
    assert f"partition 0, offset {len(right) + 9}," in found
    assert len(complaints) == 1
    shards[0].take([(right[0], 1, 3)], [0], 3)
    shards[0].restart()
    assert PARCEL.refusal([shard.read(EVER, Totals()) for shard in shards]) == found
    assert len(complaints) == 1


def test_shards_with_keys_by_different_partitioners_are_refused():
    shards = shards_of(3, [])
    for shard, partitioner in enumerate(("murmur2", "CRC-32")):
        own = [number for number in range(300) if partition_of(number, partitioner, 3) == shard]
        shards[shard].take([(number, 0, 1) for number in own], [shard] * len(own), 1)
    partials = [shard.read(EVER, Totals()) for shard in shards]
    assert PARCEL.refusal(partials[:1]) is None
    assert PARCEL.refusal(partials[1:]) is None
    assert "several partitioners" in str(PARCEL.refusal(partials))


@pytest.mark.parametrize(
    ("before", "after", "moves"), [(3, 6, False), (6, 9, False), (3, 4, True), (4, 8, True), (7, 7, False)]
)
def test_new_partitions_move_keys_to_other_shards_unless_both_numbers_are_multiples_of_the_shards(
    before: int, after: int, moves: bool
):
    counts = [before]
    shard = Slices(PARCEL.of_shard(view_of(), shard=1, shards=SHARDS, partitions=lambda: counts[0], complain=lambda _: None))
    for counts[0] in (before, after):
        own = [(number, partition_of(number, "FNV-1a", counts[0])) for number in range(300)]
        mine = [(number, place) for number, place in own if place % SHARDS == 1]
        shard.take([(number, 0, counts[0]) for number, _ in mine], [place for _, place in mine], 1)
    found = PARCEL.refusal([shard.read(EVER, Totals())])
    assert (found is not None) == moves
    assert found is None or "more partitions" in found


def test_an_answer_of_frozen_slices_is_steady_once_all_shards_have_passed_the_limits():
    shards = shards_of(3, [])
    for number, shard in enumerate(shards[:2]):
        own = [key for key in range(100) if partition_of(key, "murmur2", 3) == number]
        shard.take([(key, 0, 10) for key in own], [number] * len(own), 10)
        shard.close(10, Silence(10 + WITHIN + 1))
    past = Span(0, 11)
    for clock, right in ((10 + WITHIN, False), (11 + WITHIN, True)):
        joined = asked(shards, past, Totals(), clock, [True] * 3)
        assert PARCEL.steady(shards[0].view, joined, Totals()) == right
        assert PARCEL.steady(shards[0].view, joined, Figures())
    for shard in shards:
        assert shard.live.read(past, Totals()) == shard.view.merge([]), "an answer about the past has a tag"
