"""A forked script behaves as in a fresh interpreter: its output, exit code, id, environment, folder, and end by a signal."""

import os
import signal
import subprocess
import uuid
from pathlib import Path

import psutil
import pytest

from tests.support.forked import Forked
from tests.support.service import command, service
from tests.support.waiting import until

SCRIPT = """
import os, sys
from gateway.api.caching import _PROCESS
print(sys.argv[1:], os.getcwd(), os.environ["COLOUR"], os.getpid(), flush=True)
print(_PROCESS.hex(), file=sys.stderr)
sys.exit(7)
"""


def forked(*words: str, cwd: Path, **environ: str) -> Forked:
    return Forked(words, cwd, {**os.environ, **environ})


def test_a_fork_has_its_own_arguments_folder_environment_id_and_secret(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    secrets = []
    for colour in ("red", "green"):
        child = forked(str(script), "a", "--b", cwd=tmp_path, COLOUR=colour)
        printed, _ = child.communicate(timeout=60)
        child.stdout.close()
        first, secret = printed.splitlines()
        assert (child.returncode, first) == (7, f"['a', '--b'] {tmp_path} {colour} {child.pid}")
        secrets.append(secret)
    assert secrets[0] != secrets[1]


def test_a_wrong_setting_ends_a_fork_as_it_ends_a_fresh_interpreter(tmp_path: Path):
    words = command("serve", "--set", "http.port=none")
    fresh = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    child = forked(*words[1:], cwd=tmp_path)
    assert child.communicate(timeout=60)[0] == fresh.stdout + fresh.stderr
    assert child.returncode == fresh.returncode == 1
    child.stdout.close()


def test_a_fork_that_has_ended_keeps_its_id_until_its_exit_code_was_read(tmp_path: Path):
    child = forked("-m", "this", cwd=tmp_path)
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    os.kill(child.pid, signal.SIGTERM)  # without the id this raises `ProcessLookupError`
    assert child.wait(60) == 0
    until(lambda: not psutil.pid_exists(child.pid))
    child.send_signal(signal.SIGTERM)
    child.stdout.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 0)])
def test_a_signal_ends_the_service_of_a_fork(embedded: str, number: int, code: int):
    with service(embedded, f"m-{uuid.uuid4().hex}") as running:
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(0.01)
        returned, printed = running.stop(number)
        assert returned == code
        assert ("drained" in printed) == (number == signal.SIGINT)
