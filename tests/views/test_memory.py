"""The bytes that a slice reports match the memory in use: live, after a read, frozen, compressed, and revived."""

import gc
import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from actors.columns import snapshot
from actors.columns.text import Text
from actors.durability.spool import Spool
from actors.records.form import Form, TimeAt
from actors.timeline.batch import Batch
from actors.timeline.span import EVER
from actors.views.funnel.arguments import Totals
from actors.views.funnel.decode import Keyed
from actors.views.funnel.view import FunnelView
from actors.views.segments.arguments import Listing
from actors.views.segments.view import SegmentsView
from actors.views.sets.arguments import Page
from actors.views.sets.view import SetsView
from actors.views.top.arguments import Top
from actors.views.top.view import TopView
from actors.views.uniques.arguments import Rows
from actors.views.uniques.decode import Frames
from actors.views.uniques.view import UniquesView
from actors.views.words.arguments import Counting
from actors.views.words.view import WordsView
from tests.support.polled import polled
from tests.support.trees import file_of

UNIQUES = UniquesView(max_cells=10**6, max_hashes=10**8)
SEGMENTS = SegmentsView(segments=10, spool=Spool(None))
SETS = SetsView(steps=["R", "G", "B"], max_sets=10**6)


def times(view: SetsView, *, waiting: bool) -> Iterator[Batch]:
    columns = tuple(np.sort(np.random.default_rng(step).integers(0, 10**9, 300_000)) for step in range(3))
    yield Batch(columns if not waiting else (columns[0], columns[0][:0], columns[0][:0]))


def frames(view: UniquesView, *, minutes: int, users: int) -> Iterator[Frames]:
    for minute in range(minutes):
        hashes = np.random.default_rng(minute).integers(0, 2**63, users).astype(np.uint64)
        yield Frames(np.full(users, 1_468_238_400_000 + 60_000 * minute), hashes)


def lines(view: Any, line: Callable[[int], str], count: int = 8_000) -> Iterator[Any]:
    for start in range(0, count, 1_000):
        yield view.decode(polled([line(number).encode() for number in range(start, start + 1_000)], first=start)).batch


def orders(view: FunnelView, *, steps: int) -> Iterator[Keyed]:
    """Yield the first `steps` steps of 20,000 keys of 36 letters, at random times."""
    keys = Text.of([f"{random.Random(number).getrandbits(144):036x}".encode() for number in range(20_000)])
    for step in range(steps):
        times = np.random.default_rng(step).integers(0, 10**6, 20_000) + step * 10**6
        yield Keyed(keys, keys.hashes(), times, np.full(20_000, step, np.int8))


def event(data: str, second: int) -> str:
    return f'{{"event_type": "baz", "data": "{data}", "timestamp": {second}}}'


def segment(number: int, segments: int, size: int) -> str:
    data = sorted(random.Random(number).randrange(10**6) for _ in range(size))
    return f'{{"batch_id": {3 * (number // segments)}, "segment_id": {number % segments}, "data": {data}}}'


@dataclass(frozen=True)
class Kind:
    """Events of a view, and the largest ratio of the reported bytes to the memory in use, of live and of frozen slices."""

    view: Any
    batches: Callable[[Any], Iterator[Any]]
    arguments: Any
    live: float = 1.4
    frozen: float = 1.5
    is_revived: bool = True
    watermark: int | None = None


FUNNEL = FunnelView(steps=["a", "b"], within=10**7, record=Form({"step": "/s", "key": "/k"}, TimeAt("/t")), max_sequences=10**6)


KINDS = {
    "sets": Kind(SETS, lambda view: times(view, waiting=False), Page(), 1.25, 1.25, is_revived=False),
    "waiting events": Kind(SETS, lambda view: times(view, waiting=True), Page(), 1.25, 1.25, is_revived=False),
    "open sequences": Kind(FUNNEL, lambda view: orders(view, steps=1), Totals(), 1.25),
    "complete sequences": Kind(FUNNEL, lambda view: orders(view, steps=2), Totals(), 1.25, 1.25, watermark=10**7),
    "ids": Kind(TopView(), lambda view: lines(view, lambda number: f"id{number}_{number}"), Top(), 1.5),
    "periods": Kind(UNIQUES, lambda view: frames(view, minutes=2_000, users=1), Rows("year"), 1.5),
    "users": Kind(UNIQUES, lambda view: frames(view, minutes=8, users=20_000), Rows("year"), 1.5),
    "different words": Kind(
        WordsView(), lambda view: lines(view, lambda n: event(f"word{n * 7919 % 1_000_003} other{n}", n // 400)), Counting("words"),
        1.4, 1.25,
    ),
    "few words": Kind(
        WordsView(), lambda view: lines(view, lambda n: event(f"lorem ipsum {'dolor' if n % 5 else 'sit'}", n // 3)),
        Counting("words"), 1.4, 1.25,
    ),
    "recurring words": Kind(
        WordsView(), lambda view: lines(view, lambda n: event(f"word{1_000 + n % 1_000} other{n % 997}", n // 2_000)),
        Counting("words"), 1.4, 1.25,
    ),
    "late words": Kind(
        WordsView(), lambda view: lines(view, lambda n: event(f"word{n}", n % 7)), Counting("words"), 1.4, 1.25
    ),
    "pending batches": Kind(
        SEGMENTS, lambda view: lines(view, lambda n: segment(n, 9, 2 if n % 2 else 100), 2_000), Listing(pending=True)
    ),
    "finished batches": Kind(
        SegmentsView(segments=2, spool=Spool(None)), lambda view: lines(view, lambda n: segment(n, 2, 1)), Listing(), 1.6
    ),
}  # fmt: skip


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the bytes that are in use and were not in use at the beginning."""
    gc.collect()
    gc.freeze()  # each later collection looks at the objects of this test alone
    tracemalloc.start()
    try:
        yield lambda: (gc.collect(), tracemalloc.get_traced_memory()[0])[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", KINDS)
def test_a_slice_reports_its_bytes(name: str):
    kind = KINDS[name]
    warm = kind.view.open(None)  # memory of the first use of a library belongs to no slice
    warm.add(next(kind.batches(kind.view)), None)
    with traced() as used:
        live = kind.view.open(None)
        for batch in kind.batches(kind.view):
            live.add(batch, kind.watermark)
            live.close(kind.watermark, None)
        del batch
        assert 1 / kind.live < live.meta().nbytes / used() < kind.live
        live.read(EVER, kind.arguments)
        assert 1 / kind.live < live.meta().nbytes / used() < kind.live
        file = bytes(file_of(live.state()))
        if name != "ids":  # this slice never freezes
            frozen, _ = live.freeze()
            del live, _
            more = True
            while more:
                own = used() - len(file)
                assert own / kind.frozen - 10_000 < frozen.meta().nbytes < own * kind.frozen + 10_000
                more = frozen.settle()
    if kind.is_revived:
        state = snapshot.read("state", file)
        with traced() as used:
            again = kind.view.revive(state)
            assert 1 / kind.live < again.meta().nbytes / used() < kind.live
        del again
