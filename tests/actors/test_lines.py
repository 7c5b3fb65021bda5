"""The sources of lines, on real files, pipes and programs."""

import gzip
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.columns.values import Values
from actors.sources import blocks, line_splitter, lines
from actors.sources import command as program
from actors.sources.command import CommandSource
from actors.sources.line_file import file_source
from actors.sources.line_splitter import Splitter
from actors.sources.lines import LineSource, PipeSource
from actors.sources.polled import Gap, Place, Polled
from tests.support.waiting import PATIENCE_S, until


def unheard(text: str) -> None:
    raise AssertionError(text)


def command(
    code: str,
    *,
    once: bool = False,
    reports: list[str] | None = None,
    heard: list[str] | None = None,
    place: Place | None = None,
) -> CommandSource:
    """Return an opened source that runs Python code. `reports` gets its errors, `heard` its standard error."""
    source = CommandSource(
        [sys.executable, "-c", code],
        once=once,
        on_line=heard.append if heard is not None else unheard,
        on_error=reports.append if reports is not None else unheard,
        on_failure=unheard,
    )
    assert source.open(place or Place())
    return source


def take(source: LineSource, count: int = 1) -> list[bytes]:
    """Poll until there are at least `count` lines, and return them."""
    found: list[bytes] = []
    until(lambda: found.extend(line or b"" for line in source.poll(10, 0.05).values) or len(found) >= count)
    return found


def read_all(source: LineSource, count: int = 100) -> list[bytes | None]:
    """Return all lines, checking that offsets count them."""
    found: list[bytes | None] = []

    def finished() -> bool:
        polled = source.poll(count, 0.05)
        assert polled.offsets().tolist() == list(range(len(found), len(found) + len(polled.values)))
        assert len(polled.partitions) == len(polled.values) <= count
        found.extend(polled.values)
        assert (polled.ended == {0}) >= source.finished or polled.values
        return source.finished and not polled.values

    until(finished)
    return found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "text", [b"", b"a", b"a\n", b"a\n\nb", b"\n\n", b"\xff\x00\n" * 3, b"x" * 700_000 + b"\n" + b"y" * 300_000]
)
def test_a_file_gives_its_lines(tmp_path: Path, text: bytes, packed: bool):
    path = tmp_path / "lines"
    path.write_bytes(gzip.compress(text) if packed else text)
    source = file_source(path, on_error=unheard)
    assert source.open(Place())
    *whole, last = text.split(b"\n")
    assert read_all(source) == whole + ([last] if last else [])
    assert source.place().offsets == {0: len(whole) + bool(last)}
    assert source.lag() == {0: 0}
    source.close()


def test_a_file_can_be_read_again_from_any_line(tmp_path: Path):
    path = tmp_path / "lines"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(1_000)))
    source = file_source(path, on_error=unheard)
    assert source.open(Place())
    source.poll(10, 0.1)
    source.close()
    assert source.open(Place({0: 700}))
    assert source.poll(1, 0.1).values == [b"700"]
    assert source.open(Place({0: 3}))
    assert source.poll(2, 0.1).values == [b"3", b"4"]
    source.close()


def written(path: Path, first: int, last: int) -> Path:
    path.write_bytes(b"".join(b"%d\n" % number for number in range(first, last)))
    return path


def opened(path: Path, offset: int, identity: str | None = None, epoch: int = 0) -> tuple[LineSource, list[str]]:
    """Open a file in a new source, as a new process does. Returns the source and its reports."""
    reports: list[str] = []
    source = file_source(path, on_error=reports.append)
    assert source.open(Place({0: offset}, identity, epoch))
    return source, reports


def identity_of(path: Path) -> str | None:
    source, reports = opened(path, 0)
    source.close()
    assert not reports
    return source.place().identity


def test_a_file_that_grew_or_was_copied_is_read_on(tmp_path: Path):
    path = written(tmp_path / "lines", 0, 100)
    identity = identity_of(path)
    copy = written(tmp_path / "copy", 0, 200)
    for each in (written(path, 0, 200), copy):
        source, reports = opened(each, 100, identity, 3)
        assert source.poll(100, 0.1).values == [b"%d" % number for number in range(100, 200)]
        assert (source.place().epoch, source.gaps(), reports) == (3, [], [])
        source.close()


def test_another_file_of_the_same_name_is_read_from_its_beginning(tmp_path: Path):
    path = written(tmp_path / "lines", 0, 100)
    identity = identity_of(path)
    source, reports = opened(written(path, 1_000, 1_200), 50, identity, 3)  # in the same inode, as some programs write
    assert (source.place().epoch, source.gaps()) == (4, [Gap(0, None, "recreated")])
    assert reports
    polled = source.poll(1, 0.1)
    assert (polled.values, polled.epoch, polled.offsets()[0]) == ([b"1000"], 4, 0)
    assert source.place().identity != identity
    source.close()


def test_a_file_that_became_shorter_reports_a_gap(tmp_path: Path):
    path = written(tmp_path / "lines", 0, 100)
    identity = identity_of(path)
    os.truncate(path, 20)
    source, _ = opened(path, 100, identity)
    assert (source.place().epoch, source.gaps(), source.gaps()) == (0, [Gap(0, None, "shrank")], [])
    assert source.poll(10, 0.1).values == []
    assert source.finished
    source.close()


def test_a_pipe_of_a_new_process_continues_to_count_and_reports_an_unknown_gap():
    reports: list[str] = []
    source = command("print('a'); print('b')", once=True, reports=reports, place=Place({0: 7}, None, 2))
    assert (source.gaps(), source.place().epoch) == ([Gap(0, None, "interrupted")], 2)
    polled = []
    until(lambda: polled.append(source.poll(1, 0.05)) or polled[-1].values)
    assert (polled[-1].values, polled[-1].offsets()[0], source.place().offsets) == ([b"a"], 7, {0: 8})
    assert len(reports) == 1
    source.close()


def test_a_pipe_that_cannot_go_back_reports_the_number_of_lost_lines():
    reports: list[str] = []
    source = command(f"print('x' * {line_splitter.BLOCK * 2}); print('b')", once=True, reports=reports)
    until(lambda: source.poll(1, 0.05) and source.finished)
    assert source.open(Place({0: 0}))
    assert source.gaps() == [Gap(0, 2, "interrupted")]
    assert source.place().offsets == {0: 2}
    source.close()


def test_a_restarted_command_begins_on_a_new_line():
    reports: list[str] = []
    source = command("import time; print('a', flush=True); print('cut', end='', flush=True); time.sleep(300)", reports=reports)
    until(lambda: source.poll(1, 0.05).values)
    until(lambda: source.poll(1, 0.05) and source._splitter._held)
    source.close()
    assert source.open(Place({0: 1}))
    assert source.gaps() == [Gap(0, None, "interrupted")]
    polled = []
    until(lambda: polled.append(source.poll(1, 0.05)) or polled[-1].values)
    assert (polled[-1].values, polled[-1].offsets()[0]) == ([b"a"], 1)
    source.close()


def test_a_pipe_goes_back_to_polled_lines_that_were_not_taken_in():
    source = command("import os; os.write(1, b'a' + bytes([10]) + b'b' + bytes([10]) + b'c' + bytes([10]))", once=True)
    until(lambda: source.poll(0, 0.05) and source._lines)
    assert source.poll(2, 0.1).values == [b"a", b"b"]
    assert source.open(Place({0: 1}))
    polled = until(lambda: found if (found := source.poll(5, 0.1)).values else None)
    assert (polled.values, polled.offsets()[0]) == ([b"b", b"c"], 1)
    source.close()


def test_an_absent_file_is_reported_and_waited_for(tmp_path: Path):
    reports: list[str] = []
    path = tmp_path / "later"
    source = file_source(path, on_error=reports.append)
    assert not source.open(Place())
    assert "No such file" in reports[0]
    path.write_bytes(b"here\n")
    assert source.open(Place())
    assert read_all(source) == [b"here"]
    source.close()


def damaged(path: Path) -> tuple[list[bytes | None], list[Gap], list[str]]:
    """Return the lines of a gzip file, the gaps, and the failures. No gap may be found before the lines are polled."""
    failures: list[str] = []
    source = file_source(path, on_error=unheard, on_failure=failures.append)
    assert source.open(Place())
    found: list[bytes | None] = []
    while not source.finished:
        assert not source.gaps()
        found += source.poll(1_000, 0.05).values
    gaps = source.gaps()
    source.close()
    return found, gaps, failures


CHANCE = Random(1)
LINES = [b"%d %s" % (number, CHANCE.randbytes(20).hex().encode()) for number in range(20_000)]
PACKED = gzip.compress(b"".join(line + b"\n" for line in LINES), mtime=0)


@pytest.mark.parametrize(
    "kept", [0, 1, 9, 10, 18, 30, 2_000, len(PACKED) // 2, len(PACKED) - 9, len(PACKED) - 8, len(PACKED) - 1]
)
def test_an_incomplete_gzip_file_gives_every_whole_line_before_its_end(tmp_path: Path, kept: int):
    path = tmp_path / "lines.gz"
    path.write_bytes(PACKED[:kept])
    whole = zlib.decompressobj(31).decompress(PACKED[:kept]).split(b"\n")[:-1]
    found, gaps, failures = damaged(path)
    if kept < 2:  # an empty file, and a plain one of one byte
        assert (found, gaps, failures) == ([PACKED[:kept]] if kept else [], [], [])
        return
    assert found == whole == LINES[: len(whole)]
    assert gaps == [Gap(0, None, "damaged")]
    assert failures == [f"{path}: gzip, near byte {kept}: the file is incomplete; the lines before it are read"]


@pytest.mark.parametrize("place", [12, 40, 3_000, len(PACKED) // 2, len(PACKED) - 12, len(PACKED) - 5])
def test_a_gzip_file_with_changed_bytes_gives_what_can_be_decompressed_before_them(tmp_path: Path, place: int):
    path = tmp_path / "lines.gz"
    path.write_bytes(PACKED[:place] + bytes([PACKED[place] ^ 0xFF]) + PACKED[place + 1 :])
    found, gaps, failures = damaged(path)
    intact = len(zlib.decompressobj(31).decompress(PACKED[:place]).split(b"\n")) - 1
    assert found[:intact] == LINES[:intact]
    assert len(found) >= intact
    assert gaps == [Gap(0, None, "damaged")]
    assert len(failures) == 1
    assert failures[0].startswith(f"{path}: gzip, near byte ")


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize(
    "behind",
    [b"x", b"\x1f", b"garbage" * 20_000, b"\0\0x", b"\0" * 70_000 + b"x", b"\x1f\x8c" + PACKED],
    ids=["a byte", "half a magic number", "much", "after padding", "after much padding", "another magic number"],
)
def test_bytes_behind_a_gzip_file_lose_no_line_and_are_reported(tmp_path: Path, ending: bytes, behind: bytes):
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\nc" + ending) + behind)
    found, gaps, failures = damaged(path)
    assert found == [b"a", b"b", b"c"]
    assert gaps == [Gap(0, None, "damaged")]
    assert failures[0].endswith("bytes follow that are not gzip; the lines before it are read")


@pytest.mark.parametrize("zeros", [1, 511, 70_000])
def test_zeros_behind_a_gzip_file_are_padding(tmp_path: Path, zeros: int):
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(b"a\n") + bytes(zeros) + gzip.compress(b"b") + bytes(zeros))
    assert damaged(path) == ([b"a", b"b"], [], [])


class Cut:
    """A stream that gives `text` in pieces of these sizes, and no byte at a size of 0; then the rest at once."""

    def __init__(self, text: bytes, sizes: Iterable[int]) -> None:
        self._text = memoryview(text)
        self._sizes = iter(sizes)

    def read(self, timeout_s: float, most: int) -> list[bytes] | None:
        size = min(next(self._sizes, most), most)
        piece, self._text = self._text[:size], self._text[size:]
        if not piece:
            return None if self._text else []
        return [bytes(part) for part in (piece[: size // 2], piece[size // 2 :]) if part]


def polls_of(text: bytes, sizes: list[int], counts: list[int], *, steady: bool) -> list[Polled]:
    """Return all polls of a source over a stream, where each of `counts` is the count of one poll, again and again."""
    source = LineSource(lambda: Cut(text, sizes), on_error=unheard, steady=steady)
    assert source.open(Place())
    polls: list[Polled] = []
    for count in itertools.cycle(counts):
        polled = source.poll(count, 0.0)
        assert len(polled.values) <= count
        assert polled.offsets().tolist() == list(
            range(source.place().offsets[0] - len(polled.values), source.place().offsets[0])
        )
        assert bool(polled.ended) or not source.finished
        polls.append(polled)
        if source.finished:
            return polls
    raise AssertionError("unreachable")


def check_columns(values: Values) -> None:
    """Assert that the columns of a poll have the same values as its list, and that a whole word can be read at each byte."""
    text = values.text
    assert text.take(np.arange(len(values))) == values.listed
    assert len(values) == 0 or int((text.starts + text.lengths).max()) + 8 <= text.blob.size


TEXTS = st.one_of(
    st.binary(max_size=60), st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bcdefghijk", b"\xff\0"])).map(b"".join)
)


@given(
    TEXTS, st.lists(st.integers(0, 9), max_size=60), st.lists(st.integers(1, 9), min_size=1), st.booleans(), st.integers(1, 40)
)
@settings(max_examples=500, deadline=None)
def test_lines_are_the_same_whatever_the_pieces_blocks_and_polls_are(
    text: bytes, sizes: list[int], counts: list[int], steady: bool, block: int
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_splitter, "BLOCK", block)
        patch.setattr(blocks, "BLOCK", block)
        patch.setattr(lines, "BLOCK", block)
        patch.setattr(line_splitter, "_CACHED", max(1, block // 2))
        polls = polls_of(text, sizes, counts, steady=steady)
        *whole, last = text.split(b"\n")
        assert [bytes(value or b"") for poll in polls for value in poll.values] == whole + ([last] if last else [])
        for poll in polls:
            check_columns(poll.values)
        if steady:
            alike = [polls_of(text, each, counts[:1], steady=True) for each in (sizes, [])]
            first, second = ([poll.values for poll in polls if poll.values] for polls in alike)
            assert first == second


def test_a_poll_ends_although_the_bytes_of_its_block_come_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "BLOCK", 1 << 60)
    source = LineSource(lambda: Cut(b"a\n" * 10_000_000, itertools.repeat(1)), on_error=unheard, steady=True)
    assert source.open(Place())
    for timeout_s in (0.0, 0.01, 0.1):
        assert source.poll(10, timeout_s).values == []


@given(st.integers(0, 500), st.integers(1, 60))
def test_the_lines_of_a_block_are_in_few_polls_of_about_equal_size(count: int, most: int):
    sizes = [len(poll.values) for poll in polls_of(b"\n" * count, [], [most], steady=False) if poll.values]
    assert len(sizes) == -(-count // most)
    assert not sizes or max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", [700, 4_000])
def test_a_file_a_gzip_file_a_pipe_and_a_command_give_the_same_polls(tmp_path: Path, count: int):
    data = b"".join(line + b"\n" for line in LINES) * 3
    (tmp_path / "plain").write_bytes(data)
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    words = ["cat", str(tmp_path / "plain")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        sources: list[LineSource] = [
            file_source(tmp_path / "plain", on_error=unheard),
            file_source(tmp_path / "packed", on_error=unheard),
            PipeSource(cat.stdout.fileno(), on_error=unheard, steady=True),
            CommandSource(words, once=True, on_line=unheard, on_error=unheard, on_failure=unheard),
        ]
        polls = [listed_polls(source, count) for source in sources]
    assert sum(map(len, polls[0])) == 3 * len(LINES)
    assert polls[0] == polls[1] == polls[2] == polls[3]


def listed_polls(source: LineSource, count: int) -> list[list[bytes | None]]:
    """Return the lines of each poll, except of empty ones."""
    assert source.open(Place())
    polls = []
    while not source.finished:
        polls.append(source.poll(count, 1.0).values.listed)
    source.close()
    return [each for each in polls if each]


def test_a_huge_line_is_in_memory_once(tmp_path: Path):
    size = 64 << 20
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(b"a\n")
        for _ in range(64):
            file.write(b"x" * (size // 64))
        file.write(b"\nb\n")
    source = file_source(path, on_error=unheard)
    assert source.open(Place())
    tracemalloc.start()
    sizes = []
    until(lambda: sizes.extend(map(len, source.poll(10, 0.0).values.listed)) or source.finished)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()
    assert sizes == [1, size, 1]
    assert peak < 1.3 * size


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=30))
@settings(max_examples=200, deadline=None)
def test_blocks_cut_anywhere_make_the_same_lines(text: bytes, cuts: list[int]):
    splitter, found, place = Splitter(), [], 0
    for cut in [*cuts, len(text)]:
        found += splitter.split(text[place : place + cut])
        place += cut
    found += splitter.split(text[place:]) if place < len(text) else []
    *whole, last = text.split(b"\n")
    assert found + splitter.end() == whole + ([last] if last else [])


def test_an_endless_line_is_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(line_splitter, "LONGEST", 100)
    splitter = Splitter()
    for _ in range(50):
        assert splitter.split(b"x" * 30) == []
        assert len(splitter._held) <= 100
    assert splitter.split(b"yy\nnext\n") == [b"x" * 100, b"next"]


def test_a_command_gives_its_output_and_with_once_ends_with_it():
    heard: list[str] = []
    source = command("import sys; print('a'); print('b', end=''); print('oh', file=sys.stderr)", once=True, heard=heard)
    assert read_all(source) == [b"a", b"b"]
    assert heard == ["oh"]
    source.close()


def test_endless_standard_error_does_not_stop_the_output():
    heard: list[str] = []

    def listen(line: str) -> None:
        time.sleep(0.001)
        heard.append(line)

    code = "yes $(printf %0999d 0) >&2 & echo here; wait"
    source = CommandSource(["sh", "-c", code], once=False, on_line=listen, on_error=unheard, on_failure=unheard)
    assert source.open(Place())
    found: list[bytes | None] = []

    def both() -> bool:
        found.extend(source.poll(10, 0.01).values)
        return bool(found and heard)

    reading = threading.Thread(target=lambda: until(both), daemon=True)
    reading.start()
    reading.join(10)
    source.close()
    assert found == [b"here"]
    assert heard


def test_the_last_lines_of_standard_error_are_reported_up_to_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "_STDERR_LINE", 100)
    heard: list[str] = []
    code = "import sys; sys.stderr.write('.' * 700_000); sys.stderr.write(chr(10) + 'fatal: no more')"
    source = command(code, once=True, heard=heard)
    assert read_all(source) == []
    assert heard == ["." * 100, "fatal: no more"]
    source.close()


def test_a_command_that_ends_is_restarted_with_backoff(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "_FIRST_BACKOFF_S", 0.05)
    reports: list[str] = []
    source = command("print('a'); print('cut', end='')", reports=reports)
    assert take(source, 6)[:6] == [b"a", b"cut"] * 3
    backoffs = [float(text.split()[-2]) for text in reports]
    assert backoffs == sorted(set(backoffs)), reports
    source.close()


def test_an_absent_command_is_reported_and_retried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "_FIRST_BACKOFF_S", 0.02)
    reports: list[str] = []
    source = CommandSource(["/nowhere/blackbox"], once=False, on_line=unheard, on_error=reports.append, on_failure=unheard)
    assert source.open(Place())
    until(lambda: source.poll(10, 0.01) and len(reports) > 1)
    assert "cannot start /nowhere/blackbox" in reports[0]
    source.close()


@pytest.mark.parametrize("deaf", [False, True])
def test_a_command_and_its_children_end_with_the_source(monkeypatch: pytest.MonkeyPatch, deaf: bool):
    monkeypatch.setattr(program, "_GRACE_S", 0.3)
    deafness = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" if deaf else ""
    code = f"{deafness}import subprocess, sys, time; c = subprocess.Popen(['sleep', '300']); print(c.pid, flush=True); time.sleep(300)"
    source = command(code)
    grandchild = psutil.Process(int(take(source)[0]))
    source.close()
    until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_line_of_many_blocks_is_not_the_end(tmp_path: Path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 3_000_000 + b"\nend\n")
    source = file_source(path, on_error=unheard)
    assert source.open(Place())
    polls = []
    until(lambda: polls.append(source.poll(10, 0.05)) or source.finished)
    assert [len(value) for poll in polls for value in poll.values if value] == [3_000_000, 3]
    assert [bool(poll.ended) for poll in polls] == [False] * (len(polls) - 1) + [True]
    source.close()


def test_a_poll_waits_no_longer_than_its_timeout():
    source = command("import time; time.sleep(300)")
    source.poll(1, 0.0)
    began = time.monotonic()
    for _ in range(3):
        assert source.poll(10, 0.05).values == []
    assert time.monotonic() - began < PATIENCE_S
    source.close()


def test_a_killed_command_is_restarted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "_FIRST_BACKOFF_S", 0.02)
    reports: list[str] = []
    source = command("import os, time; print(os.getpid(), flush=True); time.sleep(300)", reports=reports)
    os.kill(int(take(source)[0]), signal.SIGKILL)
    assert take(source)
    assert "ended with -9" in reports[0]
    source.close()
