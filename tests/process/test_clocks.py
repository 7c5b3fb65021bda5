"""Clocks that are wrong, end to end: the real service reads pipes, files and topics whose times cannot be yet."""

import json
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.conftest import Send
from tests.support.forked import run_forked
from tests.support.service import ROOT, Service, service
from tests.support.service import command as command_of
from tests.support.waiting import until

BEGINNING_MS = 1_685_695_916_000
YEAR_2100_MS = 4_102_444_800_000
RIGHT = [f"{'RGB'[number % 3]}_{BEGINNING_MS + 10 * number}".encode() for number in range(30_000)]
WRONG = [f"R_{YEAR_2100_MS + number}".encode() for number in range(9)]
LIMITS = ("streams.events.max_sets=1000", "streams.events.max_age_ms=3600000")
HOUR_S = 3_600
serve = partial(command_of, "serve")


def source(kind: str, folder: Path, values: Iterable[bytes]) -> str:
    """Return the setting of a source that gives these lines once, and does not end if it is a program."""
    (folder / "lines").write_bytes(b"".join(value + b"\n" for value in values))
    if kind == "file":
        return f"source={{file: {folder / 'lines'}}}"
    return f"source={{command: {json.dumps('sh -c ' + shlex.quote(f'cat {folder}/lines; exec sleep 600'))}}}"


def metric(running: Service, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics") as reply:
        text = reply.read().decode()
    (line,) = [line for line in text.splitlines() if line.startswith(name + "{")]
    return float(line.rsplit(" ", 1)[1])


def sets_of(stats: dict[str, Any]) -> int:
    return sum(row["validSetCount"] for row in stats["data"])


@pytest.mark.parametrize("kind", ["file", "command"])
def test_nine_records_of_the_year_2100_drop_no_set(kind: str, tmp_path: Path):
    setting = source(kind, tmp_path, [*RIGHT, *WRONG])
    with service(None, None, f"streams.events.{setting}", *LIMITS) as running:
        stats = running.settled(30_009) if kind == "file" else until(lambda: _all_sets(running))
        assert (sets_of(stats), stats["droppedGenerations"], stats["events"]) == (10_000, {}, 30_009)
        assert (stats["ahead"], stats["apart"]) == (9, 0 if kind == "file" else 9)
        assert stats["apartFrom"] == (None if kind == "file" else YEAR_2100_MS)
        assert stats["coverage"]["completeTo"] < BEGINNING_MS + 300_000
        assert metric(running, "firnline_ahead_events_total") == 9
        assert metric(running, "firnline_apart_events") == stats["apart"]


def _all_sets(running: Service) -> dict[str, Any] | None:
    """Return the stats once all sets are formed, and the progress of the front end has come too."""
    stats = running.stats()
    return stats if sets_of(stats) == 10_000 and stats["ahead"] == 9 and stats["coverage"]["completeTo"] else None


def test_one_partition_of_a_topic_whose_clock_is_ahead_holds_no_set_back(topic: str, send: Send, broker: str):
    send(broker, topic, RIGHT, [0] * len(RIGHT))
    send(broker, topic, WRONG * 30, [1] * 270)
    with service(broker, topic, *LIMITS) as running:
        stats = until(
            lambda: running.stats() if running.stats()["ahead"] == 270 and sets_of(running.stats()) == 10_000 else None
        )
        assert (stats["apart"], stats["droppedGenerations"]) == (270, {})


def test_a_whole_stream_ahead_can_be_used_without_a_limit(tmp_path: Path):
    ahead = [f"{'RGB'[number % 3]}_{YEAR_2100_MS + 10 * number}".encode() for number in range(3_000)]
    with service(
        None, None, f"streams.events.{source('command', tmp_path, ahead)}", "streams.events.max_ahead_ms=null"
    ) as running:
        until(lambda: sets_of(running.stats()) == 1_000)
        assert running.stats()["ahead"] == 0


@pytest.mark.long
def test_a_record_ahead_is_counted_after_its_time_also_if_the_service_was_down_then(tmp_path: Path):
    (tmp_path / "script").write_text(_AHEAD)
    program = json.dumps(shlex.join([sys.executable, str(tmp_path / "script"), str(tmp_path / "at")]))
    settings = (
        f"streams.words.source={{command: {program}}}",
        "streams.words.max_ahead_ms=2000",
        f"data_dir={tmp_path}",
        "checkpoint.every_ms=1000",
    )
    with service(None, None, *settings, stream="words") as running:
        until(lambda: running.stats("words")["apart"] == 2)
        assert running.get("/words/CountWords") == {"past": 1}
        until(lambda: running.stats("words")["checkpoint"]["number"] >= 2)
    at = int((tmp_path / "at").read_text())
    with service(None, None, *settings, stream="words") as running:
        until(lambda: running.request("/startupz")[0] == 200)  # the checkpoint is read
        until(lambda: running.get("/words/CountWords") == {"past": 1, "later": 1})
        assert time.time() >= at
        stats = until(lambda: found if (found := running.stats("words"))["apart"] == 1 else None)  # progress comes a tick later
        assert (stats["apartFrom"], stats["events"]) == ((at + 10 * HOUR_S) * 1000, 3)


_AHEAD = """
import json, pathlib, sys, time
file = pathlib.Path(sys.argv[1])
if not file.exists():  # the program has nothing more when it is started again
    now = time.time()
    at = int(now) + 8
    file.write_text(str(at))
    for time_, word in ((now - 10, "past"), (at, "later"), (at + 36_000, "tomorrow")):
        print(json.dumps({"event_type": word, "data": word, "timestamp": time_}), flush=True)
time.sleep(600)
"""
"""Prints an event that lies some seconds ahead of the clock at this moment, and writes its time to a file."""


def _word(at: float, word: str) -> bytes:
    return json.dumps({"event_type": word, "data": word, "timestamp": at}).encode()


def test_the_last_seconds_have_no_event_of_the_future(tmp_path: Path):
    now = time.time()
    far = ((now + 30, "soon"), (now + 10 * 365 * 86_400, "decade"), (253_402_300_799, "end"))
    values = [_word(now - 10, "past"), *(_word(at, word) for at, word in far)]
    with service(None, None, f"streams.words.{source('command', tmp_path, values)}", stream="words") as running:
        until(lambda: running.stats("words")["events"] == 4)
        assert running.get("/words/CountWords?last=1") == {}
        assert running.get("/words/CountWords?last=60") == {"past": 1}
        assert running.get("/words/CountWords") == {"past": 1, "soon": 1}
        until(lambda: running.stats("words")["apart"] == 2)


def test_the_last_seconds_are_as_many_as_asked_for(tmp_path: Path):
    now = time.time()
    values = [_word(now + number / 100, "tick") for number in range(-6_000, 12_000)]
    with service(None, None, f"streams.words.{source('command', tmp_path, values)}", stream="words") as running:
        until(lambda: running.stats("words")["events"] == len(values))
        for last in (1, 2, 5, 30):
            for _ in range(5):
                found = running.get(f"/words/CountWords?last={last}")["tick"]
                assert abs(found - 100 * last) <= 1, "the first event of a second may be rounded into the one before"


def test_a_running_minute_is_not_final(tmp_path: Path):
    script, out = tmp_path / "script", tmp_path / "out"
    script.write_text(_ONE_BY_ONE)
    program = json.dumps(shlex.join([sys.executable, str(script), str(out)]))
    settings = (f"streams.uniques.source={{command: {program}}}", f"streams.uniques.output={{file: {out}}}")
    with service(None, None, *settings, "streams.uniques.idle_ms=300", stream="uniques"):
        rows = until(lambda: _minutes(out, 1_468_244_400, 5))
        assert [(row["frames"], row["final"]) for row in rows] == [(1, False), (2, False), (3, False), (4, False), (4, True)]
        assert [row["revision"] for row in rows] == [1, 2, 3, 4, 5]


_ONE_BY_ONE = """
import pathlib, sys, time
out = pathlib.Path(sys.argv[1])
for second in range(1, 5):
    print('{"ts": %d, "uid": "u"}' % (1468244400 + second), flush=True)
    while not out.exists() or out.read_text().count('"granularity":"minute"') < second:
        time.sleep(0.05)
print('{"ts": 1468244466, "uid": "u"}', flush=True)
time.sleep(600)
"""
"""Prints an event of a minute, and waits until the row of that minute has been published, four times."""


def _minutes(out: Path, start: int, count: int) -> list[dict[str, Any]] | None:
    """Return the rows of a minute once there are so many."""
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    own = [row for row in rows if (row["granularity"], row["start"]) == ("minute", start)]
    return own if len(own) >= count else None


def test_a_minute_is_final_once_the_clock_of_a_silent_stream_has_passed_its_end(tmp_path: Path):
    start = 60 * (int(time.time()) // 60 - 1)
    frames = [json.dumps({"ts": start + 56, "uid": "u"}).encode()]  # its stream's time reaches the end after four seconds
    out = tmp_path / "out"
    settings = (f"streams.uniques.{source('command', tmp_path, frames)}", f"streams.uniques.output={{file: {out}}}")
    with service(None, None, *settings, "streams.uniques.lateness_ms=100", stream="uniques"):
        rows = until(lambda: _minutes(out, start, 2))
        assert [(row["final"], row["revision"]) for row in rows] == [(False, 1), (True, 2)]


@pytest.mark.parametrize("command", [False, True])
def test_once_over_the_same_bytes_gives_the_same_rows_however_they_come(command: bool, tmp_path: Path):
    spec = Spec(30_000, 1_468_244_384_000)
    data = b"".join(value + b"\n" for chunk in chunks("uniques", spec) for value in chunk.values)
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "writer").write_text(_WRITER)
    outputs = []
    for size, pause_s in ((len(data), 0.0), (len(data) // 3, 0.6), (100_003, 0.02)):
        writer = [sys.executable, str(tmp_path / "writer"), str(tmp_path / "data"), str(size), str(pause_s)]
        outputs.append(_rows_of(writer, command=command))
    assert outputs[0] == outputs[1] == outputs[2]
    rows = [json.loads(line) for line in outputs[0].splitlines()]
    assert {(row["final"], row["granularity"] == "minute") for row in rows} == {(True, True), (False, False)}


_WRITER = """
import sys, time
data, size, pause_s = open(sys.argv[1], "rb").read(), int(sys.argv[2]), float(sys.argv[3])
for start in range(0, len(data), size):
    sys.stdout.buffer.write(data[start : start + size])
    sys.stdout.buffer.flush()
    time.sleep(pause_s)
"""


def _rows_of(writer: list[str], *, command: bool) -> str:
    """Return what a run with `--once` prints of the output of `writer`, as a command or through a pipe.

    The writer's pause of 0.6 s is longer than the silence after which a partition is idle.
    """
    words = ["--config", str(ROOT / "config" / "uniques.yaml"), "--once", "--set", "http.port=0"]
    words += ["--set", "streams.uniques.idle_ms=200"]
    if command:
        words += ["--set", f"streams.uniques.source={{command: {json.dumps(shlex.join(writer))}}}"]
        return run_forked(serve(*words), check=True).stdout
    with subprocess.Popen(writer, stdout=subprocess.PIPE) as pipe:
        return run_forked(serve(*words), check=True, stdin=pipe.stdout).stdout
