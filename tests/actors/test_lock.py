"""A data folder has one process. A second process is refused with the id of the first, and may start once that has ended."""

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.durability.lock import owned
from tests.conftest import ROOT
from tests.support.forked import run_forked
from tests.support.service import command, free_port, service
from tests.support.waiting import PATIENCE_S

OWNER = """
import sys
from pathlib import Path
from actors.durability.lock import owned
from tests.support.forked import run_forked
with owned(Path(sys.argv[1])) as name:
    print(name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a process that owns `folder`, and the name of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_a_second_process_is_refused_until_the_owner_is_killed(tmp_path: Path):
    folder = tmp_path / "not" / "there" / "yet"
    with owner(folder) as (first, name):
        assert re.fullmatch("[0-9a-f]{12}", name)
        for _ in range(2):
            with pytest.raises(ValueError, match=f"data_dir: {folder} is in use by process {first.pid}$"), owned(folder):
                pass
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=PATIENCE_S)
        with owned(folder) as found:
            assert found == name, "the folder keeps its name"
    with owner(folder) as (_, found):
        assert found == name


def test_a_suspended_process_keeps_its_lock(tmp_path: Path):
    with owner(tmp_path) as (first, _):
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(ValueError, match=f"process {first.pid}"), owned(tmp_path):
            pass
        first.send_signal(signal.SIGCONT)


def test_a_refused_process_changes_no_file(tmp_path: Path):
    with owner(tmp_path) as (first, _):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(ValueError, match="in use"), owned(tmp_path):
            pass
        assert (
            {path.name: path.read_bytes() for path in tmp_path.iterdir()}
            == before
            == {
                "lock": str(first.pid).encode(),
                "name": before["name"],
            }
        )


def test_two_folders_have_different_names(tmp_path: Path):
    with owned(tmp_path / "one") as one, owned(tmp_path / "other") as other:
        assert one != other


@pytest.mark.parametrize("damaged", [b"", b"\xff\xfe", b"0123456789ab0", b"../../../../x", b"0123456789AB"], ids=repr)
def test_a_damaged_name_is_an_error(tmp_path: Path, damaged: bytes):
    with owned(tmp_path):
        pass
    (tmp_path / "name").write_bytes(damaged)
    with pytest.raises(ValueError, match="expected a name of twelve hexadecimal digits"), owned(tmp_path):
        pass


def test_an_unfinished_file_with_the_name_is_written_again(tmp_path: Path):
    (tmp_path / "name.tmp").write_bytes(b"0123")
    with owned(tmp_path) as name:
        assert (tmp_path / "name").read_text() == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "name"]


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError), owned(tmp_path / "file" / "folder"):
        pass


def test_a_second_service_on_one_data_dir_is_refused_until_the_first_is_killed(embedded: str, tmp_path: Path):
    topic = f"m-{uuid.uuid4().hex}"
    data_dir = f"data_dir={tmp_path / 'data'}"
    with service(embedded, topic, data_dir) as first:
        settings = [data_dir, f"http.port={free_port()}", f"kafka.bootstrap.servers={embedded}"]
        settings += [f"streams.events.source.topic={topic}"]
        words = [word for each in settings for word in ("--set", each)]
        second = run_forked(command("serve", "--only", "events", *words))
        assert second.returncode == 1
        assert f"firnline: data_dir: {tmp_path / 'data'} is in use by process {first.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.get("/livez") == {"live": True}
        first.process.kill()
        first.process.wait(timeout=PATIENCE_S)
        with service(embedded, topic, data_dir) as third:
            assert third.get("/livez") == {"live": True}
            assert (tmp_path / "data" / "lock").read_text() == str(third.process.pid)
