"""An output file that another program renames, deletes, cuts or appends to while the service runs, and after a restart."""

import errno
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actors.sinks.file import sink as file_sink
from actors.sinks.file.left_lines import LeftLines
from actors.sinks.file.line_index import LineIndex, Run
from actors.sinks.file.parts import Part, Parts
from actors.sinks.file.sink import FileSink
from actors.sinks.file.write_log import WriteLog
from tests.support.sinks import fail, text_at


def lines(*numbers: int) -> Iterator[bytes]:
    return iter([b"".join(b"%d\n" % number for number in numbers)])


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.txt"


def restarted(sink: FileSink, place: Any, *, on_error: Callable[[str], None] = fail, max_bytes: int | None = None) -> FileSink:
    """End a sink, and begin again at a checkpoint."""
    sink.close()
    again = FileSink(sink._path, max_bytes=max_bytes, on_error=on_error)
    again.restore(json.loads(json.dumps(place)))
    return again


# Renamed or deleted ----------------------------------------------------------------------------------------------------


def renamed(path: Path) -> bytes:
    path.rename(path.with_name("moved"))
    return b""


def renamed_and_made_again(path: Path) -> bytes:
    path.rename(path.with_name("moved"))
    path.write_bytes(b"")
    return b""


def replaced_by_longer_file(path: Path) -> bytes:
    path.rename(path.with_name("moved"))
    path.write_bytes(b"foreign words of more bytes")
    return b"foreign words of more bytes\n"


def deleted(path: Path) -> bytes:
    path.unlink()
    return b""


def folder_deleted(path: Path) -> bytes:
    shutil.rmtree(path.parent)
    return b""


WAYS = [renamed, renamed_and_made_again, replaced_by_longer_file, deleted, folder_deleted]


@pytest.mark.parametrize("take_away", WAYS)
@pytest.mark.parametrize("max_bytes", [None, 1_000])
def test_results_go_on_in_a_new_file_after_the_file_was_taken_away(
    tmp_path: Path, take_away: Callable[[Path], bytes], max_bytes: int | None
):
    path, errors = tmp_path / "output" / "out.txt", []
    sink = FileSink(path, max_bytes=max_bytes, on_error=errors.append)
    sink.write(lines(1, 2))
    before = take_away(path)
    sink.write(lines(3))
    sink.write(lines(4))
    assert path.read_bytes() == before + b"3\n4\n"
    assert len(errors) == 1
    assert "deleted or replaced" in errors[0]
    assert [text_at(sink.place(order)) for order in (1, 2, 3, 4)] == [None, None, b"3", b"4"]
    moved = path.with_name("moved")
    assert not moved.exists() or moved.read_bytes() == b"1\n2\n"
    place = sink.prepare()
    sink.write(lines(5))
    again = restarted(sink, place, max_bytes=max_bytes)
    again.write(lines(5))
    assert path.read_bytes() == before + b"3\n4\n5\n"
    again.close()


@pytest.mark.parametrize("take_away", WAYS)
def test_results_in_the_new_file_come_once_if_the_process_is_killed_before_its_checkpoint(
    tmp_path: Path, take_away: Callable[[Path], bytes]
):
    path, errors = tmp_path / "output" / "out.txt", []
    sink = FileSink(path, max_bytes=None, on_error=errors.append)
    sink.write(lines(1))
    place = sink.prepare()
    sink.write(lines(2))
    before = take_away(path)
    sink.write(lines(3))
    for _ in range(2):
        sink = restarted(sink, place, on_error=errors.append)
        sink.write(lines(2))
        sink.write(lines(3))
        assert path.read_bytes() == before + b"3\n2\n"
        assert [text_at(sink.place(order)) for order in (1, 2, 3)] == [None, b"2", b"3"]
    sink.write(lines(4))
    sink = restarted(sink, sink.prepare())
    assert [text_at(sink.place(order)) for order in (2, 3, 4)] == [b"2", b"3", b"4"]
    sink.close()


def test_results_in_a_renamed_file_are_made_safe_before_the_next_checkpoint(path: Path, monkeypatch: pytest.MonkeyPatch):
    synced, sync = [], os.fsync

    def noted(file: int) -> None:
        sync(file)
        synced.append(os.fstat(file).st_ino)

    monkeypatch.setattr("os.fsync", noted)
    sink = FileSink(path, max_bytes=None, on_error=lambda _: None)
    sink.write(lines(1))
    renamed(path)
    sink.write(lines(2))
    sink.prepare()
    assert {path.with_name("moved").stat().st_ino, path.stat().st_ino} <= set(synced)
    sink.close()


def test_results_in_the_new_file_come_once_if_a_checkpoint_and_a_second_kill_follow(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=lambda _: None)
    sink.write(lines(1))
    place = sink.prepare()
    sink.write(lines(2))
    path.unlink()
    sink.write(lines(3, 4))
    append(path, b"foreign\n")
    sink = restarted(sink, place, on_error=lambda _: None)
    sink.write(lines(2))
    for _ in range(2):  # results 3 and 4 have not come again yet
        sink = restarted(sink, sink.prepare())
    sink.write(lines(3))
    sink = restarted(sink, sink.prepare())
    sink.write(lines(4))
    assert path.read_bytes() == b"3\n4\nforeign\n2\n"
    assert [text_at(sink.place(order)) for order in (2, 3, 4)] == [b"2", b"3", b"4"]
    sink.close()


def test_results_come_once_after_the_file_was_copied_and_cut(path: Path):
    errors: list[str] = []
    sink = FileSink(path, max_bytes=None, on_error=errors.append)
    sink.write(lines(1))
    place = sink.prepare()
    shutil.copy(path, path.with_name("copy"))
    os.truncate(path, 0)
    with pytest.raises(OSError, match="has cut the file"):
        sink.write(lines(2))
    sink.write(lines(2))
    sink = restarted(sink, place, on_error=errors.append)
    sink.write(lines(2, 3))
    assert (path.with_name("copy").read_bytes(), path.read_bytes()) == (b"1\n", b"2\n3\n")
    sink.close()


def test_a_file_taken_away_between_a_restart_and_the_first_result_is_reported(path: Path):
    errors: list[str] = []
    sink = FileSink(path, max_bytes=None, on_error=errors.append)
    sink.write(lines(1))
    sink = restarted(sink, sink.prepare(), on_error=errors.append)
    path.rename(path.with_name("moved"))
    sink.write(lines(2))
    assert path.read_bytes() == b"2\n"
    assert ["replaced" in error for error in errors] == [True]
    sink.close()


def test_a_file_taken_away_during_a_write_gets_all_of_that_write_or_nothing(path: Path):
    errors: list[str] = []
    sink = FileSink(path, max_bytes=None, on_error=errors.append)
    sink.write(lines(1))

    def blocks() -> Iterator[bytes]:
        yield b"x" * (5 << 20) + b"\n"
        path.rename(path.with_name("moved"))
        raise OSError("the disk refuses")

    with pytest.raises(OSError, match="the disk refuses"):
        sink.write(blocks())
    sink.write(lines(2))
    assert (path.with_name("moved").read_bytes(), path.read_bytes()) == (b"1\n", b"2\n")
    sink.close()


def test_a_second_service_is_kept_away_after_the_folder_was_deleted_and_made_again(tmp_path: Path):
    path = tmp_path / "output" / "out.txt"
    sink = FileSink(path, max_bytes=None, on_error=lambda _: None)
    sink.write(lines(1))
    shutil.rmtree(path.parent)
    sink.write(lines(2))
    second = FileSink(path, max_bytes=None)
    with pytest.raises(OSError, match="writes to this file"):
        second.look()
    sink.close()
    second.look()
    second.close()


def test_a_deleted_log_of_writes_is_made_again_and_stops_no_checkpoint(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink._log = WriteLog(sink._log._path, most_bytes=100)
    for number in range(30):
        sink.write(lines(number))
        place = sink.prepare()
        if number == 3:
            sink._log._path.unlink()
        sink.commit(number)
    sink.write(lines(30))
    sink = restarted(sink, place)
    sink.write(lines(30))
    assert path.read_bytes() == b"".join(lines(*range(31)))
    sink.close()


# Another program's bytes, and failures ---------------------------------------------------------------------------------


class Full:
    """A disk that takes `room` more writes to an output, each with at most `most` bytes; the log has its own room."""

    def __init__(
        self, patch: pytest.MonkeyPatch, room: int, most: int = 1 << 30, then: Callable[[], None] = lambda: None
    ) -> None:
        self.room, self.most, self.then = room, most, then
        self._write = os.write
        patch.setattr("os.write", self)

    def __call__(self, descriptor: int, data: bytes | memoryview) -> int:
        if not isinstance(data, memoryview):
            return self._write(descriptor, data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        written = self._write(descriptor, data[: self.most])
        self.then()
        return written


def left_behind(path: Path, *numbers: int, **options: Any) -> FileSink:
    """Return a sink after a restart. Its first result is 0, and the lines of `numbers` were left before a foreign line."""
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.write(lines(0))
    place = sink.prepare()
    sink.write(lines(*numbers))
    append(path, b"foreign\n")
    return restarted(sink, place, **options)


def test_lines_adopted_by_a_write_that_fails_are_adopted_again(path: Path):
    sink = left_behind(path, 1, 2)
    with pytest.MonkeyPatch.context() as patch:
        disk = Full(patch, room=0)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                sink.write(lines(1, 2, 3))
        disk.room = 1
        sink.write(lines(1, 2, 3))
    assert path.read_bytes() == b"0\n1\n2\nforeign\n3\n"
    assert [text_at(sink.place(order)) for order in range(1, 6)] == [b"0", b"1", b"2", b"3", None]
    sink.close()


def test_lines_adopted_between_new_lines_are_adopted_again_if_either_new_line_fails(path: Path):
    for room in range(2):
        path.unlink(missing_ok=True)
        sink = left_behind(path, 1, 3)
        with pytest.MonkeyPatch.context() as patch:
            Full(patch, room)
            with pytest.raises(OSError, match="No space"):
                sink.write(lines(1, 2, 3, 4))
        sink.write(lines(1, 2, 3, 4))
        assert path.read_bytes() == b"0\n1\n3\nforeign\n2\n4\n", room
        assert [text_at(sink.place(order)) for order in range(1, 6)] == [b"0", b"1", b"2", b"3", b"4"]
        sink.close()


def test_a_left_line_that_two_chunks_of_a_write_share_is_not_written_again(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    place = sink.prepare()
    records = [b"%d" % number + b"x" * (3 << 20) + b"\n" for number in range(4)]
    sink.write(iter(records))
    append(path, b"foreign\n")
    left = path.read_bytes()
    sink = restarted(sink, place)
    whole = b"".join(records)
    sink.write(whole[at : at + 100_000] for at in range(0, len(whole), 100_000))
    assert path.read_bytes() == left
    assert text_at(sink.place(4)) == records[3][:-1]
    sink.close()


def test_a_carriage_return_in_a_result_ends_no_line(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    place = sink.prepare()
    sink.write(iter([b"a\rb\n"]))
    append(path, b"foreign\n")
    sink = restarted(sink, place)
    sink.write(iter([b"c\rb\na\rb\n"]))
    assert path.read_bytes() == b"a\rb\nforeign\nc\rb\n"
    sink.close()


def test_a_left_line_is_adopted_before_the_full_file_is_renamed(path: Path):
    sink = left_behind(path, 1, 2, max_bytes=10)
    sink.write(lines(1))
    sink.write(lines(2))
    sink.write(lines(3))
    assert path.with_name("out.txt.1").read_bytes() == b"0\n1\n2\nforeign\n"
    assert path.read_bytes() == b"3\n"
    assert [text_at(sink.place(order)) for order in range(1, 5)] == [b"0", b"1", b"2", b"3"]
    sink.close()


def test_left_lines_that_never_come_do_not_keep_a_full_file_from_being_renamed(path: Path):
    sink = left_behind(path, 1, 2, max_bytes=10)
    for number in range(3, 20):
        sink.write(lines(number))
    assert path.with_name("out.txt.1").stat().st_size < 25
    sink.close()


def test_bytes_of_another_program_within_a_write_that_fails_are_not_cut(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    with pytest.MonkeyPatch.context() as patch:
        Full(patch, 1, 3, then=lambda: append(path, b"\nforeign\n"))
        with pytest.raises(OSError, match="No space"):
            sink.write(lines(1, 2, 3))
    sink.write(lines(1, 2, 3))
    assert path.read_bytes() == b"1\n2\nforeign\n2\n3\n"
    with pytest.MonkeyPatch.context() as patch:
        disk = Full(patch, 9, 3)
        disk.then = lambda: None if disk.room != 8 else append(path, b"foreign\n")
        with pytest.raises(OSError, match="into the middle"):
            sink.write(lines(44, 55, 66))
    sink.write(lines(44, 55, 66))
    assert path.read_bytes() == b"1\n2\nforeign\n2\n3\n44\nforeign\n55\n66\n"
    assert [text_at(sink.place(order)) for order in range(1, 7)] == [b"1", b"2", b"3", b"44", b"55", b"66"]
    sink.close()


def test_lines_of_a_failed_write_come_once_if_the_process_is_killed_then(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    place = sink.prepare()
    with pytest.MonkeyPatch.context() as patch:
        Full(patch, 1, 3, then=lambda: append(path, b"\nforeign\n"))
        with pytest.raises(OSError, match="No space"):
            sink.write(lines(1, 2, 3))
    sink = restarted(sink, place)
    sink.write(lines(1, 2, 3))
    assert path.read_bytes() == b"1\n2\nforeign\n2\n3\n"
    sink.close()


def test_left_lines_are_forgotten_with_the_last_of_them(path: Path):
    path.write_bytes(b"a\na\nb\n")
    left = LeftLines()
    with path.open("rb") as file:
        left.remember(file.fileno(), [(0, 6)])  # type: ignore[list-item]
        assert [left.adopt(file.fileno(), line) for line in (b"a\n", b"c\n", b"a\n", b"a\n")] == [0, None, 2, None]
        assert left
        assert left.adopt(file.fileno(), b"b\n") == 4
    assert not left


@pytest.mark.parametrize("seed", range(40))
def test_each_result_and_each_foreign_line_is_in_the_file_once_after_any_course_of_events(path: Path, seed: int):
    chance, foreign, following = random.Random(seed), 0, 0

    def result(number: int) -> bytes:
        return b"[%d]" % number  # so no part of a result looks like another one

    def interfere() -> None:
        nonlocal foreign
        append(path, b"foreign %d\n" % foreign)
        foreign += 1

    def write(disk: Full) -> None:
        nonlocal following
        last = following + chance.randrange(1, 5)
        with suppress(OSError):
            sink.write(result(number) + b"\n" for number in range(following, last))
            following = last
        disk.room = 1 << 30

    def checkpoint() -> tuple[int, Any]:
        return following, sink.prepare()

    sink = FileSink(path, max_bytes=None, on_error=fail)
    newest = checkpoint()
    with pytest.MonkeyPatch.context() as patch:
        disk = Full(patch, 1 << 30)
        for _ in range(60):
            disk.room, disk.most = chance.choice([0, 1, 2, 1 << 30, 1 << 30]), chance.choice([3, 9, 1 << 30])
            disk.then = interfere if chance.random() < 0.3 else lambda: None
            match chance.randrange(6):
                case 0:
                    interfere()
                case 1:
                    newest = checkpoint()
                case 2:
                    following, sink = newest[0], restarted(sink, newest[1])
                case _:
                    write(disk)
            found = Counter(path.read_bytes().splitlines())
            assert all(found[result(number)] == 1 for number in range(following))
            assert [text_at(sink.place(order + 1)) for order in range(following)] == [*map(result, range(following))]
            assert path.read_bytes().count(b"foreign") == foreign
    sink.close()


# The lock --------------------------------------------------------------------------------------------------------------


def test_a_full_disk_at_the_start_does_not_leave_the_file_without_its_lock(path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = FileSink(path, max_bytes=None, on_error=fail)
    with monkeypatch.context() as patch:
        patch.setattr("actors.sinks.file.lock.locked", full)
        with pytest.raises(OSError, match="No space"):
            sink.look()
        with pytest.raises(OSError, match="No space"):
            sink.write(lines(1))
    assert not path.exists()
    sink.write(lines(1))
    with pytest.raises(OSError, match="writes to this file"):
        FileSink(path, max_bytes=None).look()
    sink.close()


def test_a_folder_that_cannot_be_made_fails_the_first_write_and_not_the_start(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    sink = FileSink(tmp_path / "file" / "out.txt", max_bytes=None, on_error=fail)
    sink.look()
    sink.restore(None)
    with pytest.raises(OSError, match="file"):
        sink.write(lines(1))
    (tmp_path / "file").unlink()
    sink.write(lines(1))
    with pytest.raises(OSError, match="writes to this file"):
        FileSink(tmp_path / "file" / "out.txt", max_bytes=None).look()
    sink.close()


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_may_not_be_written_to_needs_neither_lock_nor_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
):
    def refused(*_: Any) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("actors.sinks.file.lock.locked", refused)
    monkeypatch.setattr(WriteLog, "_opened", refused)
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.look()
    sink.write(lines(1))
    place = sink.prepare()
    sink.commit(1)
    sink.write(lines(2))
    sink = restarted(sink, place)
    sink.write(lines(2, 3))
    assert path.read_bytes() == b"1\n2\n3\n"
    sink.close()


# The index -------------------------------------------------------------------------------------------------------------


def test_a_changed_run_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_bytes(b"1\n2\n3\n")
    run = Run(0, 6, 3, crc=1)
    assert run.find(path, 1) is None
    monkeypatch.setattr("actors.sinks.file.line_index._blocks", fail)
    assert run.find(path, 1) is None


def counted_runs(path: Path, name: str, first: int, count: int, begin: int = 0) -> Part:
    """Return a part with `count` runs of two records each; `path` has the bytes."""
    index = LineIndex()
    for number in range(first, first + 2 * count, 2):
        start = path.stat().st_size
        append(path, b"%d\n%d\nforeign\n" % (number, number + 1))
        index.add(start, b"%d\n%d\n" % (number, number + 1))
    return Part(path, 0, first, begin, index)


def test_the_oldest_records_are_forgotten_if_there_are_too_many_runs_in_all_files(tmp_path: Path):
    parts = Parts(most_runs=16)
    total = 0
    for number in range(6):
        path = tmp_path / f"{number}"
        path.write_bytes(b"")
        parts.add(counted_runs(path, path.name, total, 4))
        parts.bound()
        total += 8
        kept = [order for order in range(1, total + 1) if parts.place(order) is not None]
        assert kept == list(range(kept[0], total + 1))
        assert all(text_at(parts.place(order)) == b"%d" % (order - 1) for order in kept)
        assert len(kept) >= min(total, 2 * 14)
        assert len(kept) <= 2 * 16
        saved = parts.older()
        assert saved == json.loads(json.dumps(parts.older()))
        assert all(one is two for one, two in zip(saved, parts.older(), strict=True)), "older parts are not built again"


def test_a_file_shared_line_by_line_needs_bounded_memory_and_is_restored(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink._parts = Parts(most_runs=64)
    for number in range(300):
        sink.write(lines(number))
        append(path, b"foreign\n")
    assert len(sink._parts.last.index) <= 64
    place = sink.prepare()
    assert place is not None
    assert len(place["runs"]) <= 64
    sink.write(lines(300))
    sink = restarted(sink, place)
    sink.write(lines(300))
    assert path.read_bytes() == b"".join(b"%d\nforeign\n" % number for number in range(300)) + b"300\n"
    assert sink.place(1) is None
    assert [text_at(sink.place(order)) for order in range(260, 303)] == [b"%d" % n for n in range(259, 301)] + [None]
    sink.close()


def test_only_the_last_run_is_built_again_for_a_checkpoint():
    index = LineIndex()
    for start in range(0, 300, 3):
        index.add(start, b"x\n")
    before = index.runs
    index.add(299, b"y\n")
    index.add(400, b"z\n")
    after = index.runs
    assert all(one is two for one, two in zip(before[:-1], after, strict=False))
    assert (before[-1][:3], after[-2][:3], after[-1][:3]) == ([297, 299, 1], [297, 301, 2], [400, 402, 1])


@pytest.mark.parametrize("seed", range(20))
def test_the_runs_of_a_checkpoint_are_those_of_the_index_after_each_step(seed: int):
    chance = random.Random(seed)
    index, at = LineIndex(), 0
    for _ in range(300):
        mark = index.mark()
        for _ in range(chance.randrange(4)):
            at += chance.randrange(2)
            index.add(at, b"x\n")
            at += 2
            if chance.random() < 0.3:
                assert index.runs == [[run.start, run.end, run.count, run.crc] for run in index._runs]
        if chance.random() < 0.3:
            index.back_to(mark)
        if chance.random() < 0.1:
            index.drop(chance.randrange(len(index) + 1))
        assert index.runs == [[run.start, run.end, run.count, run.crc] for run in index._runs]
        assert index.count == sum(run.count for run in index._runs)


def test_the_end_of_the_last_record_outlives_the_run_that_had_it():
    index = LineIndex([Run(100, 110, 2, 0)], end=900)
    index.add(110, b"x\n")
    assert index.end == 900


# A loss of power -------------------------------------------------------------------------------------------------------


@pytest.fixture
def power_lost(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which the machine counts as restarted."""

    def lose() -> None:
        monkeypatch.setattr(file_sink, "boot", lambda: "another start of the machine")

    return lose


def test_results_without_notes_in_the_log_come_once_after_a_loss_of_power(path: Path, power_lost: Callable[[], None]):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.write(lines(1))
    place = sink.prepare()
    noted = sink._log._path.stat().st_size
    sink.write(lines(2, 3))
    sink.write(lines(4))
    os.truncate(sink._log._path, noted)
    power_lost()
    for _ in range(2):  # also if the process is killed before its next checkpoint
        sink = restarted(sink, place)
        sink.write(lines(2, 3))
    sink.write(lines(4, 5))
    assert path.read_bytes() == b"1\n2\n3\n4\n5\n"
    assert [text_at(sink.place(order)) for order in range(1, 6)] == [b"1", b"2", b"3", b"4", b"5"]
    sink.close()


def test_an_equal_line_of_another_program_is_no_result_if_the_machine_went_on(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.write(lines(1))
    place = sink.prepare()
    append(path, b"2\n")
    sink = restarted(sink, place)
    sink.write(lines(2))
    assert path.read_bytes() == b"1\n2\n2\n"
    sink.close()


def test_a_note_that_was_cut_off_anywhere_stops_no_restart(path: Path):
    sink = FileSink(path, max_bytes=None, on_error=fail)
    sink.write(lines(1))
    place = sink.prepare()
    log = sink._log._path
    before = log.read_bytes()
    sink.write(iter([b"x" * 20_000 + b"\n"]))
    sink.close()
    note = log.read_bytes()[len(before) :]
    assert note.count(b",") == 4
    for cut in range(1, len(note)):
        log.write_bytes(before + note[:cut])
        os.truncate(path, 2)  # a write comes after its note
        for _ in range(2):
            sink = restarted(sink, place)
            sink.write(lines(2))
        assert path.read_bytes() == b"1\n2\n"
    sink.close()
