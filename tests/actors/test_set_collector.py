"""One collector alone, message by message: active, retired, aged, spilled, discarded."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.messages import (
    Archive,
    Coarsen,
    Discard,
    EventsLost,
    Grown,
    Ingest,
    Ingested,
    IngestFailed,
    InputEnded,
    Keep,
    Kept,
    Map,
    Mapped,
    Partial,
    Read,
    Retired,
    Returned,
    Shed,
    Snapped,
    Snapshot,
    Spill,
    Unread,
)
from actors.protocol import AttemptId, CollectorId, QueryId, Round
from actors.runtime.actor import System, start
from actors.set_collector import SetCollector
from actors.timeline.span import EVER
from actors.views.kinds import VIEWS
from actors.views.sets.arguments import Page
from actors.views.view import Meta
from tests.support.keeping import Inbox, Unthreaded
from tests.support.polled import polled

ONE_SET = [b"R_1", b"G_2", b"B_3"]


@dataclass
class Bench:
    """A collector whose neighbours only store their messages. It is full with `max_sets` sets."""

    max_sets: int = 100
    front_end: Any = field(default_factory=Inbox)
    manager: Any = field(default_factory=Inbox)
    keeper: Any = field(default_factory=Inbox)
    guardian: Any = field(default_factory=Inbox)

    def __post_init__(self) -> None:
        dispatcher: Any = Unthreaded()
        self.view = VIEWS["sets"](steps="RGB", max_sets=self.max_sets)
        self.system = System(dispatcher, self.guardian)
        self.address = start(
            SetCollector,
            self.system,
            stream="events",
            view=self.view,
            collector_id=CollectorId(1),
            carry=None,
            watermark=None,
            manager=self.manager,
            front_end=self.front_end,
            keeper=self.keeper,
        )

    @property
    def state(self) -> str:
        (actor,) = self.system.actors
        return actor.state

    def tell(self, *messages: Any) -> None:
        for message in messages:
            self.address.tell(message)

    def ingest(self, watermark: int = 1_000) -> Ingest:
        message = Ingest(self.view.decode(polled(ONE_SET)).batch, watermark, Round(1))
        self.tell(message)
        return message

    def of(self, kind: type, inbox: Any = None) -> list[Any]:
        return [message for message in (inbox or self.manager).messages if isinstance(message, kind)]


@pytest.fixture
def aged() -> Bench:
    bench = Bench(max_sets=1)
    bench.ingest()
    assert bench.state == "aged"
    return bench


def test_an_active_collector_adds_a_batch_returns_its_credit_and_reports_its_size():
    bench = Bench()
    assert bench.state == "active"
    bench.ingest()
    assert bench.front_end.messages == [Ingested(3, Round(1))]
    last = bench.of(Grown)[-1]
    assert (last.meta.events, last.watermark) == (3, 1_000)


def test_an_active_collector_reads_without_a_revision_and_gives_its_state():
    bench = Bench()
    bench.ingest()
    bench.tell(Read(QueryId(5), EVER, Page()), Snapshot(AttemptId(6)))
    (partial,), (snapped,) = bench.of(Partial), bench.of(Snapped)
    assert (partial.query_id, partial.revision) == (5, None)
    assert partial.partial != bench.view.merge([])
    assert (snapped.attempt_id, snapped.problem) == (6, None)
    assert snapped.state is not None


def test_a_full_collector_retires_and_has_its_compressed_slice_written(aged: Bench):
    (retired,), (keep,) = aged.of(Retired), aged.of(Keep, aged.keeper)
    assert retired.collector_id == 1
    assert (keep.collector_id, keep.version) == (1, 0)


def test_a_retired_collector_returns_a_batch_and_has_no_live_state(aged: Bench):
    message = aged.ingest()
    assert aged.front_end.messages[-1] == Returned(message)
    aged.tell(Snapshot(AttemptId(2)))
    assert aged.of(Snapped) == [Snapped(AttemptId(2), CollectorId(1), None)]


def test_an_aged_collector_reads_with_a_revision_that_grows_when_it_is_made_coarse(aged: Bench):
    aged.tell(Read(QueryId(1), EVER, Page()), Coarsen(), Read(QueryId(2), EVER, Page()))
    assert [each.revision for each in aged.of(Partial)] == [0, 1]
    assert [each.version for each in aged.of(Keep, aged.keeper)] == [0, 1]


def test_archive_has_the_slice_written_again(aged: Bench):
    aged.tell(Archive())
    assert [each.version for each in aged.of(Keep, aged.keeper)] == [0, 0]


def test_a_spilled_slice_is_described_by_its_file(aged: Bench):
    aged.tell(Spill("a file"))
    assert aged.of(Map, aged.keeper) == [Map("a file", aged.address)]
    (actor,) = aged.system.actors
    frozen: Any = actor._frozen  # type: ignore[attr-defined]  # the same slice serves as the one on disk
    aged.tell(Mapped(frozen, 10, 500))
    meta: Meta = aged.of(Grown)[-1].meta
    assert (meta.nbytes, meta.coarse_bytes, meta.file_bytes) == (10, 0, 500)


def test_a_slice_whose_file_cannot_be_read_stays_in_memory(aged: Bench):
    aged.tell(Spill("a file"), Mapped(None, 0, 0))
    assert aged.of(Kept) == [Kept(CollectorId(1), 0, None)]
    assert aged.of(Grown)[-1].meta.file_bytes == 0


def test_a_collector_stops_after_both_discard_and_the_end_of_its_input(aged: Bench):
    aged.tell(Discard())
    assert aged.address.is_alive()
    aged.tell(InputEnded())
    assert not aged.address.is_alive()


def test_shed_is_acknowledged_though_nothing_can_be_dropped():
    bench = Bench()
    bench.tell(Shed(1_000))
    (lost,) = bench.of(EventsLost)
    assert lost.shed


def test_a_failed_read_is_reported(aged: Bench):
    aged.tell(Read(QueryId(3), EVER, None))
    assert aged.of(Unread) == [Unread(QueryId(3), CollectorId(1))]


def test_a_failed_batch_is_reported_to_be_read_again(monkeypatch: pytest.MonkeyPatch):
    bench = Bench()
    (actor,) = bench.system.actors
    monkeypatch.setattr(type(actor._live), "add", lambda *_: 1 / 0)  # type: ignore[attr-defined]
    message = bench.ingest()
    assert bench.front_end.messages == [IngestFailed(message)]
    assert actor.healer is bench.manager
