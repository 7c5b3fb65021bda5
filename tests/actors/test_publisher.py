"""The publisher: results in order, each result once, and each result in the checkpoint and the round that it belongs to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from actors.messages import Commit, Emit, GetCommitted, Ingested, Prepare, Prepared, Restore
from actors.replies import GetPlace, Place
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.sinks.file.sink import FileSink
from actors.sinks.kafka.sink import KafkaSink
from actors.sinks.publisher import Publisher
from actors.sinks.sink import Sink
from actors.timeline.span import EVER
from actors.views.view import Due
from tests.support.keeping import Inbox
from tests.support.sinks import fail, new_topic, read_topic, text_at
from tests.support.waiting import PATIENCE_S, until


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


class Echo:
    """A view whose results are their own records. It fails in the middle of the result `bad`."""

    def publish(self, partial: bytes, due: Due) -> Iterator[bytes]:
        if partial == b"bad\n":
            yield b"half"
            raise ZeroDivisionError("bad")
        yield partial


class Stage:
    """A publisher in its first round, between a manager and a front end that store their messages."""

    def __init__(self, *sinks: Sink) -> None:
        self.system = System(Dispatcher())
        self.guardian = Guardian.start(self.system, log=lambda *_, **__: None)
        self.manager, self.front_end = Inbox(), Inbox()
        self.troubles: list[str] = []
        self.reasons: list[str] = []
        self.address = Publisher.start(
            self.system, stream="events", sinks=sinks, on_trouble=self.troubles.append, on_superseded=self.reasons.append
        )
        self.tell(GetCommitted(self.manager, 1), Restore(1, None, self.manager))  # type: ignore[arg-type]

    def tell(self, *messages: Any) -> None:
        """Send messages, and wait until they are handled."""
        for message in messages:
            self.address.tell(message)
        self.place(1)

    def place(self, order: int) -> Place | None:
        replies: SimpleQueue[Any] = SimpleQueue()
        self.address.tell(GetPlace(order, replies.put))
        return replies.get(timeout=PATIENCE_S)

    def emit(self, number: int, text: bytes, current: int = 1) -> Emit:
        return Emit(number, self.front_end, Echo(), text, Due(EVER, None, text), number, current)  # type: ignore[arg-type]

    def publish(self, *texts: tuple[int, bytes]) -> list[int]:
        """Publish results by number. Return the numbers in the order in which the credits came back."""
        self.tell(*(self.emit(number, text) for number, text in texts))
        until(lambda: len(self.front_end.messages) == len(texts))
        return [credit.events for credit in self.front_end.messages if isinstance(credit, Ingested)]

    def stop(self) -> None:
        self.address.stop()
        self.guardian.stop()
        self.system.dispatcher.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stage]]:
    """Yield a function that starts a publisher with these sinks."""
    monkeypatch.setattr("actors.sinks.publisher._AGAIN_S", 0.01)
    started: list[Stage] = []

    def start(*sinks: Sink) -> Stage:
        started.append(Stage(*sinks))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_a_result_that_is_due_during_a_checkpoint_belongs_to_the_next_one(stage: Callable[..., Stage]):
    sink = Listed()
    running = stage(sink)
    assert running.publish((1, b"a\n")) == [1]
    running.tell(Prepare(7, running.manager), running.emit(2, b"b\n"))  # type: ignore[arg-type]
    assert Prepared(7, (1,)) in running.manager.messages
    assert sink.records == [b"a\n"]
    running.tell(Commit(5))
    assert (sink.checkpoints, sink.records) == ([5], [b"a\n", b"b\n"])


def test_writing_continues_after_a_checkpoint_is_given_up(stage: Callable[..., Stage]):
    sink = Listed()
    running = stage(sink)
    running.tell(Prepare(7, running.manager), running.emit(1, b"a\n"), Commit(None))  # type: ignore[arg-type]
    assert (sink.checkpoints, sink.records) == ([], [b"a\n"])


def test_results_of_an_earlier_round_are_not_written(stage: Callable[..., Stage]):
    sink = Listed()
    running = stage(sink)
    running.tell(running.emit(1, b"a\n"), Restore(2, (0,), running.manager))  # type: ignore[arg-type]
    running.tell(running.emit(1, b"old\n", 1), running.emit(1, b"new\n", 2))
    assert sink.records == [b"new\n"]


def test_a_second_request_to_restore_a_round_changes_nothing(stage: Callable[..., Stage]):
    """A keeper that fails after it has read a checkpoint reads it again, so that the manager asks twice."""
    sink = Listed()
    running = stage(sink)
    running.tell(running.emit(1, b"a\n"), Restore(1, None, running.manager), running.emit(2, b"b\n"))  # type: ignore[arg-type]
    assert sink.records == [b"a\n", b"b\n"]


def test_results_are_written_in_the_order_of_their_numbers(stage: Callable[..., Stage], tmp_path: Path):
    path = tmp_path / "o.txt"
    running = stage(FileSink(path, max_bytes=None))
    assert running.publish(*((number, b"%d\n" % number) for number in (3, 1, 2, 5, 4))) == [1, 2, 3, 4, 5]
    assert path.read_bytes() == b"1\n2\n3\n4\n5\n"
    assert not running.troubles
    assert text_at(running.place(3)) == b"3"


class FailingSink(FileSink):
    """A file whose first writes fail."""

    failures = 3

    def write(self, blocks: Iterator[bytes]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        super().write(blocks)


def test_a_sink_that_failed_for_a_while_gets_each_result_once(stage: Callable[..., Stage], tmp_path: Path):
    down, well = tmp_path / "down.txt", tmp_path / "well.txt"
    running = stage(FileSink(well, max_bytes=None), FailingSink(down, max_bytes=None))
    assert running.publish((1, b"a\n"), (2, b"b\n")) == [1, 2]
    assert down.read_bytes() == well.read_bytes() == b"a\nb\n"
    assert len(running.troubles) == 3
    assert "No space left" in running.troubles[0]


def test_a_result_that_cannot_be_rendered_is_given_up_and_leaves_no_part(stage: Callable[..., Stage], tmp_path: Path):
    path = tmp_path / "o.txt"
    running = stage(FileSink(path, max_bytes=None))
    assert running.publish((1, b"a\n"), (2, b"bad\n"), (3, b"c\n")) == [1, 2, 3]
    assert path.read_bytes() == b"a\nc\n"
    assert running.troubles == ["a result is given up: ZeroDivisionError: bad"]


def test_a_credit_is_returned_when_kafka_has_acknowledged_the_result(stage: Callable[..., Stage], broker: str):
    topic = new_topic()
    running = stage(KafkaSink({"bootstrap.servers": broker}, topic, on_error=fail))
    assert running.publish((1, b"a\n"), (2, b"b\n")) == [1, 2]
    assert read_topic(broker, topic, 2) == [b"a", b"b"]
