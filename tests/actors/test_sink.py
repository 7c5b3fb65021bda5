"""The sinks, and the actor that publishes to them: in order, each result once, and never faster than they deliver."""

import json
import random
import resource
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from actors.kafka_topic import ensure_topic
from actors.messages import Dead, Emit, Ingested, Restore, Restored
from actors.replies import GetPlace, Place
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher
from actors.sinks.console import ConsoleSink
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.file import FileSink
from actors.sinks.kafka import KafkaSink
from actors.sinks.posting import KafkaWriter
from actors.sinks.publisher import Publisher
from actors.sinks.sink import Fenced
from actors.timeline.span import EVER
from actors.views.view import Due
from tests.support.sink_child import killed_again_and_again
from tests.support.waiting import until


def unheard(text: str) -> None:
    raise AssertionError(text)


def text_at(place: Place) -> bytes:
    with place.path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.length)


def read_topic(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    until(
        lambda: (
            found.extend(message.value() for message in consumer.consume(1_000, 0.2) if not message.error())
            or len(found) >= count
        )
    )
    consumer.close()
    return found


def test_a_file_sink_makes_its_folder_and_returns_the_place_of_each_record(tmp_path: Path):
    path = tmp_path / "output" / "output.txt"
    sink = FileSink(path, max_bytes=None)
    records = [b"1, 2", b"", b"x" * 5_000, b"end"]
    sink.write(iter([b"1, 2\n", b"\nxx", b"x" * 4_998, b"\nend\n"]))
    assert path.read_bytes() == b"".join(record + b"\n" for record in records)
    assert sink.written == sink.delivered == 4
    for order, record in enumerate(records, 1):
        place = sink.place(order)
        assert place is not None
        assert text_at(place) == record
    assert sink.place(0) is None
    assert sink.place(5) is None
    sink.close()


def test_a_file_is_appended_to_and_renamed_at_its_size_limit(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"before\n")
    sink = FileSink(path, max_bytes=20)
    for number in range(10):
        sink.write(iter([b"record %d\n" % number]))
    places = [sink.place(order) for order in range(1, 11)]
    assert all(place is not None for place in places)
    assert [text_at(place) for place in places if place] == [b"record %d" % number for number in range(10)]
    assert {place.path.name for place in places if place} == {"out.txt.1", "out.txt.2", "out.txt.3", "out.txt"}
    written = [(tmp_path / f"out.txt.{number}").read_bytes() for number in range(1, 4)]
    assert b"".join([*written, path.read_bytes()]).startswith(b"before\nrecord 0\n")
    sink.close()


def test_a_file_is_restored_to_its_checkpoint_under_any_later_name(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"before\n")
    sink = FileSink(path, max_bytes=20, on_error=unheard)
    assert sink.committed() is None
    sink.restore(None)
    sink.write(iter([b"1\n"]))
    place = sink.prepare()
    sink.commit(1)
    for number in range(2, 20):
        sink.write(iter([b"%d\n" % number]))
    sink.close()
    assert len(list(tmp_path.iterdir())) == 3

    again = FileSink(path, max_bytes=20, on_error=unheard)
    again.restore(place)
    assert path.read_bytes() == b"before\n1\n"
    assert list(tmp_path.iterdir()) == [path]
    again.write(iter([b"2\n"]))
    assert [text_at(found) for order in (1, 2) if (found := again.place(order))] == [b"1", b"2"]
    assert again.written == 2
    again.close()


def test_after_half_a_record_the_next_record_begins_on_a_new_line(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"whole\nhal")
    sink = FileSink(path, max_bytes=None, on_error=unheard)
    sink.write(iter([b"1\n"]))
    assert path.read_bytes() == b"whole\nhal\n1\n"
    found = sink.place(1)
    assert found is not None
    assert text_at(found) == b"1"
    sink.close()


@pytest.mark.parametrize("how", ["taken away", "emptied", "another", "moved to a number of an older one"])
def test_a_file_that_was_deleted_or_replaced_is_reported_and_begun_anew(tmp_path: Path, how: str):
    path, said = tmp_path / "out.txt", []
    older = tmp_path / "out.txt.3"
    older.write_bytes(b"older\n")
    sink = FileSink(path, max_bytes=None, on_error=unheard)
    sink.write(iter([b"1\n2\n"]))
    place = sink.prepare()
    sink.close()
    match how:
        case "taken away":
            path.rename(tmp_path / "mine")
        case "emptied":
            path.write_bytes(b"")
        case "another":
            path.unlink()
            path.write_bytes(b"the user's own words\n")
        case _:
            path.rename(tmp_path / "out.txt.2")
    left = path.read_bytes() if path.exists() else b""
    again = FileSink(path, max_bytes=None, on_error=said.append)
    again.restore(place)
    again.write(iter([b"3\n"]))
    assert path.read_bytes() == left + b"3\n"
    assert older.read_bytes() == b"older\n"
    assert "cannot be found" in said[0]
    assert (again.written, again.place(1)) == (3, None)
    found = again.place(3)
    assert found is not None
    assert text_at(found) == b"3"
    again.close()


def test_a_file_that_is_deleted_while_it_is_written_is_begun_anew(tmp_path: Path):
    path, said = tmp_path / "out.txt", []
    sink = FileSink(path, max_bytes=None, on_error=said.append)
    sink.write(iter([b"1\n"]))
    path.rename(tmp_path / "mine")
    place = sink.prepare()
    assert "deleted or replaced" in said[0]
    sink.write(iter([b"2\n"]))
    sink.restore(place)
    sink.write(iter([b"2\n3\n"]))
    assert (tmp_path / "mine").read_bytes() + path.read_bytes() == b"1\n2\n3\n"
    assert sink.place(1) is None
    assert (found := sink.place(3)) is not None
    assert text_at(found) == b"3"
    sink.close()


def test_a_failed_fsync_restarts_the_stream_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sink = FileSink(tmp_path / "out.txt", max_bytes=None, on_error=unheard)
    sink.write(iter([b"1\n"]))
    place = sink.prepare()
    sink.write(iter([b"2\n"]))

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", broken)
        with pytest.raises(Fenced, match="Input/output"):
            sink.prepare()
    with pytest.raises(Fenced, match="Input/output"):  # asked again the disk would say that all is well
        sink.prepare()
    sink.restore(place)
    assert (tmp_path / "out.txt").read_bytes() == b"1\n"
    sink.prepare()
    sink.close()


def test_a_device_has_no_place():
    sink = FileSink(Path("/dev/null"), max_bytes=10, on_error=unheard)
    for _ in range(3):
        sink.write(iter([b"0123456789\n"]))
    assert sink.prepare() is None
    assert sink.written == 3
    sink.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_crash_at_any_point_leaves_the_same_file(tmp_path: Path, seed: int):
    """Write numbered records, rotate, keep places, go back to the newest one at random, in this process or another one."""
    chance = random.Random(seed)
    path = tmp_path / "out.txt"
    before = chance.choice([b"", b"before\n"])
    if before:
        path.write_bytes(before)
    limit = chance.choice([None, 50, 5_000, 200_000])

    def record(number: int) -> bytes:
        return b"%d " % number + b"x" * ((number * 7919) % chance_of_length)

    chance_of_length = chance.choice([3, 300, 3_000, 120_000])
    sink = FileSink(path, max_bytes=limit, on_error=unheard)
    place, saved = sink.prepare(), 0
    following = 0
    for _ in range(60):
        match chance.choice(["write", "write", "save", "crash", "restart", "look"]):
            case "write":
                count = chance.randrange(1, 12)
                whole = b"".join(record(number) + b"\n" for number in range(following, following + count))
                cut = chance.randrange(len(whole))
                sink.write(iter([whole[:cut], whole[cut:]]))
                following += count
            case "save":
                place, saved = json.loads(json.dumps(sink.prepare())), following
            case "restart":
                sink.restore(place)
                following = saved
            case "crash":
                sink.close()
                if chance.random() < 0.5:
                    with path.open("ab") as file:
                        file.write(b"half a rec")
                sink = FileSink(path, max_bytes=limit, on_error=unheard)
                sink.restore(place)
                following = saved
            case _:
                for order in [chance.randrange(1, following + 1) for _ in range(4) if following]:
                    found = sink.place(order)
                    assert found is not None
                    assert text_at(found) == record(order - 1)
        assert sink.written == sink.delivered == following
    files = sorted(tmp_path.glob("out.txt.*"), key=lambda each: int(each.name.split(".")[-1]))
    assert b"".join(each.read_bytes() for each in [*files, path]) == before + b"".join(
        record(number) + b"\n" for number in range(following)
    )
    assert sink.place(following + 1) is None
    sink.close()


def test_a_process_that_is_killed_leaves_each_record_in_the_files_once(tmp_path: Path):
    (tmp_path / "state").mkdir()
    said = killed_again_and_again(["file", str(tmp_path / "out.txt"), str(tmp_path / "state"), "20000"], tmp_path / "state", 3)
    files = sorted(tmp_path.glob("out.txt.*"), key=lambda each: int(each.name.split(".")[-1]))
    assert b"".join(each.read_bytes() for each in [*files, tmp_path / "out.txt"]) == b"".join(
        b"%d\n" % n for n in range(20_000)
    )
    assert len(files) > 3
    assert sum("done" not in each for each in said) >= 2, said


def test_a_full_disk_leaves_no_part_of_a_record(tmp_path: Path):
    path = tmp_path / "out.txt"
    sink = FileSink(path, max_bytes=None)
    sink.write(iter([b"first\n"]))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        for _ in range(2):
            with pytest.raises(OSError, match="large"):
                sink.write(iter([b"second" * 1_000] * 100 + [b"\n"]))
            assert path.read_bytes() == b"first\n"
            assert sink.written == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    sink.write(iter([b"second\n"]))
    assert path.read_bytes() == b"first\nsecond\n"
    place = sink.place(2)
    assert place is not None
    assert text_at(place) == b"second"
    sink.close()


def test_the_console_shows_due_results(capfdbinary: pytest.CaptureFixture[bytes]):
    sink = ConsoleSink(on_error=unheard)
    sink.write(iter([b"1, 2\n3", b", 4\n"]))
    assert capfdbinary.readouterr().out == b"1, 2\n3, 4\n"
    assert sink.delivered == 2


def test_a_topic_is_created_and_gets_each_record_in_order(broker: str):
    topic = f"out-{uuid.uuid4().hex}"
    sink = KafkaSink({"bootstrap.servers": broker}, topic, on_error=unheard)
    sink.write(iter([b'{"a":1}\n{"a"', b":2}\n"]))
    sink.write(iter([b'{"a":3}\n']))
    until(lambda: sink.poll() or sink.delivered == sink.written == 3)
    assert read_topic(broker, topic, 3) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    sink.close()


def test_a_record_too_large_for_a_topic_is_reported_and_does_not_stop_the_next(broker: str):
    topic, said = f"out-{uuid.uuid4().hex}", []
    sink = KafkaSink({"bootstrap.servers": broker}, topic, on_error=said.append)
    sink.write(iter([b"x" * 2_000_000 + b"\nshort\n"]))
    until(lambda: sink.poll() or sink.delivered == 2)
    assert "too large" in said[0].lower()
    assert read_topic(broker, topic, 1) == [b"short"]
    sink.close()


def test_a_broker_that_is_away_is_reported_and_gets_no_record():
    sink = KafkaSink({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": 500}, "t", on_error=lambda _: None)
    with pytest.raises(OSError, match="topic t"):
        sink.write(iter([b"a\n"]))
    assert sink.written == 0


def test_topics_are_created_once(broker: str):
    topic = f"made-{uuid.uuid4().hex}"
    for _ in range(2):
        ensure_topic({"bootstrap.servers": broker}, topic, 7)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "x"})
    assert len(consumer.list_topics(topic, timeout=5).topics[topic].partitions) == 7
    consumer.close()


def test_the_writer_reports_the_last_offset_of_each_partition_when_all_are_acknowledged(broker: str):
    topic = f"in-{uuid.uuid4().hex}"
    ensure_topic({"bootstrap.servers": broker}, topic, 3)
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    told: list[tuple[str | None, dict[int, int]]] = []
    writer.write([b"%d" % number for number in range(10)], list(range(10)), lambda *word: told.append(word))
    writer.write_to_all(b"k", b"v", lambda *word: told.append(word))
    writer.write([], [], lambda *word: told.append(word))
    until(lambda: writer.poll() >= 0 and len(told) == 3)
    assert (None, {}) in told
    assert (None, {0: 3, 1: 2, 2: 2}) in told
    assert (None, {0: 4, 1: 3, 2: 3}) in told
    writer.close()


def test_the_writer_reaches_new_partitions_and_goes_on_with_fewer(broker: str):
    topic = f"in-{uuid.uuid4().hex}"
    ensure_topic({"bootstrap.servers": broker}, topic, 1)
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=5)
    told: list[tuple[str | None, dict[int, int]]] = []

    def cleared() -> set[int]:
        told.clear()
        writer.write_to_all(b"k", b"v", lambda *word: told.append(word))
        until(lambda: writer.poll() >= 0 and told)
        return set(told[0][1])

    admin = AdminClient({"bootstrap.servers": broker})
    assert cleared() == {0}
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(timeout=10)
    until(lambda: len(admin.list_topics(topic, timeout=5).topics[topic].partitions) == 3)
    until(lambda: cleared() == {0, 1, 2})
    admin.delete_topics([topic])[topic].result(timeout=10)
    until(lambda: topic not in admin.list_topics(timeout=5).topics)
    ensure_topic({"bootstrap.servers": broker}, topic, 2)

    def written() -> bool:
        told.clear()
        writer.write([b"a", b"b", b"c"], [0, 1, 2], lambda *word: told.append(word))
        until(lambda: writer.poll() >= 0 and told)
        return told[0][0] is None

    until(written)
    assert set(told[0][1]) == {0, 1}
    writer.close()


def test_acknowledged_dead_letters_make_room_for_others(broker: str):
    sink = DeadLetterSink({"bootstrap.servers": broker}, f"dead-{uuid.uuid4().hex}", origin="in", on_error=unheard)
    for first in range(0, 120_000, 10_000):
        sink.write([Dead(b"junk", None, (), 0, offset, "empty") for offset in range(first, first + 10_000)])
        until(lambda: sink.poll() or sink.unacknowledged <= 50_000, timeout_s=30.0)
    until(lambda: sink.poll() or not sink.unacknowledged, timeout_s=30.0)
    assert sink.lost == 0
    sink.close()
    assert sink.delivered == sink.written == 120_000


def test_creation_of_the_dead_letter_topic_is_not_retried_at_every_poll(monkeypatch: pytest.MonkeyPatch):
    tries: list[str] = []

    def refused(settings: Any, topic: str, partitions: int) -> None:
        tries.append(topic)
        raise OSError("not allowed")

    monkeypatch.setattr("actors.sinks.dead_letters.ensure_topic", refused)
    said: list[str] = []
    sink = DeadLetterSink({"bootstrap.servers": "127.0.0.1:1"}, "dead", origin="in", on_error=said.append)
    for _ in range(50):
        sink.poll()
    assert tries == ["dead"]
    assert said.count("not allowed") == 1


def test_a_writer_without_a_broker_reports_it_in_time():
    writer = KafkaWriter({"bootstrap.servers": "127.0.0.1:1"}, "t", partitions=None, timeout_s=1)
    told: list[Any] = []
    writer.write([b"a"], [0], lambda *word: told.append(word))
    assert told == [("the topic has no partitions", {})]


class FrontEnd(Actor):
    """Notes the returned that come back."""

    def __init__(self, system: System, returned: SimpleQueue[int]) -> None:
        super().__init__(system, stream="s")
        self._credits = returned

    def receive(self, message: Any) -> None:
        if isinstance(message, Ingested):
            self._credits.put(message.events)
        else:
            assert isinstance(message, Restored)


class Echo:
    """A view that publishes its partial."""

    def publish(self, partial: Any, due: Any) -> Iterator[bytes]:
        return iter([partial])


class Fragile(FileSink):
    """A file whose first writes fail."""

    failures = 3

    def write(self, blocks: Iterator[bytes]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        super().write(blocks)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a function that publishes texts, given by number, through sinks, and returns returned and complaints."""
    monkeypatch.setattr("actors.sinks.publisher._AGAIN_S", 0.01)
    system = System(Dispatcher())
    stopping = []

    def publish(sinks: list[Any], texts: list[tuple[int, bytes]]) -> tuple[list[int], list[str], Any]:
        said: list[str] = []
        returned: SimpleQueue[int] = SimpleQueue()
        publisher = Publisher.start(system, stream="s", sinks=sinks, on_trouble=said.append)
        front_end = FrontEnd.start(system, returned)
        stopping.extend([publisher, front_end])
        publisher.tell(Restore(1, None, front_end))
        for number, text in texts:
            publisher.tell(Emit(number, front_end, Echo(), text, Due(EVER, None, None), number, 1))
        return [returned.get(timeout=10) for _ in texts], said, publisher

    yield publish
    for address in stopping:
        address.stop()
    system.dispatcher.close()


def test_results_are_written_in_the_order_of_their_numbers(published: Any, tmp_path: Path):
    path = tmp_path / "o.txt"
    returned, said, publisher = published([FileSink(path, max_bytes=None)], [(n, b"%d\n" % n) for n in (3, 1, 2, 5, 4)])
    assert path.read_bytes() == b"1\n2\n3\n4\n5\n"
    assert returned == [1, 2, 3, 4, 5]
    assert not said
    places: SimpleQueue[Any] = SimpleQueue()
    publisher.tell(GetPlace(3, places.put))
    assert text_at(places.get(timeout=5)) == b"3"


def test_a_sink_that_was_down_gets_each_result_once(published: Any, tmp_path: Path):
    down, well = Fragile(tmp_path / "down.txt", max_bytes=None), FileSink(tmp_path / "well.txt", max_bytes=None)
    returned, said, _ = published([well, down], [(1, b"a\n"), (2, b"b\n")])
    assert (tmp_path / "down.txt").read_bytes() == b"a\nb\n"
    assert (tmp_path / "well.txt").read_bytes() == b"a\nb\n"
    assert returned == [1, 2]
    assert len(said) == 3
    assert "No space left" in said[0]


class Broken(Echo):
    """A view that cannot write one of its results."""

    def publish(self, partial: Any, due: Any) -> Iterator[bytes]:
        yield b"begun"
        if partial == b"bad\n":
            raise ZeroDivisionError("bad")
        yield b" " + partial


def test_a_result_that_cannot_be_rendered_is_given_up_and_leaves_no_part(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(published.__globals__, "Echo", Broken)
    path = tmp_path / "o.txt"
    returned, said, _ = published([FileSink(path, max_bytes=None)], [(1, b"a\n"), (2, b"bad\n"), (3, b"c\n")])
    assert returned == [1, 2, 3]
    assert path.read_bytes() == b"begun a\nbegun c\n"
    assert said == ["a result is given up: ZeroDivisionError: bad"]


def test_a_credit_is_returned_when_kafka_has_acknowledged_the_result(published: Any, broker: str):
    topic = f"out-{uuid.uuid4().hex}"
    returned, _, _ = published([KafkaSink({"bootstrap.servers": broker}, topic, on_error=unheard)], [(1, b"a\n"), (2, b"b\n")])
    assert returned == [1, 2]
    assert read_topic(broker, topic, 2) == [b"a", b"b"]
