"""The command `firnline`, as people type it, and `firnline top` in a real terminal."""

import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from actors.timeline.batch import Batch
from actors.views.sets.slices import LiveSets
from config.changes import Applies, leaves
from config.load import load, read
from config.settings import Settings
from config.streams import STREAMS, bytes_a_set
from scripts.cli.configuration import doubts
from scripts.cli.configuration.check import check
from scripts.cli.configuration.entries import entries
from scripts.cli.configuration.schema import json_schema
from scripts.cli.frame import drawn, frame
from scripts.cli.main import COMMANDS, loaded
from scripts.cli.printing import figure, size
from scripts.cli.watching import Rates
from tests.conftest import Send
from tests.support.command_line import run
from tests.support.running import records
from tests.support.service import ROOT, free_port, service
from tests.support.waiting import PATIENCE_S, until

FIRNLINE = [sys.executable, "-m", "scripts.cli"]


# The command itself --------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_the_exit_codes_and_loads_none_of_them():
    script = "import sys; from scripts.cli.main import app; app(standalone_mode=False, args=['--help'])"
    told = "print('loaded', sorted({'numpy', 'pykka', 'confluent_kafka', 'pydantic', 'starlette'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; {told}"], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert "loaded []" in done.stdout, done.stderr
    for name in COMMANDS:
        assert re.search(rf"^\W*{name}\b", done.stdout, re.MULTILINE)
    assert "130" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_help_and_its_line_is_true(name: str):
    def look(command: Any, path: str) -> None:
        assert command.help, path
        for option in command.params:
            assert option.help, f"{path} {option.name}"
        for each, below in getattr(command, "commands", {}).items():
            look(below, f"{path} {each}")

    found = loaded(name)
    look(found, name)
    assert (found.help or "").split("\n")[0] == COMMANDS[name].line


def test_every_command_loads_without_the_packages_that_are_optional():
    script = """
import sys
optional = {"google", "fastavro", "grpc_tools", "pyarrow", "duckdb", "httpx", "pyinstrument", "opentelemetry", "pytest", "ray"}
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in optional:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from scripts.cli.main import COMMANDS, loaded
print(*(name for name in COMMANDS if loaded(name).help))
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.stdout.split() == list(COMMANDS), done.stderr


def test_wrong_use_exits_with_2_and_a_failure_with_1():
    assert run("config", "check", "--rate", "none").returncode == 2
    assert run("nothing").returncode == 2
    for url in ("ftp://x", "http://127.0.0.1:99999", "http://[::1"):
        for asked in (run("query", "sets", "--url", url), run("top", "--url", url)):
            assert asked.returncode == 2
            assert "an address such as" in asked.stderr
    gone = run("query", "stats", "--url", f"127.0.0.1:{free_port()}")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)
    assert "is the service running?" in gone.stderr


def test_a_shell_completes_commands_and_options():
    words = {"_FIRNLINE_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert set(run(**words, COMP_WORDS="firnline ").stdout.split()) == set(COMMANDS)
    words["COMP_CWORD"] = "2"
    assert "check" in run(**words, COMP_WORDS="firnline config ").stdout.split()


# The configuration ---------------------------------------------------------------------------------------------------


def test_check_prints_capacities_and_exits_with_1_if_the_service_cannot_run(tmp_path: Path):
    good = run("config", "check", "--json", "--set", "memory.budget=400MiB", "--only", "events")
    assert good.returncode == 0, good.stderr
    told = json.loads(good.stdout)
    (events,) = told["holds"]
    assert events["count"] == int(events["room_bytes"] / events["bytes_each"])
    assert events["seconds"] == pytest.approx(events["count"] / (10_000 / 3), rel=0.01)
    small = run("config", "check", "--set", "memory.budget=20MiB")
    assert small.returncode == 1
    assert "memory.budget: expected at least" in small.stdout
    path = tmp_path / "x.yaml"
    path.write_text("http: {prot: 1}\nstreams: {events: {max_sets: none}}\n")
    wrong = run("config", "check", str(path))
    assert wrong.returncode == 1
    assert f"{path}:1: http.prot: unknown key, did you mean port?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_text_of_settings_is_not_read_as_markup(tmp_path: Path):
    path = tmp_path / "[red].yaml"
    path.write_text("streams: {events: {}}\nkafka: {client.id: '[/b]'}\n")
    assert "[red].yaml is good" in run("config", "check", str(path)).stdout
    assert "[red].yaml is good" in run("config", "check", "--config", str(path)).stdout
    assert run("config", "check", str(path), "--config", str(path)).returncode == 2
    assert "client.id = [/b]" in run("config", "explain", "kafka", "--config", str(path)).stdout


@pytest.mark.parametrize("gap_ms", [0.3, 3.6, 36.0, 1_000.0])
def test_a_set_has_the_size_that_check_computes(gap_ms: float):
    """Sets at random times, compressed for real."""
    chance, sets = np.random.default_rng(1), 60_000
    live = LiveSets(steps=3, max_sets=2 * sets)
    live.add(Batch(tuple(np.sort(chance.integers(10**12, 10**12 + int(sets * gap_ms), sets)) for _ in range(3))), None)
    frozen, _ = live.freeze()
    while frozen.settle():
        pass
    found = frozen.meta().nbytes / frozen.meta().summary.sets
    assert bytes_a_set(3, 1_000 / gap_ms, "ms") == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data_dir=null"], "data_dir: null, so a restart reads every topic from its start"),
        (["memory.budget=100000GiB"], "memory.budget: 100000GiB is more than the limit"),
        (["memory.budget=100%"], "leaves less than a tenth"),
        (["streams.events.lateness_ms=60000", "streams.events.idle_ms=100"], "idle_ms: 100 is much less than lateness_ms"),
        (["streams.events.lateness_ms=3600000"], "but at most 1,000,000 may wait"),
        (["streams.uniques.output.topic=words"], "streams.uniques.output.topic: words is the source of words"),
        (["streams.events.max_sets=10000000000"], "a collector retires at 10,000,000,000 sets"),
    ],
)
def test_check_reports_odd_settings(overrides: list[str], said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith("/proc"))  # root may write anywhere
    found = check(load(None, overrides, {}), 10_000, {}, connect=False)
    assert said in "\n".join(found.odd)
    assert not found.wrong


def test_without_a_token_the_service_cannot_listen_off_loopback():
    found = check(load(None, ["http.host=0.0.0.0"], {}), 10_000, {}, connect=False)
    assert "a token is needed" in "\n".join(found.wrong)
    found = check(load(None, ["http.host=0.0.0.0"], {}), 10_000, {"FIRNLINE_READ_TOKEN": "r" * 24}, connect=False)
    assert not found.wrong
    assert "is reached by other machines" in "\n".join(found.odd)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data_dir=/proc/none"], "data_dir: /proc/none cannot be written"),
        (["http.host=203.0.113.1"], "http.host: 203.0.113.1 is not an address of this machine"),
        (["kafka.acks=1", "kafka.enable.idempotence=true"], "`acks` must be set to `all`"),
        (["kafka.max.poll.interval.ms=1000"], "must be >= `session.timeout.ms`"),
    ],
)
def test_check_finds_what_the_service_cannot_do_here(overrides: list[str], said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith("/proc"))  # root may write anywhere
    assert said in "\n".join(check(load(None, overrides, {}), 10_000, {}, connect=False).wrong)


def test_check_names_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doubts, "_BROKER_TIMEOUT_S", 1.0)
    done = run("config", "check", "--connect", "--set", f"kafka.bootstrap.servers=127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "wrong  kafka.bootstrap.servers: 127.0.0.1:" in done.stdout
    assert "Connection refused" in done.stdout


_AT = {"field": "/at", "unit": "ms"}
STANZAS: dict[str, dict[str, Any]] = {view: {"view": view, "source": {"topic": "t"}} for view in STREAMS}
STANZAS["funnel"] |= {"within": "2h", "steps": ["a", "b"], "record": {"key": "/k", "time": _AT, "step": {"field": "/s"}}}


@pytest.mark.parametrize("view", STANZAS)
def test_check_finds_the_settings_of_each_view_that_have_no_effect(view: str):
    def odd(**more: Any) -> list[str]:
        stanza = {**STANZAS[view], **more}
        told = check(Settings.model_validate({"streams": {"s": stanza}}), 10.0, {}, connect=False)
        assert not told.wrong
        return [line for line in told.odd if "no effect" in line]

    publishes = view in {"segments", "uniques", "funnel"}
    assert odd() == []
    for output in ({"topic": "o"}, {"file": "/dev/null"}, {"console": True}):
        assert odd(output=output) == (
            [] if publishes else [f"streams.s.output: no effect, because the view {view} publishes nothing; ask over HTTP"]
        )
    assert odd(output={"max_file_bytes": 7}) == ["streams.s.output.max_file_bytes: no effect without output.file"]
    assert odd(source={"stdin": True, "start": "latest"}) == ["streams.s.source.start: no effect without a topic"]
    for name in ("max_aged", "max_age_ms", "lateness_ms"):
        idle = name in {"top": {"max_aged", "max_age_ms"}, "segments": {"lateness_ms", "max_age_ms"}}.get(view, set())
        assert odd(**{name: 7}) == ([f"streams.s.{name}: no effect on the view {view}"] if idle else [])


@pytest.mark.broker
def test_check_asks_the_broker_for_missing_topics(broker: str, topic: str):
    there = [f"streams={{a: {{source: {{topic: {topic}}}}}, b: {{source: {{topic: not-there}}}}}}"]
    given_ = load(None, [*there, f"kafka.bootstrap.servers={broker}"], {})

    def wrong() -> str:
        return "\n".join(check(given_, 1.0, {}, connect=True).wrong)

    assert "not-there does not exist" in wrong()
    near = [f"streams={{a: {{source: {{topic: {topic[:-1]}}}}}}}", f"kafka.bootstrap.servers={broker}"]
    until(lambda: f"did you mean {topic}?" in "\n".join(check(load(None, near, {}), 1.0, {}, connect=True).wrong))
    until(lambda: topic not in wrong())  # what is created just now may not be in the broker's list yet


def test_explain_prints_everything_about_a_setting(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text("memory:\n  budget: 1GiB\nstreams: {events: {max_sets: 7}}\n")
    done = run("config", "explain", "memory.budget", "--config", str(path))
    assert done.returncode == 0, done.stderr
    told = dict(re.findall(r"^  ([a-z ]+?)  +(.*)$", done.stdout, re.MULTILINE))
    assert told["default"] == "60%"
    assert told["value"] == "1GiB"
    assert told["set in"] == f"{path}:2"
    assert told["a change"] == "at a reload, at once"
    by_environment = run("config", "explain", "http.port", "--json", FIRNLINE_HTTP__PORT="81")
    assert json.loads(by_environment.stdout)[0]["place"] == "environment FIRNLINE_HTTP__PORT"
    wrong = run("config", "explain", "memory.bugdet")
    assert wrong.returncode == 2
    assert "memory.budget" in wrong.stderr


def test_explain_lists_every_setting_with_its_place_and_without_secrets():
    reading = read(None, ["kafka.sasl.password=hunter2", "http.port=1"], {"FIRNLINE_LOG__LEVEL": "error"})
    known = {each.key: each for each in entries(reading)}
    assert {".".join(path) for path, _ in leaves(reading.settings)} == {key for key, each in known.items() if not each.section}
    assert all(each.description and each.type for each in known.values())
    assert known["http.port"].place == "--set http.port"
    assert known["log.level"].place == "environment FIRNLINE_LOG__LEVEL"
    assert known["streams.dataset.max_aged"].place is None
    assert "default.yaml:" in str(known["memory.budget"].place)
    assert "hunter2" not in str(known)
    assert known["streams.events.max_aged"].type == "an integer, 0 or more, or null"
    assert known["streams.uniques.zone"].applies is Applies.ANEW
    assert known["streams.events.max_sets"].applies is Applies.NEXT


def test_the_schema_takes_the_files_that_are_here_and_refuses_what_the_settings_refuse():
    yaml = YAML(typ="safe", pure=True)
    validator = jsonschema_rs.Draft202012Validator(json_schema())
    for path in sorted((ROOT / "config").glob("*.yaml")):
        assert not list(validator.iter_errors(yaml.load(path.read_text()))), path
    good = yaml.load((ROOT / "config" / "default.yaml").read_text())
    wrong = [("http", "port", 70_000), ("http", "prot", 1), ("memory", "budget", "many"), ("log", "level", "loud")]
    for section, key, value in wrong:
        assert list(validator.iter_errors({**good, section: {**good[section], key: value}})), (section, key)
    stream = {**good["streams"]["events"], "max_aged": -1}
    assert list(validator.iter_errors({**good, "streams": {"events": stream}}))
    assert json.loads(run("config", "schema").stdout) == json_schema()


# Asking --------------------------------------------------------------------------------------------------------------


def test_query_and_top_print_tables_and_json(embedded: str, mock_topic: str, send: Send):
    values = [*records([(1, 0), (2, 1), (3, 2)]), b"junk", b"[/red] :x: \x1b[2J"]
    send(embedded, mock_topic, values, [0] * len(values))
    with service(embedded, mock_topic) as running:
        running.settled(len(values))
        url = ("--url", f"http://127.0.0.1:{running.port}")
        assert json.loads(run("query", "sets", "--json", *url).stdout)["sets"][0]["b"]["timestamp"] == 3
        (known,) = json.loads(run("query", "streams", "--json", *url).stdout)["streams"]
        assert (known["name"], known["view"]) == ("events", "sets")
        assert "events" in run("query", "streams", *url).stdout
        assert "red" in run("query", "sets", *url).stdout
        assert "active" in run("query", "stats", *url).stdout
        rejects = run("query", "rejects", *url).stdout
        assert "no_underscore 1, not_text 1" in rejects
        assert r"[/red] :x: \x1b[2J" in rejects, "a record's text is neither markup nor a command to the terminal"
        wrong = run("query", "sets", "--start", "5", "--end", "1", *url)
        assert (wrong.returncode, wrong.stderr.strip()) == (1, "query: query endTime: expected startTime (5) or later, got 1")
        once = run("top", "--once", *url)
        assert once.returncode == 0, once.stderr
        assert "no_underscore 1" in once.stdout
        snapshot = json.loads(run("top", "--once", "--json", *url).stdout)
        assert snapshot["streams"][0]["records"] == 5
        assert {"memory", "rates", "actors"} <= snapshot.keys()
    gone = run("top", "--once", *url)
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)


class Terminal:
    """A command in a pseudo terminal of its own, and what it has shown."""

    def __init__(self, words: list[str], rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.size(rows, columns)

        def own() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environ = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.child = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env={**environ, "TERM": "xterm"}, preexec_fn=own  # noqa: PLW1509
        )  # fmt: skip
        self.slave = slave
        self.shown = ""

    def size(self, rows: int, columns: int) -> None:
        """Resize the terminal, and signal the command."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "child"):
            self.child.send_signal(signal.SIGWINCH)

    def key(self, key: str) -> None:
        """Press a key."""
        os.write(self.master, key.encode())

    def read(self) -> None:
        """Read all output so far."""
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                data = os.read(self.master, 65_536)
            except OSError as error:
                assert error.errno == errno.EIO
                return
            self.shown += data.decode(errors="replace")

    def frames(self) -> list[list[str]]:
        """Return the frames so far, each as its lines without colours: the screen is drawn from its top every time."""
        self.read()
        parts = self.shown.split("\x1b[H")[1:]
        plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part).replace("\r", "") for part in parts]
        return [part.split("\n") for part in plain if part.strip()]

    def until_shown(self, text: str, *, since: int = 0) -> list[str]:
        """Return the first frame from the `since`-th on in which a line has `text`."""

        def look() -> list[str] | None:
            assert self.child.poll() is None, self.shown
            return next((each for each in self.frames()[since:] if any(text in line for line in each)), None)

        return until(look)

    def end(self) -> int:
        """Return the exit code."""
        until(lambda: self.read() or self.child.poll() is not None)
        self.read()
        return self.child.returncode

    def close(self) -> None:
        """End it in any case."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.slave)
        os.close(self.master)


@contextmanager
def terminal(*words: str, rows: int = 24, columns: int = 80) -> Iterator[Terminal]:
    made = Terminal([*FIRNLINE, *words], rows, columns)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def watched(embedded: str) -> Iterator[str]:
    """Yield the address of a service without records."""
    with service(embedded, "watched") as running:
        yield f"127.0.0.1:{running.port}"


@pytest.mark.parametrize("leave", ["q", "\x03"])
def test_top_fits_a_terminal_follows_its_size_and_leaves_it_as_it_was(watched: str, leave: str):
    with terminal("top", "--url", watched) as shown:
        small = shown.until_shown("events")
        assert len(small) <= 24
        assert max(map(len, small)) <= 80
        assert any("memory" in line for line in small)
        shown.size(40, 132)
        wide = until(lambda: next((each for each in shown.frames() if max(map(len, each)) > 100), None))
        assert max(map(len, wide)) <= 132
        shown.key(leave)
        assert shown.end() == 0
        assert shown.shown.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))  # the screen before, with its cursor
        assert termios.tcgetattr(shown.slave) == shown.before
        assert "Traceback" not in shown.shown


def test_top_as_json_goes_to_a_pipe_and_ends_at_ctrl_c(watched: str):
    words = [*FIRNLINE, "top", "--json", "--url", watched]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            snapshots = [json.loads(child.stdout.readline()) for _ in range(2)]
            child.send_signal(signal.SIGINT)
            more, complaint = child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
    assert snapshots[0]["at"] < snapshots[1]["at"]
    assert all(json.loads(line)["streams"] for line in more.splitlines())
    assert (child.returncode, complaint) == (0, "")


@contextmanager
def serving(bootstrap: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service at a port that is known before."""
    given_ = [f"http.port={port}", f"kafka.bootstrap.servers={bootstrap}", "data_dir=null"]
    words = [*FIRNLINE, "serve", "--only", "events", *(word for each in given_ for word in ("--set", each))]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(timeout=60)


def test_top_goes_on_when_the_service_comes_back(embedded: str):
    port = free_port()
    with terminal("top", "--url", f"127.0.0.1:{port}") as shown:
        shown.until_shown("is the service running?")
        with serving(embedded, port):
            shown.until_shown("no problems")
            seen = len(shown.frames())
        shown.until_shown("reconnecting", since=seen)
        seen = len(shown.frames())
        with serving(embedded, port):
            shown.until_shown("no problems", since=seen)
            shown.child.terminate()
            assert shown.end() == 128 + signal.SIGTERM
            assert termios.tcgetattr(shown.slave) == shown.before


# Drawing -------------------------------------------------------------------------------------------------------------

BARS = st.lists(
    st.tuples(st.sampled_from(["aged", "spilled"]), st.integers(0, 10**6), st.integers(1, 10**4), st.integers(0, 10**9)),
    max_size=60,
)


def stanza(name: str, bars: list[list[Any]], **other: Any) -> dict[str, Any]:
    known = {
        "name": name, "view": "sets", "unit": "ms", "state": "reading", "records": 5, "made": 2, "events": 5, "late": 0,
        "rejects": {}, "dropped": {}, "lagTotal": 7, "credits": 24_000, "inFlight": 30_000, "checkpoint": None,
        "active": [len(bars), "live", None, None, 0, 0, 0, 0, 1],
        "held": {"answers": 10**9, "generations": len(bars), "spilled": 1, "events": 1, "bytes": 1, "fileBytes": 0},
        "memory": {"budget": 1 << 30, "accounted": 1 << 29, "rss": 1 << 28, "emergencies": 0},
    }  # fmt: skip
    return {**known, **other}


def snapshot(*streams: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"at": time.time(), "began": time.time() - 9, "streams": list(streams), "memory": {}, "rates": {}, **other}


@settings(max_examples=60)
@given(BARS, st.integers(1, 60), st.integers(10, 200), st.integers(0, 6), st.integers(0, 60))
def test_a_frame_fits_whatever_there_is_to_show(found: list[Any], height: int, width: int, streams: int, letters: int):
    bars = [[number, state, low, low + long, 1, 1, size_, 0, 1] for number, (state, low, long, size_) in enumerate(found)]
    names = [f"stream-{number}" * (number + 1) for number in range(streams)]
    memory = {name: {"bars": bars, "gone": [[1, 0, 5, 1, 1, "memory", 0.0]]} for name in names}
    actors = [
        {"stream": name, "actor": "Manager", "state": "", "count": 1, "control": 1, "control_capacity": 9, "data": 300,
         "data_capacity": 256, "held": 1} for name in names
    ]  # fmt: skip
    dead = {"count": letters, "newest": []}
    taken = snapshot(*(stanza(name, bars, late=5) for name in names), memory=memory, actors=actors, deadLetters=dead)
    lines = frame(taken, "http://127.0.0.1:8080", None, width, height)
    assert 0 < len(lines) <= height
    assert all(line.cell_len <= width for line in lines)


def test_problems_are_shown_however_small_the_terminal():
    bad = stanza("events", [], dropped={"memory": 5}, checkpoint={"problem": "disk full", "at": None, "unread": []})
    taken = snapshot(*(stanza(f"s{number}", []) for number in range(9)), bad, degraded={"events": "it failed"})
    for height in (5, 10, 24):
        text = "\n".join(line.plain for line in frame(taken, "x", None, 80, height))
        assert "events was given up: it failed" in text
    text = "\n".join(line.plain for line in frame(taken, "x", "connection refused", 80, 40))
    assert "no connection: connection refused" in text
    assert "no checkpoint is written: disk full" in text
    assert "dropped memory 5" in text


@given(BARS, st.integers(8, 200))
def test_a_drawing_has_each_generation_somewhere_in_its_span(found: list[Any], cells: int):
    bars = [[number, state, low, low + long, 1, 1, size_, 0, 1] for number, (state, low, long, size_) in enumerate(found)]
    start, end, picture = drawn(bars, [], cells)
    if not bars:
        assert not picture.plain
        return
    assert (start, end) == (min(bar[2] for bar in bars), max(bar[3] for bar in bars))
    assert len(picture.plain) == cells
    for bar in bars:
        low, high = (bar[2] - start) * cells // (end - start), -(-(bar[3] - start) * cells // (end - start))
        assert picture.plain[low : max(low + 1, high)].strip()


def test_rates_are_over_seconds_and_begin_anew_after_a_restart():
    def at(seconds: float, count: int) -> dict[str, Any]:
        return {"at": seconds, "streams": [{"name": "a", "records": count, "made": count // 2}]}

    rates = Rates()
    assert rates.take(at(0.0, 100)) == {}
    assert rates.take(at(0.5, 200))["a"] == {"records": 200.0, "answers": 100.0}
    for tick in range(1, 20):
        found = rates.take(at(0.5 + tick, 200 + 50 * tick))
    assert found["a"]["records"] == pytest.approx(50)
    assert rates.take(at(30.0, 3)) == {}


@given(st.floats(0, 1e15, allow_nan=False))
def test_a_figure_is_short(value: float):
    assert len(figure(value)) <= 6
    assert len(size(value)) <= 12
