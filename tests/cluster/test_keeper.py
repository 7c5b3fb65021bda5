"""The actor that keeps a process of a cluster on a node of Ray, in a plain process: what it starts again, and when it stops."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.checkout import ROOT
from scripts.cli.on_ray import keeper
from scripts.cli.on_ray.keeper import Keeper, pause_after
from scripts.cli.on_ray.places import settings_of
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the log of a worker of Ray is found by Linux's /proc")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a token that the process must not see")
    monkeypatch.setattr(keeper, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def kept() -> Iterator[list[Keeper]]:
    made: list[Keeper] = []
    yield made
    for each in made:
        each.stop()


@given(st.lists(st.floats(0, 600), max_size=40))
def test_the_pause_grows_to_a_minute_while_the_process_ends_soon_and_begins_anew_after_a_steady_run(lasted: list[float]):
    first, pause = keeper._FIRST_PAUSE_S, 0.0
    for each in lasted:
        before, pause = pause, pause_after(pause, each)
        assert pause == (first if each >= 60 or not before else min(2 * before, 60))
        assert first <= pause <= 60


def test_a_process_that_ends_is_started_again_and_one_that_a_new_start_does_not_help_is_not(kept: list[Keeper], tmp_path: Path):
    count = tmp_path / "count"
    kept.append(
        Keeper(
            python(f"open({str(count)!r}, 'a').write('x'); raise SystemExit(1 if len(open({str(count)!r}).read()) < 3 else 75)")
        )
    )
    ended = until(lambda: (found := kept[0].state())["state"] == "ended" and found)
    assert (ended["ended"], ended["pid"], count.read_text()) == (3, None, "xxx")
    assert "the process ended with 75" in ended["reason"]
    assert "another process has its member name" in ended["reason"]


def test_a_process_gets_no_variable_of_ray_and_is_ended_in_order(kept: list[Keeper], tmp_path: Path):
    said = tmp_path / "said"
    kept.append(
        Keeper(
            python(f"""
            import os, pathlib, signal
            said = pathlib.Path({str(said)!r})
            signal.signal(signal.SIGTERM, lambda *_: (said.write_text("in order"), os._exit(0)))
            said.write_text(" ".join(name for name in os.environ if name.startswith("RAY_")) + "|")
            signal.pause()
            """)
        )
    )
    until(lambda: said.exists() and said.read_text() == "|")
    found = kept[0].state()
    assert found["state"] == "running"
    assert psutil.pid_exists(found["pid"])
    assert kept[0].stop() is True
    assert said.read_text() == "in order"
    assert (kept[0].state()["state"], kept[0].state()["pid"]) == ("stopped", None)
    assert not psutil.pid_exists(found["pid"])


@pytest.mark.parametrize("mode", ["", "disabled"])
def test_nothing_is_started_on_a_node_without_tokens(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    refused = Keeper(python(f"open({str(tmp_path / 'made')!r}, 'w')"))
    assert refused.state()["state"] == "ended"
    assert "RAY_AUTH_MODE=token on every machine" in refused.state()["reason"]
    assert refused.stop() is True
    assert not (tmp_path / "made").exists()


def test_a_python_that_is_not_on_the_node_is_a_reason_and_no_error(kept: list[Keeper]):
    kept.append(Keeper(["/absent/python", "x"]))
    found = until(lambda: (state := kept[0].state())["ended"] and state)
    assert "/absent/python" in found["reason"]


def test_the_process_ends_when_the_worker_of_ray_is_killed():
    code = f"""
    import sys, time
    sys.path.insert(0, {str(ROOT)!r})
    from scripts.cli.on_ray.keeper import Keeper
    keeper = Keeper([sys.executable, "-c", "import signal; signal.pause()"])
    while keeper.state()["pid"] is None:
        time.sleep(0.01)
    print(keeper.state()["pid"], flush=True)
    time.sleep(600)
    """
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        process = psutil.Process(int(worker.stdout.readline()))
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    process.wait(30)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("", "expected a cluster in it"),
        ("cluster: {name: c, shards: 2}\nhttp: {port: 0}", "http.port: expected a port"),
        ("cluster: {name: c, shards: 2}\ndata_dir: data", "data_dir: expected an absolute path"),
        ("cluster: {name: c, shards: 2, secret: s}\ndata_dir: null", "cluster.secret: expected an absolute path"),
    ],
)
def test_a_configuration_that_cannot_run_on_several_machines_is_refused(more: str, reason: str, tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(f'kafka: {{bootstrap.servers: "b:9092"}}\nstreams: {{w: {{view: words, source: {{topic: w}}}}}}\n{more}\n')
    with pytest.raises(ValueError, match=reason):
        settings_of(path, [])
