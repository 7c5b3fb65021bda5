"""`serve --once` over inputs that cannot be read: each ends with a clear error and a code that is not 0, and loses no line."""

import gzip
import json
import os
import stat
from pathlib import Path

import pytest

from tests.support.forked import run_forked
from tests.support.service import command, service
from tests.support.waiting import until

LINES = b"R_1\nG_2\nB_3\n"


def served(folder: Path, source: str, *words: str) -> tuple[int, int, str]:
    """Run the service once over a source. Returns its exit code, the records that it read, and what it wrote."""
    sets = ["http.port=0", f"data_dir={folder / 'data'}", f"streams.events.source={source}", *words]
    serve = command("serve", "--once", "--only", "events", *(word for each in sets for word in ("--set", each)))
    done = run_forked(serve, cwd=folder)
    assert "Traceback" not in done.stderr, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    records = sum(line["records"] for line in lines if line["event"] == "drained")
    return done.returncode, records, done.stderr


def absent(folder: Path) -> Path:
    return folder / "nothing"


def directory(folder: Path) -> Path:
    (folder / "directory").mkdir()
    return folder / "directory"


def forbidden(folder: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    path = folder / "forbidden"
    path.write_bytes(LINES)
    path.chmod(0)
    return path


def unreadable(_: Path) -> Path:
    path = Path("/proc/self/mem")  # opens, and fails at the first byte
    if not path.exists():
        pytest.skip("this system has no /proc")
    return path


@pytest.mark.parametrize("make", [absent, directory, forbidden, unreadable])
def test_a_file_that_cannot_be_read_is_an_error_at_once(tmp_path: Path, make):
    path = make(tmp_path)
    code, _, written = served(tmp_path, f"{{file: {path}}}")
    last = written.splitlines()[-1]
    assert code == 1
    assert last.startswith(f"firnline: {path}: expected a file to read, got: ")


def test_an_empty_file_and_one_with_lines_end_well(tmp_path: Path):
    for text, records in ((b"", 0), (LINES, 3)):
        path = tmp_path / f"lines{records}"
        path.write_bytes(text)
        path.chmod(stat.S_IRUSR)
        assert served(tmp_path, f"{{file: {path}}}")[:2] == (0, records)


@pytest.mark.parametrize(("cut", "behind"), [(6, b""), (0, b"not gzip")], ids=["incomplete", "bytes behind"])
def test_the_lines_before_the_damage_of_a_gzip_file_are_read_and_the_failure_is_reported(
    tmp_path: Path, cut: int, behind: bytes
):
    path = tmp_path / "lines.gz"
    packed = gzip.compress(LINES)
    path.write_bytes(packed[: len(packed) - cut] + behind)
    code, records, written = served(tmp_path, f"{{file: {path}}}")
    assert (code, records) == (1, 3)
    problem = "the file is incomplete" if cut else "bytes follow that are not gzip"
    (line,) = [line for line in map(json.loads, written.splitlines()[:-1]) if line["event"] == "input failed"]
    assert line["problem"].startswith(f"{path}: gzip, near byte ")
    assert line["problem"].endswith(f": {problem}; the lines before it are read")
    assert written.splitlines()[-1] == "firnline: input failed: events"


def test_a_service_goes_on_with_the_lines_before_the_damage_and_its_coverage_reports_the_rest(tmp_path: Path):
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(LINES)[:-6])
    with service(None, None, f"streams.events.source={{file: {path}}}") as running:
        until(lambda: running.stats()["missed"])
        assert running.settled(3)["missed"] == {"damaged": 0}  # their number is unknown
        (lost,) = running.get("/events/get-sets?startTime=0&endTime=10&coverage=1")["coverage"]["missing"]
        assert lost[0] <= 3  # the time of the last event, less the lateness
        assert lost[1] is None
        assert running.get("/readyz")["streams"]["events"]["ready"]


def test_a_command_that_is_not_there_is_an_error_at_once(tmp_path: Path):
    code, _, written = served(tmp_path, "{command: nosuchcommand a}")
    assert code == 1
    assert written.splitlines()[-1] == "firnline: nosuchcommand: expected a command to run, got nothing that is one"


@pytest.mark.parametrize(("end", "reason"), [("exit 3", "ended with 3"), ("kill -9 $$", "ended with -9")])
def test_a_command_that_fails_loses_no_line_and_is_an_error(tmp_path: Path, end: str, reason: str):
    script = tmp_path / "some.sh"
    script.write_bytes(b"#!/bin/sh\necho R_1\necho G_2\necho B_3\n" + end.encode() + b"\n")
    code, records, written = served(tmp_path, f"{{command: sh {script}}}")
    assert (code, records) == (1, 3)
    assert written.splitlines()[-1] == "firnline: input failed: events"
    assert f"sh {reason}" in written


def test_a_command_that_succeeds_ends_well(tmp_path: Path):
    assert served(tmp_path, "{command: echo R_1}")[:2] == (0, 1)
