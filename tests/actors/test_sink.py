"""The sinks for files, the console and Kafka, and the writers of posted items and dead letters."""

import json
import os
import random
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewPartitions
from confluent_kafka.cimpl import NewTopic

from actors.kafka_topic import ensure_topic
from actors.messages import Dead
from actors.sinks.console import ConsoleSink
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.file.sink import FileSink
from actors.sinks.file.write_log import WriteLog
from actors.sinks.kafka.sink import KafkaSink
from actors.sinks.posting import KafkaWriter
from actors.sinks.receipt import Unwritten
from actors.sinks.sink import Fenced
from tests.support.sink_child import killed_again_and_again
from tests.support.sinks import fail, new_topic, read_keyed, read_topic, text_at
from tests.support.waiting import PATIENCE_S, promised, until


def test_a_file_sink_makes_its_folder_and_returns_the_place_of_each_record(tmp_path: Path):
    path = tmp_path / "output" / "output.txt"
    sink = FileSink(path, max_bytes=None)
    records = [b"1, 2", b"", b"x" * 5_000, b"end"]
    sink.write(iter([b"1, 2\n", b"\nxx", b"x" * 4_998, b"\nend\n"]))
    assert path.read_bytes() == b"".join(record + b"\n" for record in records)
    assert sink.written == sink.delivered == 4
    assert [text_at(sink.place(order)) for order in range(6)] == [None, *records, None]
    sink.close()


def test_a_file_is_appended_to_and_renamed_at_its_size_limit(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"before\n")
    sink = FileSink(path, max_bytes=20)
    for number in range(10):
        sink.write(iter([b"record %d\n" % number]))
    places = [sink.place(order) for order in range(1, 11)]
    assert [text_at(place) for place in places] == [b"record %d" % number for number in range(10)]
    assert {place.path.name for place in places if place} == {"out.txt.1", "out.txt.2", "out.txt.3", "out.txt"}
    written = [(tmp_path / f"out.txt.{number}").read_bytes() for number in range(1, 4)]
    assert b"".join([*written, path.read_bytes()]).startswith(b"before\nrecord 0\n")
    sink.close()


@pytest.mark.parametrize("how", ["renamed", "emptied", "replaced", "renamed to the number of an older file"])
def test_a_file_that_was_deleted_or_replaced_is_reported_and_a_new_file_is_begun(tmp_path: Path, how: str):
    path, errors = tmp_path / "out.txt", []
    older = tmp_path / "out.txt.3"
    older.write_bytes(b"older\n")
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.write(iter([b"1\n2\n"]))
    place = sink.prepare()
    sink.close()
    match how:
        case "renamed":
            path.rename(tmp_path / "mine")
        case "emptied":
            path.write_bytes(b"")
        case "replaced":
            path.unlink()
            path.write_bytes(b"the user's own words\n")
        case _:
            path.rename(tmp_path / "out.txt.2")
    left = path.read_bytes() if path.exists() else b""
    again = FileSink(path, max_bytes=None, on_error=errors.append)
    again.restore(place)
    again.write(iter([b"3\n"]))
    assert path.read_bytes() == left + b"3\n"
    assert older.read_bytes() == b"older\n"
    assert "cannot be found" in errors[0]
    assert (again.written, again.place(1)) == (3, None)
    assert text_at(again.place(3)) == b"3"
    again.close()


def test_a_file_deleted_during_writing_is_reported_and_a_new_file_is_begun(tmp_path: Path):
    path, errors = tmp_path / "out.txt", []
    sink = FileSink(path, max_bytes=None, on_error=errors.append)
    sink.write(iter([b"1\n"]))
    path.rename(tmp_path / "mine")
    place = sink.prepare()
    assert "deleted or replaced" in errors[0]
    sink.write(iter([b"2\n"]))
    sink.restore(place)
    sink.write(iter([b"2\n3\n"]))
    assert (tmp_path / "mine").read_bytes() + path.read_bytes() == b"1\n2\n3\n"
    assert sink.place(1) is None
    assert text_at(sink.place(3)) == b"3"
    sink.close()


def test_a_failed_fsync_restarts_the_stream_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sink = FileSink(tmp_path / "out.txt", max_bytes=None, on_error=fail)
    sink.write(iter([b"1\n"]))
    place = sink.prepare()
    sink.write(iter([b"2\n"]))

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", broken)
        with pytest.raises(Fenced, match="Input/output"):
            sink.prepare()
    with pytest.raises(Fenced, match="Input/output"):  # a second fsync would report success
        sink.prepare()
    sink.restore(place)
    assert (tmp_path / "out.txt").read_bytes() == b"1\n"
    sink.prepare()
    sink.close()


def test_records_in_a_device_have_no_place():
    sink = FileSink(Path("/dev/null"), max_bytes=10, on_error=fail)
    for _ in range(3):
        sink.write(iter([b"0123456789\n"]))
    assert sink.prepare() is None
    assert sink.written == 3
    sink.close()


class Killed(BaseException):
    """A kill: no handler of the sink runs."""


def killed_while_writing(sink: FileSink, data: bytes) -> None:
    """Let the process be killed in the middle of a write: the system ends a write at the end of a page, or not at all."""
    write, path = os.write, sink._path

    def dying(descriptor: int, part: bytes | memoryview) -> int:
        if not isinstance(part, memoryview):
            return write(descriptor, part)  # of the log
        size = path.stat().st_size
        ends = [0, *range(4_096 - size % 4_096, len(part), 4_096), len(part)]
        write(descriptor, part[: ends[len(data) % len(ends)]])
        raise Killed

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):  # none if the records are in the file since before a restart
        patch.setattr("os.write", dying)
        sink.write(iter([data]))


@pytest.mark.parametrize("seed", range(12))
def test_a_crash_at_any_point_leaves_the_same_file(tmp_path: Path, seed: int):
    """Write records, start new files, save places, and restore the newest place at random, in this process or a new one."""
    chance = random.Random(seed)
    path = tmp_path / "out.txt"
    before = [b"", b"before\n", b"whole\nhal"][seed % 3]
    if before:
        path.write_bytes(before)
        before += b"" if before.endswith(b"\n") else b"\n"  # the first record begins on a new line
    limit = chance.choice([None, 50, 5_000, 200_000])

    def record(number: int) -> bytes:
        return b"%d " % number + b"x" * ((number * 7919) % chance_of_length)

    chance_of_length = chance.choice([3, 300, 3_000, 120_000])
    sink = FileSink(path, max_bytes=limit, on_error=fail)
    assert sink.committed() is None
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
                if chance.random() < 0.5:
                    killed_while_writing(sink, b"".join(record(number) + b"\n" for number in range(following, following + 5)))
                sink.close()
                sink = FileSink(path, max_bytes=limit, on_error=fail)
                sink.restore(place)
                following = saved
            case _:
                for order in [chance.randrange(1, following + 1) for _ in range(4) if following]:
                    assert text_at(sink.place(order)) == record(order - 1)
        assert sink.written == sink.delivered == following
    files = sorted(tmp_path.glob("out.txt.*"), key=lambda each: int(each.name.split(".")[-1]))
    assert b"".join(each.read_bytes() for each in [*files, path]) == before + b"".join(
        record(number) + b"\n" for number in range(following)
    )
    assert sink.place(following + 1) is None
    sink.close()


@pytest.mark.parametrize("seed", range(12))
def test_bytes_of_another_program_are_never_cut_and_never_answered(tmp_path: Path, seed: int):
    """As above, while another program appends lines and half lines: each result is in the file once, and can be found."""
    chance = random.Random(seed)
    path, others, lines = tmp_path / "out.txt", bytearray(), 0

    def record(number: int) -> bytes:
        return b"result %d " % number + b"x" * ((number * 7919) % length)

    length = chance.choice([3, 300, 9_000])
    sink = FileSink(path, max_bytes=None, on_error=fail)
    place, saved, following = sink.prepare(), 0, 0
    for _ in range(80):
        match chance.choice(["write", "write", "other", "other", "save", "crash", "restart", "look"]):
            case "write":
                count = chance.randrange(1, 6)
                sink.write(iter([b"".join(record(number) + b"\n" for number in range(following, following + count))]))
                following += count
            case "other":
                lines += 1
                with path.open("ab") as file:
                    others += (line := b"<%d>" % lines + chance.choice([b"\n", b""]))
                    file.write(line)
            case "save":
                place, saved = json.loads(json.dumps(sink.prepare())), following
                sink.commit(1)
            case "restart":
                sink.restore(place)
                following = saved
            case "crash":
                if chance.random() < 0.5:
                    killed_while_writing(sink, b"".join(record(number) + b"\n" for number in range(following, following + 5)))
                sink.close()
                sink = FileSink(path, max_bytes=None, on_error=fail)
                sink.restore(place)
                following = saved
            case _:
                for order in range(1, following + 1):
                    assert text_at(sink.place(order)) == record(order - 1)
    sink.write(iter([b"".join(record(number) + b"\n" for number in range(following, following + 6))]))
    written = path.read_bytes()
    for number in range(following + 6):
        assert written.count(record(number) + b"\n") == 1
        assert text_at(sink.place(number + 1)) == record(number)
    assert re.findall(rb"<\d+>", written) == re.findall(rb"<\d+>", bytes(others))
    assert not re.search(rb"<\d+>r|x<|<\d+>x", written), "each result has a line of its own"
    sink.close()


def test_results_go_on_behind_another_program_that_cuts_the_file(tmp_path: Path):
    path, errors = tmp_path / "out.txt", []
    sink = FileSink(path, max_bytes=None, on_error=errors.append)
    sink.write(iter([b"1\n2\n"]))
    path.write_bytes(b"foreign, and longer than the results\n")
    assert (sink.place(1), sink.place(2)) == (None, None), "their bytes are not answered as results"
    with pytest.raises(OSError, match="cut the file"):
        sink.write(iter([b"3\n"]))
    sink.write(iter([b"3\n"]))
    assert path.read_bytes() == b"foreign, and longer than the results\n3\n"
    assert "cut or replaced" in errors[0]
    assert (text_at(sink.place(3)), sink.place(1)) == (b"3", None)
    path.write_bytes(b"")
    place = sink.prepare()
    assert place is not None
    assert (place["size"], sink.written, sink.place(3)) == (0, 3, None)
    sink.close()


def test_a_write_that_fails_before_bytes_of_another_program_is_made_up_for_once(tmp_path: Path):
    path = tmp_path / "out.txt"
    sink = FileSink(path, max_bytes=None, on_error=fail)

    def blocks() -> Iterator[bytes]:
        yield b"1\n" + b"y" * (4 << 20) + b"\n"
        with path.open("ab") as file:
            file.write(b"foreign\n")
        yield b"2\n" + b"z" * (4 << 20) + b"\n"
        raise ValueError("a result that cannot be rendered")

    with pytest.raises(ValueError, match="rendered"):
        sink.write(blocks())
    sink.write(iter([b"1\n2\n"]))
    assert path.read_bytes() == b"1\n" + b"y" * (4 << 20) + b"\nforeign\n2\n"
    assert (text_at(sink.place(1)), text_at(sink.place(2)), sink.written) == (b"1", b"2", 2)
    sink.close()


def test_a_log_line_that_a_kill_has_cut_off_hides_no_later_write(tmp_path: Path):
    path = tmp_path / "out.txt"
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.write(iter([b"1\n"]))
    place = sink.prepare()
    sink.close()
    with sink._log._path.open("ab") as log:
        log.write(b"%d 2" % path.stat().st_ino)
    for _ in range(2):
        sink = FileSink(path, max_bytes=None, on_error=fail)
        sink.restore(place)
        assert path.read_bytes() == b"1\n"
        sink.write(iter([b"2\n"]))
        sink.close()


def test_renamed_files_with_bytes_of_another_program_are_kept(tmp_path: Path):
    path, errors = tmp_path / "out.txt", []
    sink = FileSink(path, max_bytes=10, on_error=errors.append)
    sink.write(iter([b"1\n"]))
    place = sink.prepare()
    for number in range(2, 12):
        sink.write(iter([b"%d\n" % number]))
        if number == 7:
            with path.open("ab") as file:
                file.write(b"foreign\n")
    sink.close()
    again = FileSink(path, max_bytes=10, on_error=errors.append)
    again.restore(place)
    again.write(iter([b"2\n"]))
    assert sum(each.read_bytes().count(b"foreign\n") for each in tmp_path.glob("out.txt*")) == 1
    assert "keeps its name" in errors[0]
    assert (text_at(again.place(1)), text_at(again.place(2)), again.written) == (b"1", b"2", 2)
    again.close()


def test_a_checkpoint_of_an_earlier_version_cuts_nothing_off_and_repeats_no_equal_line(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"before\n1\n2\n3\nforeign\n")
    place = {
        "inode": path.stat().st_ino,
        "size": 11,
        "tail": crc32(b"before\n1\n2\n"),
        "written": 2,
        "first": 0,
        "begin": 7,
        "next": 1,
        "aside": [],
    }
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.restore(place)
    sink.write(iter([b"3\n4\n"]))
    assert path.read_bytes() == b"before\n1\n2\n3\nforeign\n4\n"
    assert [text_at(sink.place(order)) for order in range(1, 5)] == [b"1", b"2", b"3", b"4"]
    sink.close()


def test_a_long_log_of_writes_is_shortened_and_later_writes_are_still_taken_back(tmp_path: Path):
    path = tmp_path / "out.txt"
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink._log = WriteLog(sink._log._path, most_bytes=200)
    for number in range(30):
        sink.write(iter([b"%d\n" % number]))
        place = sink.prepare()
        sink.commit(number)
    kept = path.read_bytes()
    assert sink._log._path.stat().st_size < 300
    sink.write(iter([b"30\n"]))
    sink.close()
    again = FileSink(path, max_bytes=None, on_error=fail)
    again.restore(place)
    assert path.read_bytes() == kept
    again.close()


def test_a_process_that_is_killed_leaves_each_record_in_the_files_once(tmp_path: Path):
    (tmp_path / "state").mkdir()
    errors = killed_again_and_again(
        ["file", str(tmp_path / "out.txt"), str(tmp_path / "state"), "20000"], tmp_path / "state", 3
    )
    files = sorted(tmp_path.glob("out.txt.*"), key=lambda each: int(each.name.split(".")[-1]))
    assert b"".join(each.read_bytes() for each in [*files, tmp_path / "out.txt"]) == b"".join(
        b"%d\n" % n for n in range(20_000)
    )
    assert len(files) > 3
    assert sum("done" not in each for each in errors) >= 2, errors


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
    assert text_at(sink.place(2)) == b"second"
    sink.close()


def test_the_console_sink_prints_each_result(capfdbinary: pytest.CaptureFixture[bytes]):
    sink = ConsoleSink(on_error=fail)
    sink.write(iter([b"1, 2\n3", b", 4\n"]))
    assert capfdbinary.readouterr().out == b"1, 2\n3, 4\n"
    assert sink.delivered == 2


def test_a_topic_is_created_and_gets_each_record_in_order(broker: str):
    topic = new_topic()
    sink = KafkaSink({"bootstrap.servers": broker}, topic, on_error=fail)
    sink.write(iter([b'{"a":1}\n{"a"', b":2}\n"]))
    sink.write(iter([b'{"a":3}\n']))
    until(lambda: sink.poll() or sink.delivered == sink.written == 3)
    assert read_topic(broker, topic, 3) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    sink.close()


def test_a_record_too_large_for_a_topic_is_reported_and_does_not_stop_the_next(broker: str):
    topic, errors = new_topic(), []
    sink = KafkaSink({"bootstrap.servers": broker}, topic, on_error=errors.append)
    sink.write(iter([b"x" * (9 << 20) + b"\nshort\n"]))
    until(lambda: sink.poll() or sink.delivered == 2)
    assert "too large" in errors[0].lower()
    assert read_topic(broker, topic, 1) == [b"short"]
    sink.close()


def test_an_unreachable_broker_is_reported_and_gets_no_record():
    sink = KafkaSink({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": 500}, "t", on_error=lambda _: None)
    with pytest.raises(OSError, match="topic t"):
        sink.write(iter([b"a\n"]))
    assert sink.written == 0


def test_a_topic_that_exists_is_not_created_again(broker: str):
    topic = new_topic()
    for _ in range(2):
        ensure_topic({"bootstrap.servers": broker}, topic, 7)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "x"})
    assert len(consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions) == 7
    consumer.close()


def test_the_writer_reports_the_last_offset_of_each_partition_when_all_are_acknowledged(broker: str):
    topic = new_topic()
    ensure_topic({"bootstrap.servers": broker}, topic, 3)
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    reports: list[tuple[Unwritten | None, dict[int, int]]] = []
    keys = [b"a", b"c", b"d", b"e", b"g", b"i", b"k", b"b", b"f", b"m"]
    assert [crc32(key) % 3 for key in keys] == [0] * 4 + [1] * 3 + [2] * 3
    writer.write(
        [b"%d" % number for number in range(10)], keys, lambda receipt: reports.append((receipt.explain(), receipt.offsets))
    )
    writer.write_to_all(b"k", b"v", lambda receipt: reports.append((receipt.explain(), receipt.offsets)))
    writer.write([], [], lambda receipt: reports.append((receipt.explain(), receipt.offsets)))
    until(lambda: writer.poll() >= 0 and len(reports) == 3)
    assert (None, {}) in reports
    assert (None, {0: 3, 1: 2, 2: 2}) in reports
    assert (None, {0: 4, 1: 3, 2: 3}) in reports
    writer.close()


def test_the_writer_follows_a_changed_number_of_partitions(broker: str):
    topic = new_topic()
    ensure_topic({"bootstrap.servers": broker}, topic, 1)
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=5)
    reports: list[tuple[Unwritten | None, dict[int, int]]] = []

    def cleared() -> set[int]:
        reports.clear()
        writer.write_to_all(b"k", b"v", lambda receipt: reports.append((receipt.explain(), receipt.offsets)))
        until(lambda: writer.poll() >= 0 and reports)
        return set(reports[0][1])

    admin = AdminClient({"bootstrap.servers": broker})
    assert cleared() == {0}
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(timeout=PATIENCE_S)
    until(lambda: len(admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions) == 3)
    until(lambda: cleared() == {0, 1, 2})
    admin.delete_topics([topic])[topic].result(timeout=PATIENCE_S)
    until(lambda: topic not in admin.list_topics(timeout=PATIENCE_S).topics)
    ensure_topic({"bootstrap.servers": broker}, topic, 2)

    def written() -> bool:
        reports.clear()
        writer.write(
            [b"1", b"2", b"3"], [b"a", b"b", b"d"], lambda receipt: reports.append((receipt.explain(), receipt.offsets))
        )
        until(lambda: writer.poll() >= 0 and reports)
        return reports[0][0] is None

    until(written)
    assert set(reports[0][1]) == {0, 1}
    writer.close()


def test_more_dead_letters_than_the_queue_holds_are_all_delivered(broker: str):
    sink = DeadLetterSink({"bootstrap.servers": broker}, new_topic(), origin="in", on_error=fail)
    for first in range(0, 120_000, 10_000):
        sink.write([Dead(b"junk", None, (), 0, offset, "empty") for offset in range(first, first + 10_000)])
        until(lambda: sink.poll() or sink.unacknowledged <= 50_000)
    until(lambda: sink.poll() or not sink.unacknowledged)
    assert sink.lost == 0
    sink.close()
    assert sink.delivered == sink.written == 120_000


def test_creation_of_the_dead_letter_topic_is_not_retried_at_every_poll(monkeypatch: pytest.MonkeyPatch):
    tries: list[str] = []

    def refused(settings: Any, topic: str, partitions: int, *, longest: Callable[[], int | None]) -> None:
        tries.append(topic)
        raise OSError("not allowed")

    monkeypatch.setattr("actors.sinks.dead_letters.ensure_topic", refused)
    errors: list[str] = []
    sink = DeadLetterSink({"bootstrap.servers": "127.0.0.1:1"}, "dead", origin="in", on_error=errors.append)
    for _ in range(50):
        sink.poll()
    assert tries == ["dead"]
    assert errors.count("not allowed") == 1


def test_a_writer_without_a_broker_reports_an_error_within_its_timeout():
    writer = KafkaWriter({"bootstrap.servers": "127.0.0.1:1"}, "t", partitions=None, timeout_s=1)
    reports: list[Any] = []
    writer.write([b"a"], [b"a"], lambda receipt: reports.append((receipt.explain(), receipt.offsets)))
    ((unwritten, offsets),) = reports
    assert (unwritten.lasting, offsets) == (None, {})
    assert "127.0.0.1:1" in unwritten.reason
    writer.close()


def posted(writer: KafkaWriter, *values: bytes) -> Unwritten | None:
    """Post values, and return why not all of them are written."""
    reports: list[tuple[Unwritten | None, dict[int, int]]] = []
    writer.write(values, [b"k"] * len(values), lambda receipt: reports.append((receipt.explain(), receipt.offsets)))
    until(lambda: writer.poll() >= 0 and reports)
    return reports[0][0]


def test_a_post_of_a_record_that_is_longer_than_the_topic_takes_writes_nothing_and_names_the_lengths(broker: str):
    topic = configured(broker, max_message_bytes="2000")
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    assert posted(writer, b"a" * 3_000, b"short") == Unwritten(
        f"topic {topic} takes records of 1488 bytes, and one has 3001", "too large"
    )
    assert posted(writer, b"short") is None
    assert read_topic(broker, topic, 1) == [b"short"]
    writer.close()


def configured(broker: str, **config: str) -> str:
    """Create a topic with these settings, and return its name."""
    topic = new_topic()
    settings = {name.replace("_", "."): value for name, value in config.items()}
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, 1, 1, config=settings)])[topic].result(timeout=PATIENCE_S)
    return topic


def test_small_records_fit_into_a_topic_with_short_batches(broker: str):
    """Kafka refuses a whole batch that is too long, although each of its records fits."""
    topic = configured(broker, max_message_bytes="2000")
    values = [b"%d" % number + b" " * 90 for number in range(100)]
    writer = KafkaWriter({"bootstrap.servers": broker}, topic, partitions=None, timeout_s=10)
    assert posted(writer, *values) is None
    assert read_topic(broker, topic, 100) == values
    writer.close()
    topic = configured(broker, max_message_bytes="2000")
    sink = KafkaSink({"bootstrap.servers": broker}, topic, on_error=fail)
    sink.write(iter([b"".join(value + b"\n" for value in values)]))
    until(lambda: is_done(sink.prepare))
    assert read_topic(broker, topic, 100) == values
    sink.close()


def is_done(call: Callable[[], object]) -> bool:
    """Call; return whether no OSError came."""
    try:
        call()
    except OSError:
        return False
    return True


def test_a_compacted_topic_is_refused_without_transactions_too(broker: str):
    sink = KafkaSink({"bootstrap.servers": broker}, configured(broker, cleanup_policy="compact"), on_error=fail)
    with pytest.raises(OSError, match=r"each record needs a key: set output\.key"):
        sink.write(iter([b"1\n"]))
    assert sink.written == 0


@pytest.mark.parametrize("identity", [None, "tx"])
def test_a_compacted_topic_takes_results_whose_members_are_their_key(broker: str, identity: str | None):
    topic = configured(broker, cleanup_policy="compact")
    identity = identity and f"{identity}-{topic}"
    settings = {"bootstrap.servers": broker}
    sink = KafkaSink(settings, topic, transactional_id=identity, key=["granularity", "start"], on_error=fail)
    if identity is not None:
        until(lambda: is_done(sink.committed))
        sink.restore(None)
    rows = [b'{"granularity":"minute","start":%d,"unique":%d}' % row for row in ((60, 1), (-60, 2), (60, 3))]
    sink.write(iter([b"".join(row + b"\n" for row in rows)]))
    until(lambda: is_done(sink.prepare))
    until(lambda: is_done(lambda: sink.commit(1)))
    sink.close()
    assert read_keyed(broker, topic, 3) == list(zip([b"minute/60", b"minute/-60", b"minute/60"], rows, strict=True))


@pytest.mark.parametrize("identity", [None, "tx"])
def test_a_sink_whose_broker_is_away_names_the_broker_within_five_seconds(identity: str | None):
    began = time.monotonic()
    sink = KafkaSink({"bootstrap.servers": "127.0.0.1:1"}, "t", transactional_id=identity, on_error=lambda _: None)
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1.*refused"):
        _ = sink.look() if identity else sink.write(iter([b"1\n"]))
    assert time.monotonic() - began < promised(6)
