"""Sets that a matcher has given to shelves: answers from both are those of one process with enough memory."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.messages import Part
from actors.cluster.parcels import arguments_of, part_bytes, part_of, question_bytes, question_of
from actors.columns import snapshot
from actors.columns.snapshot import DamagedError
from actors.replies import Coverage
from actors.timeline.grid import Grid
from actors.timeline.span import EVER, Span
from actors.views.sets import slices
from actors.views.sets.arguments import Buckets, Cursor, Explain, Numbers, Page
from actors.views.sets.parcel import asks, fetching, filled, matcher, shelf_of, taken
from actors.views.sets.parcel.slips import NamedSets, NumberedSets
from actors.views.sets.view import SetsView
from actors.views.view import Frozen, Live
from tests.support.batches import batch
from tests.support.rendered import rendered

SHARDS = 3


@dataclass
class Topic:
    """The topic of the shelves: the offset and the bytes of each generation that is there."""

    places: dict[str, int] = field(default_factory=dict)
    bytes_of: dict[str, bytes] = field(default_factory=dict)

    def place_of(self, name: str) -> int | None:
        return self.places.get(name)

    def publish(self, generation: NamedSets) -> None:
        data = bytearray()
        snapshot.write("generation", generation.state(), data.extend)
        self.places[generation.name], self.bytes_of[generation.name] = len(self.places), bytes(data)

    def read(self, name: str) -> Any:
        """Return the state of a generation."""
        return snapshot.read("generation", self.bytes_of[name])


def sent(view: Any, partial: Any, arguments: Any) -> Any:
    """Return a partial as another process gets it."""
    part = Part(partial, Coverage(None, None, None), None, idle=False, epoch=1)
    found = part_of("sets", view, part_bytes("sets", view, part, arguments))
    assert isinstance(found, Part)
    return found.partial


def again(arguments: Any) -> Any:
    """Return arguments as another process gets them."""
    question = question_of(question_bytes("events", 0, 1, span=EVER, arguments=arguments, deadline_s=1.0))
    return arguments_of(question, "sets")


class Pair:
    """One process with all sets, and a matcher with shelves, over the same events."""

    def __init__(self, chance: random.Random, *, within: int | None) -> None:
        self.chance = chance
        self.view = SetsView(steps="abc", max_sets=chance.choice([1, 3, 20]), within=within)
        self.topic = Topic()
        self.matching = matcher(self.view, self.topic)
        self.alone: list[Frozen] = []
        self.aged: list[NamedSets] = []
        self.live: Live = self.view.open(None)
        self.matched: Live = self.matching.open(None)

    def add(self, events: list[tuple[int, int]]) -> None:
        given_batch = batch(events)
        self.live.add(given_batch, events[0][0] - 5)
        self.matched.add(given_batch, events[0][0] - 5)
        while self.live.full:
            assert self.matched.full
            frozen, carry = self.live.freeze()
            named, named_carry = self.matched.freeze()
            assert isinstance(named, NamedSets)
            for each in (frozen, named):
                while each.settle():
                    pass
            self.alone.append(frozen)
            self.aged.append(named)
            self.live, self.matched = self.view.open(carry), self.matching.open(named_carry)

    def age(self) -> None:
        """Publish some generations, give some of those away, and go through a checkpoint now and then."""
        for each in self.aged:
            if self.chance.random() < 0.5 and each.name not in self.topic.places:
                self.topic.publish(each)
            if self.chance.random() < 0.7:
                each.coarsen()
        if self.chance.random() < 0.3:
            self.aged = [self.matching.thaw(kept("generation", each.state())) for each in self.aged]  # type: ignore[misc]
            self.matched = self.matching.revive(kept("checkpoint", self.matched.state()))

    def part(self, span: Span, arguments: Any) -> Any:
        """Return the matcher's part of an answer, as the manager makes it."""
        metas = [each.meta() for each in self.aged]
        chosen = [self.aged[index] for index in self.matching.select(metas, span, arguments)]
        return self.matching.merge([each.read(span, arguments) for each in (*chosen, self.matched)])

    def answer(self, span: Span, arguments: Any, lost: frozenset[int] = frozenset()) -> tuple[Any, tuple[Span, ...]]:
        """Return what clients get, and what is missing. The shelves `lost` give no part."""
        assert list(asks(arguments, SHARDS)) == [0]
        partial = sent(self.view, self.part(span, again(arguments)), arguments)
        fetch = fetching(partial, arguments, SHARDS)
        if fetch is None:
            return partial, ()
        fetch = again(fetch)
        boxes: list[Any] = []
        for shard in asks(fetch, SHARDS):
            assert 0 < shard < SHARDS
            own = [name for name, number, _ in fetch.wanted if shelf_of(number, SHARDS) == shard]
            found = [taken(self.view.thaw(self.topic.read(name)), name, span, fetch) for name in own]
            boxes += sent(self.view, tuple(found), fetch) if shard not in lost else ()
        pieces, slips = filled(partial, boxes)
        return pieces, tuple(slip.span for slip in slips)

    def whole(self, span: Span, arguments: Any) -> Any:
        metas = [each.meta() for each in self.alone]
        chosen = [self.alone[index] for index in self.view.select(metas, span, arguments)]
        return self.view.merge([each.read(span, arguments) for each in (*chosen, self.live)])

    def shown(self, partial: Any, span: Span, arguments: Any) -> bytes:
        return b"".join(rendered(self.view, partial, span, arguments))


def kept(kind: str, state: Any) -> Any:
    data = bytearray()
    snapshot.write(kind, state, data.extend)
    return snapshot.read(kind, bytes(data))


def fed(seed: int, *, late: bool = False, within: int | None = None) -> Pair:
    chance = random.Random(seed)
    pair = Pair(chance, within=within)
    at = 0
    for _ in range(chance.randrange(2, 14)):
        events = []
        for _ in range(chance.randrange(1, 60)):
            at += chance.choice([0, 1, 1, 5])
            events.append((max(0, at - (chance.randrange(40) if late else 0)), chance.randrange(3)))
        events.sort()
        pair.add(events)
        pair.age()
    return pair


def questions(chance: random.Random) -> list[tuple[Span, Any]]:
    low = chance.randrange(0, 900)
    spans = [EVER, Span(low, low + chance.randrange(1, 500)), Span(low, low + 1), Span(0, low + 1)]
    found: list[tuple[Span, Any]] = [
        (span, arguments)
        for span in spans
        for arguments in (
            Page(),
            Page(chance.randrange(1, 30)),
            Page(chance.randrange(1, 5), Cursor((low, low + 1, low + 2), chance.randrange(3))),
            Buckets(width=chance.randrange(1, 50)),
            Numbers(by=Grid.of("1s"), per_s=chance.choice([1, 10])),
            Numbers(),
        )
    ]
    for step in range(3):
        time = chance.randrange(0, 600)
        found.append((Span(time, time + 1), Explain(limit=10, step=step, time=time)))
    return found


@given(st.integers(0, 1 << 30), st.booleans(), st.sampled_from([None, 30]), st.sampled_from([2, slices.CHUNK]))
def test_answers_of_a_matcher_and_its_shelves_are_those_of_one_process(seed: int, late: bool, within: int | None, chunk: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "CHUNK", chunk)
        pair = fed(seed, late=late, within=within)
    chance = random.Random(seed)
    for span, arguments in chance.sample(questions(chance), 6):
        partial, missing = pair.answer(span, arguments)
        assert not missing
        assert pair.shown(partial, span, arguments) == pair.shown(pair.whole(span, arguments), span, arguments)


def test_pages_by_their_cursors_are_the_whole_answer():
    for seed in range(3):
        pair = fed(seed)
        told, page = [], Page(3)
        while True:
            partial, missing = pair.answer(EVER, page)
            assert not missing
            blocks = list(pair.view.blocks(partial, EVER, page))
            told += [tuple(map(int, row)) for block in blocks for row in zip(*block.columns, strict=True)]
            if (following := blocks[-1].following if blocks else None) is None:
                break
            assert isinstance(following, Cursor)
            page = Page(3, following)
            pair.age()  # a cursor names no generation, so it holds while they move
        whole = pair.view.blocks(pair.whole(EVER, Page()), EVER, Page())
        assert told == [tuple(map(int, row)) for block in whole for row in zip(*block.columns, strict=True)]


def test_counts_and_bounds_are_those_of_one_process_wherever_the_sets_are():
    for seed in range(5):
        pair = fed(seed, late=True)
        alone = [each.meta() for each in (*pair.alone, pair.live)]
        matched = [each.meta() for each in (*pair.aged, pair.matched)]
        for one, other in zip(alone, matched, strict=True):
            assert (one.span, one.events, one.final_until) == (other.span, other.events, other.final_until)
            figures = [(each.sets, each.residue, each.bound, each.waiting, each.until) for each in (one.summary, other.summary)]
            assert figures[0] == figures[1]
        assert any(each.read(EVER, Page()) for each in pair.aged) == any(each.read(EVER, Page()) for each in pair.alone)


def test_what_no_shelf_has_is_missing_and_the_rest_is_there():
    lost = 0
    for seed in range(8):
        pair = fed(seed)
        partial, missing = pair.answer(EVER, Page(), frozenset({1}))
        gone = [each for each in pair.aged if each.name in pair.topic.places and each.read(EVER, Page())]
        away = [each for each in gone if not isinstance(each.read(EVER, Page())[0], slices.Piece)]
        absent = [each for each in away if shelf_of(each.number, SHARDS) == 1]
        assert set(missing) == {each.meta().span for each in absent}
        lost += len(absent)
        sets = sum(len(block.columns[0]) for block in pair.view.blocks(partial, EVER, Page()))
        whole = sum(each.meta().summary.sets for each in (*pair.aged, pair.matched))
        assert sets == whole - sum(each.meta().summary.sets for each in absent)
    assert lost


def test_a_generation_is_kept_until_the_topic_has_it_and_its_memory_is_free_after():
    pair = fed(3)
    held = next(each for each in pair.aged if each.name not in pair.topic.places)
    before = held.read(EVER, Page())
    held.coarsen()
    assert held.read(EVER, Page()) == before
    assert before
    pair.topic.publish(held)
    held.coarsen()
    assert [each.name for each in held.read(EVER, Page())] == [held.name]
    assert list(held.state()["pieces"]) == []


def test_a_part_of_short_pages_has_few_pieces():
    pair = fed(11)
    pair.topic.places.clear()
    sets = [piece for each in pair.alone for piece in each.read(EVER, Page())]
    assert len(sets) > 10
    assert len(sent(pair.view, tuple(sets), Page(1))) < 10
    assert len(sent(pair.view, tuple(sets), Page())) == len(sets)


def test_wrong_states_are_refused():
    pair = fed(3)
    state = pair.aged[0].state()
    for name, value in {"name": 7, "number": "x", "slip": ["a"], "pieces": 3}.items():
        with pytest.raises((ValueError, TypeError, KeyError, DamagedError)):
            pair.matching.thaw({**state, name: value} if name != "name" else {"pieces": []})
    assert isinstance(pair.matched, NumberedSets)
    with pytest.raises((ValueError, TypeError, KeyError)):
        pair.matching.revive({"live": pair.matched.state()["live"]})
