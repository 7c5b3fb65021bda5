"""Reading ahead, on real pipes and a real terminal: every byte once, at once, and no more than there is room for."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from actors.sources import read_ahead
from actors.sources.line_splitter import BLOCK
from actors.sources.lines import PipeSource
from actors.sources.pipe import PipeStream
from actors.sources.polled import Place
from actors.sources.read_ahead import ReadAhead
from scripts.checkout import ROOT
from tests.support.waiting import until


class Pipe:
    """A pipe that is read ahead."""

    def __init__(self) -> None:
        self.end, self.begin = os.pipe()
        self.ahead = ReadAhead(PipeStream(self.end))

    def write(self, data: bytes) -> None:
        os.write(self.begin, data)

    def finish(self) -> None:
        """Close the end that is written to."""
        if self.begin >= 0:
            os.close(self.begin)
            self.begin = -1

    def close(self) -> None:
        self.ahead.close()
        self.finish()
        os.close(self.end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("/pipe")]


def everything(ahead: ReadAhead) -> bytes:
    """Read to the end."""
    found = bytearray()
    while (pieces := ahead.read(1.0)) != []:
        found += b"".join(pieces or [])
    return bytes(found)


def test_bytes_that_are_there_are_read_without_a_timeout(pipe: Pipe):
    assert pipe.ahead.read(0.0) is None
    for number in range(500):
        pipe.write(b"%d" % number)
        assert pipe.ahead.read(0.0) == [b"%d" % number]
    assert pipe.ahead.read(0.01) is None


def test_bytes_that_the_thread_has_in_its_hands_are_waited_for(pipe: Pipe, monkeypatch: pytest.MonkeyPatch):
    taken, handed = threading.Event(), threading.Event()
    real = pipe.ahead._pipe.read

    def read(timeout_s: float, most: int) -> list[bytes] | None:
        pieces = real(timeout_s, most)
        taken.set()
        handed.wait()
        return pieces

    monkeypatch.setattr(pipe.ahead._pipe, "read", read)
    assert pipe.ahead.read(0.0) is None
    pipe.write(b"abc")
    taken.wait()
    timer = threading.Timer(0.05, handed.set)
    timer.start()
    assert pipe.ahead.read(0.0) == [b"abc"]
    timer.join()


def test_bytes_that_come_within_the_timeout_are_read(pipe: Pipe):
    timer = threading.Timer(0.05, pipe.write, [b"late"])
    timer.start()
    assert pipe.ahead.read(30.0) == [b"late"]
    timer.join()


def test_the_end_comes_after_all_bytes_and_stays(pipe: Pipe):
    pipe.write(b"abc")
    pipe.finish()
    assert [pipe.ahead.read(1.0, 2) for _ in range(4)] == [[b"ab"], [b"c"], [], []]


@pytest.mark.parametrize("width", [4_096, 1 << 16, 1 << 20])
def test_every_byte_is_read_once_and_in_order_whatever_the_width_of_the_pipe(width: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read_ahead, "_WIDTH", width)
    pipe, chance = Pipe(), Random(width)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(pipe.end, fcntl.F_SETPIPE_SZ, width)
    data = chance.randbytes(5_000_000)

    def write() -> None:
        at = 0
        while at < len(data):
            at += os.write(pipe.begin, data[at : at + chance.randrange(1, 300_000)])
        pipe.finish()

    writing = threading.Thread(target=write)
    writing.start()
    found = bytearray()
    while (pieces := pipe.ahead.read(1.0, most := chance.randrange(1, BLOCK))) != []:
        assert len(b"".join(pieces or [])) <= most
        found += b"".join(pieces or [])
        if chance.random() < 0.1:
            pipe.ahead.pause()
    writing.join()
    pipe.close()
    assert found == data


def test_a_pipe_whose_bytes_are_not_taken_holds_its_writer_back(pipe: Pipe):
    os.set_blocking(pipe.begin, False)
    written = 0
    assert pipe.ahead.read(0.0) is None  # the thread begins

    def full() -> bool:
        nonlocal written
        try:
            while True:
                written += os.write(pipe.begin, bytes(10_000))
        except BlockingIOError:
            return pipe.ahead._nbytes >= read_ahead._AHEAD
        return False

    until(full)
    assert pipe.ahead._nbytes < read_ahead._AHEAD + BLOCK
    assert written < 2 * read_ahead._AHEAD
    pipe.finish()
    assert len(everything(pipe.ahead)) == written


def test_a_program_that_writes_each_line_alone_does_not_wake_the_thread_for_each(pipe: Pipe, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    real = pipe.ahead._pipe.read

    def read(timeout_s: float, most: int) -> list[bytes] | None:
        pieces = real(timeout_s, most)
        sizes.extend(map(len, pieces or []))
        return pieces

    monkeypatch.setattr(pipe.ahead._pipe, "read", read)
    assert pipe.ahead.read(0.0) is None
    began = time.monotonic()
    for _ in range(20_000):
        pipe.write(b"R_1685695916000\n")
    pipe.finish()
    assert everything(pipe.ahead) == b"R_1685695916000\n" * 20_000
    small = sum(size < read_ahead._SMALL for size in sizes)
    assert small <= (time.monotonic() - began) / read_ahead._GATHER_S + 1


def test_a_pause_ends_the_thread_and_keeps_what_was_read(pipe: Pipe):
    assert pipe.ahead.read(0.0) is None
    pipe.write(b"kept ")
    until(lambda: pipe.ahead._pieces)
    pipe.ahead.pause()
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("/pipe")]
    pipe.write(b"and read")
    pipe.finish()
    assert everything(pipe.ahead) == b"kept and read"


def test_a_failed_read_is_raised_after_the_bytes_before_it_and_is_tried_again(pipe: Pipe, monkeypatch: pytest.MonkeyPatch):
    answers: list[bytes | OSError] = [b"before", OSError(errno.EIO, "broken"), OSError(errno.EIO, "still"), b"after", b""]

    def read(timeout_s: float, most: int) -> list[bytes]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return [answer] if answer else []

    monkeypatch.setattr(pipe.ahead._pipe, "read", read)
    monkeypatch.setattr(pipe.ahead._pipe, "ready", lambda _: True)
    assert pipe.ahead.read(30.0) == [b"before"]
    for text in ("broken", "still"):
        with pytest.raises(OSError, match=text):
            pipe.ahead.read(30.0)
    assert everything(pipe.ahead) == b"after"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="this system does not let a process widen a pipe")
def test_a_pipe_is_widened_and_never_made_narrower(pipe: Pipe):
    assert fcntl.fcntl(pipe.end, fcntl.F_GETPIPE_SZ) == 1 << 20
    fcntl.fcntl(pipe.end, fcntl.F_SETPIPE_SZ, 1 << 12)
    ReadAhead(PipeStream(pipe.end)).close()
    assert fcntl.fcntl(pipe.end, fcntl.F_GETPIPE_SZ) == 1 << 20


def test_a_pipe_that_cannot_be_widened_is_read(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(read_ahead.fcntl, "fcntl", refuse)
    pipe = Pipe()
    pipe.write(b"abc")
    pipe.finish()
    assert everything(pipe.ahead) == b"abc"
    pipe.close()


def test_a_line_typed_at_a_terminal_is_seen_at_once():
    keyboard, terminal = os.openpty()
    source = PipeSource(terminal, on_error=pytest.fail)
    assert source.open(Place())
    assert source.poll(10, 0.0).values == []
    for number in range(10):
        os.write(keyboard, b"%d\n" % number)
        found = until(lambda: source.poll(10, 0.0).values.listed)
        assert found == [b"%d" % number]
    source.close()
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("/pipe")]
    os.close(keyboard)
    os.close(terminal)


def test_the_lines_of_a_rest_are_in_one_poll(pipe: Pipe):
    """So a rest between two polls does not limit how fast a pipe is read, however narrow the pipe is."""
    source = PipeSource(pipe.end, on_error=pytest.fail)
    assert source.open(Place())
    assert source.poll(10_000, 0.0).values == []
    writing = threading.Thread(target=pipe.write, args=[b"R_1685695916000\n" * 25_000])
    writing.start()
    until(lambda: source._ahead is not None and source._ahead._nbytes == 400_000)
    writing.join()
    assert len(source.poll(25_000, 0.0).values) == 25_000
    source.close()


@pytest.mark.parametrize("path", ["plain", os.devnull])
def test_a_plain_file_needs_no_thread(tmp_path: Path, path: str):
    (tmp_path / "plain").write_bytes(b"a\nb")
    with (Path(path) if path == os.devnull else tmp_path / path).open("rb") as file:
        source = PipeSource(file.fileno(), on_error=pytest.fail)
        assert source.open(Place())
        found = []
        while not source.finished:
            found += source.poll(10, 0.0).values.listed
        assert source._ahead is None
        assert found == ([b"a", b"b"] if path == "plain" else [])


def test_a_silent_pipe_does_not_keep_the_process_from_its_exit():
    code = (
        "from actors.sources.lines import stdin_source\n"
        "from actors.sources.polled import Place\n"
        "source = stdin_source(on_error=print)\n"
        "assert source.open(Place())\n"
        "source.poll(10, 0.0)\n"
        "print('ending')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        assert running.stdout.read() == b"ending\n"  # the pipe to its standard input is still open
        assert running.wait(30) == 0
