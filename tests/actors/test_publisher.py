"""The publisher: what is written belongs to one checkpoint, and to the round that is on."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from actors.messages import Commit, Emit, GetCommitted, Ingested, Prepare, Prepared, Restore
from actors.replies import GetPlace
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.sinks.publisher import Publisher
from actors.sinks.sink import Sink
from actors.timeline.span import EVER
from actors.views.view import Due
from tests.support.keeping import Inbox
from tests.support.waiting import until


class Listed(Sink):
    """A sink that keeps its records, and the numbers of the checkpoints that were committed."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.checkpoints: list[int] = []

    def write(self, blocks: Iterator[bytes]) -> None:
        self.records += blocks
        self.written = len(self.records)

    def prepare(self) -> int:
        return len(self.records)

    def commit(self, checkpoint: int) -> None:
        self.checkpoints.append(checkpoint)

    def restore(self, place: int | None) -> None:
        del self.records[place or 0 :]
        self.written = len(self.records)


class Plain:
    """A view whose results are what they are."""

    def publish(self, partial: bytes, due: Due) -> Iterator[bytes]:  # the contract's
        return iter([partial])


class Stage:
    """A publisher with one sink, a manager and a front end that note what they hear."""

    def __init__(self) -> None:
        self.system = System(Dispatcher())
        self.guardian = Guardian.start(self.system, log=lambda *_, **__: None)
        self.sink = Listed()
        self.manager, self.front_end = Inbox(), Inbox()
        self.address = Publisher.start(self.system, stream="events", sinks=[self.sink], on_trouble=lambda _: None)

    def tell(self, *messages: Any) -> None:
        """Send messages, and wait until they are handled."""
        for message in messages:
            self.address.tell(message)
        replies: SimpleQueue[Any] = SimpleQueue()
        self.address.tell(GetPlace(1, replies.put))
        replies.get(timeout=10)

    def emit(self, number: int, text: bytes, current: int) -> Emit:
        return Emit(number, self.front_end, Plain(), text, Due(EVER, None, text), 1, current)  # type: ignore[arg-type]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Return a publisher in its first round."""
    made = Stage()
    made.tell(GetCommitted(made.manager, 1), Restore(1, None, made.manager))  # type: ignore[arg-type]
    yield made
    made.address.stop()
    made.guardian.stop()
    made.system.dispatcher.close()


def test_a_result_that_is_due_during_a_checkpoint_belongs_to_the_next_one(stage: Stage):
    stage.tell(stage.emit(1, b"a\n", 1))
    until(lambda: Ingested(1, 1) in stage.front_end.messages)
    stage.tell(Prepare(7, stage.manager), stage.emit(2, b"b\n", 1))  # type: ignore[arg-type]
    assert Prepared(7, (1,)) in stage.manager.messages
    assert stage.sink.records == [b"a\n"]
    stage.tell(Commit(5))
    assert (stage.sink.checkpoints, stage.sink.records) == ([5], [b"a\n", b"b\n"])


def test_after_a_checkpoint_is_given_up_results_are_written_on(stage: Stage):
    stage.tell(Prepare(7, stage.manager), stage.emit(1, b"a\n", 1), Commit(None))  # type: ignore[arg-type]
    assert (stage.sink.checkpoints, stage.sink.records) == ([], [b"a\n"])


def test_results_of_an_earlier_round_are_not_written(stage: Stage):
    stage.tell(stage.emit(1, b"a\n", 1))
    stage.tell(Restore(2, (0,), stage.manager), stage.emit(1, b"old\n", 1), stage.emit(1, b"new\n", 2))  # type: ignore[arg-type]
    assert stage.sink.records == [b"new\n"]
