"""A reload of the settings while the service runs, by signal and by request. It applies all changes or none."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actors.messages import Reconfigure
from actors.protocol import Message
from actors.replies import Busy
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher
from config.changes import ABSENT, Applies, Change, applies, changes, leaves
from config.fields import HIDDEN
from config.load import SettingsError, load
from config.machine import MemoryMeter
from config.settings import Settings
from gateway.routes.reload import RefusedError
from gateway.wire.limits import Allowance
from scripts.service.in_force import InForce, Rule, limits_of
from scripts.service.memory import StreamMeter, budget_of
from scripts.service.plan import view_of
from scripts.service.reload import Reloading
from tests.support.listed import Listed, listed
from tests.support.running import records
from tests.support.service import ROOT, Service, command, free_port, service
from tests.support.waiting import PATIENCE_S, until

SMALL = {"events": {"source": {"topic": "events"}, "max_sets": 100}}
EVENTS = records([(10 * number + step, step) for number in range(950) for step in range(3)])


def write(path: Path, **stanzas: Any) -> Path:
    """Write a file of settings."""
    with path.open("w") as opened:
        YAML().dump({"streams": SMALL, **stanzas}, opened)
    return path


# What differs --------------------------------------------------------------------------------------------------------


def of(*overrides: str) -> Settings:
    return load(None, list(overrides), {})


def keys(found: Sequence[Change]) -> dict[str, str]:
    return {each.key: each.applies.name for each in found}


def test_a_change_has_its_key_both_values_and_when_it_applies():
    changed = of("streams.events.max_aged=3", "http.port=1", "memory.budget=256MiB", "streams.events.steps=[a, b]")
    assert set(map(str, changes(of(), changed))) == {
        "http.port: 8080 → 1",
        "memory.budget: 60% → 256MiB",
        "streams.events.max_aged: null → 3",
        "streams.events.steps: [R, G, B] → [a, b]",
    }
    assert keys(changes(of(), changed)) == {
        "http.port": "RESTART",
        "memory.budget": "AT_ONCE",
        "streams.events.max_aged": "AT_ONCE",
        "streams.events.steps": "ANEW",
    }


def test_equal_settings_have_no_changes():
    assert changes(of("http.port=7"), of("http.port=7")) == []


def test_a_changed_secret_is_named_and_not_shown():
    (change,) = changes(of("kafka.sasl.password=hunter2"), of("kafka.sasl.password=hunter3"))
    assert (change.key, change.old, change.new) == ("kafka.sasl.password", HIDDEN, HIDDEN)
    assert not change.reloadable


def test_a_new_stream_is_one_change():
    (change,) = changes(of(), of("streams.more={view: words, source: {topic: x}}"))
    assert (change.key, change.old, change.new) == ("streams.more", ABSENT, "a stream of words")
    assert change.applies is Applies.RESTART


# All or nothing ------------------------------------------------------------------------------------------------------


class Unwilling(Actor):
    """A manager whose mailbox is always full."""

    def receive(self, message: Message) -> None:
        message.reply_to(Busy("no"))


class Fickle(Actor):
    """A manager that replies to the first check and then refuses new settings; with `ends`, it stops instead."""

    def __init__(self, system: System, *, stream: str, ends: bool) -> None:
        super().__init__(system, stream=stream)
        self._ends = ends

    def receive(self, message: Message) -> None:
        if isinstance(message, Reconfigure) and self._ends:
            self.stop()
        else:
            message.reply_to(Busy("no") if isinstance(message, Reconfigure) else None)


class Heard:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    error = info


class Working:
    """What a reload works on, in this process: real streams over lists, and the gateway's limits."""

    def __init__(self, streams: dict[str, Listed], settings: Settings, managers: dict[str, Any]) -> None:
        budget = budget_of(settings)
        rules = {
            name: Rule(
                managers.get(name) or streams[name].running.running.manager,
                StreamMeter(
                    settings.memory.budget, None, MemoryMeter(), len(settings.streams), stanza.max_aged, None, 0, print
                ),
                budget.baseline // len(settings.streams),
                view_of(stanza, None),
                spills=False,
            )
            for name, stanza in settings.streams.items()
        }
        self.read: Callable[[], Settings] = lambda: settings
        self.log = Heard()
        self.levels: list[str] = []
        self.in_force = InForce(settings, budget, rules, Allowance(limits_of(settings.http, budget.replies)))
        self.reload = Reloading(self.in_force, self._read, self.log, on_level=lambda new: self.levels.append(new.log.level))

    def _read(self) -> Settings:
        return self.read()

    def to(self, *overrides: str) -> Any:
        """Reload to these settings."""
        self.read = lambda: two(*overrides)
        return self.reload()


def two(*overrides: str) -> Settings:
    streams = "streams={one: {source: {topic: a}, max_sets: 100}, two: {source: {topic: b}, max_sets: 100}}"
    return load(ROOT / "config" / "top.yaml", [streams, *overrides], {})  # a short file, of which nothing stays


@contextmanager
def running(managers: dict[str, Any] | None = None) -> Iterator[tuple[Working, dict[str, Listed]]]:
    with ExitStack() as around:
        streams = {
            name: around.enter_context(listed(view_of(stanza, None), list(EVENTS))) for name, stanza in two().streams.items()
        }
        made = Working(streams, two(), managers or {})
        for each in streams.values():
            assert len(each.settled().aged) == 9
        yield made, streams


def aged(streams: dict[str, Listed]) -> list[int]:
    return [len(each.running.stats().aged) for each in streams.values()]


def test_changes_are_in_force_when_the_reload_returns():
    with running() as (made, streams):
        done = made.to("streams.one.max_aged=2", "http.max_queries=3", "log.level=warning", "memory.budget=2GiB")
        assert aged(streams) == [2, 9]
        assert made.in_force.allowance.now.max_queries == 3
        assert made.levels == ["warning"]
        assert streams["one"].running.stats().memory.budget_bytes == 1 << 30
        assert made.in_force.allowance.now.reply_bytes == (2 << 30) // 16
        assert {each.key for each in done} == {"streams.one.max_aged", "http.max_queries", "log.level", "memory.budget"}
        told = {facts["key"]: (facts["old"], facts["new"]) for event, facts in made.log.lines if event == "setting changed"}
        assert told["streams.one.max_aged"] == (None, 2)
        assert made.to("streams.one.max_aged=2", "http.max_queries=3", "log.level=warning", "memory.budget=2GiB") == []


def test_a_changed_collector_size_applies_from_the_next_collector_on():
    with running() as (made, streams):
        made.to("streams.one.max_sets=50")
        assert streams["one"].running.stats().active.summary.sets == 50
        streams["one"].values += records([(20_000 + 10 * number + step, step) for number in range(151) for step in range(3)])
        found = streams["one"].settled()
        assert [meta.summary.sets for meta in found.aged[9:]] == [100, 50, 50]


def test_a_change_that_needs_a_restart_refuses_the_whole_reload():
    with running() as (made, streams):
        before, limits = made.in_force.settings, made.in_force.allowance.now
        with pytest.raises(RefusedError) as refused:
            made.to("streams.one.max_aged=2", "http.port=1", "streams.two.lateness_ms=9", "http.max_queries=3")
        assert refused.value.got == "http.port: 8080 → 1; streams.two.lateness_ms: 500 → 9"
        assert aged(streams) == [9, 9]
        assert made.in_force.settings is before
        assert made.in_force.allowance.now is limits
        assert made.log.lines[-1][0] == "reload refused"


def test_settings_that_cannot_be_read_or_applied_change_nothing(tmp_path: Path):
    def broken() -> Settings:
        raise SettingsError(["x.yaml:1: no", "x.yaml:2: no"])

    with running() as (made, streams):
        limits = made.in_force.allowance.now
        made.read = broken
        with pytest.raises(RefusedError, match=r"x\.yaml:1: no; x\.yaml:2: no"):
            made.reload()
        with pytest.raises(RefusedError, match=r"memory\.budget: expected at least"):
            made.to("memory.budget=1MiB", "streams.one.max_aged=2")
        with pytest.raises(RefusedError, match=r"http\.tokens: expected a file to read"):
            made.to(f"http.tokens={tmp_path / 'none'}", "streams.one.max_aged=2")
        assert aged(streams) == [9, 9]
        assert made.in_force.allowance.now is limits


@pytest.mark.parametrize("stopped", [False, True])
def test_if_one_stream_cannot_follow_no_stream_changes(stopped: bool):
    system = System(Dispatcher())
    unwilling = Unwilling.start(system, stream="two")
    if stopped:
        unwilling.stop()
    try:
        with running({"two": unwilling}) as (made, streams):
            limits = made.in_force.allowance.now
            with pytest.raises(RefusedError, match="two cannot"):
                made.to("streams.one.max_aged=2", "streams.two.max_aged=2", "http.max_queries=3")
            assert aged(streams) == [9, 9]
            assert streams["one"].running.stats().memory.budget_bytes == 1 << 40
            assert made.in_force.allowance.now is limits
    finally:
        unwilling.stop()
        system.dispatcher.close()


@pytest.mark.parametrize("ends", [False, True])
def test_if_one_stream_refuses_midway_the_others_go_back(ends: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scripts.service.reload._REPLY_TIMEOUT_S", 1.0)
    system = System(Dispatcher())
    fickle = Fickle.start(system, stream="two", ends=ends)
    try:
        with running({"two": fickle}) as (made, streams):
            assert made.in_force.rules["one"].meter.max_aged is None
            with pytest.raises(RefusedError, match="two cannot, and two cannot go back"):
                made.to("streams.one.max_aged=12", "http.max_queries=3")
            streams["one"].values += records(
                [(20_000 + 10 * number + step, step) for number in range(500) for step in range(3)]
            )
            assert len(streams["one"].settled().aged) == 14, "12 of them if the refused limit were in force"
            assert made.in_force.rules["one"].meter.max_aged is None
    finally:
        fickle.stop()
        system.dispatcher.close()


def test_every_reloadable_setting_is_applied():
    """Each reloadable setting changes the gateway's limits, a stream's rule, or the level of the log."""
    other = {"memory.budget": "3GiB", "memory.spill_budget": "1GiB", "log.level": "error", "http.hosts": "[a]"}
    with running() as (made, _):
        for name, rule in made.in_force.rules.items():
            made.in_force.rules = {**made.in_force.rules, name: replace(rule, spills=True)}
        given: list[str] = []
        for path, value in leaves(two()):
            key = ".".join(path)
            if applies(path) not in {Applies.AT_ONCE, Applies.NEXT} or key == "http.tokens":  # these have their own test
                continue
            given.append(f"{key}={other.get(key) or (value + 1 if isinstance(value, int) else 5)}")
            before = (made.in_force.allowance.now, made.in_force.rules, list(made.levels))
            made.to(*given)
            assert (made.in_force.allowance.now, made.in_force.rules, made.levels) != before, key
        assert len(given) > 20


def test_tokens_are_read_again_from_the_same_file(tmp_path: Path):
    path = tmp_path / "tokens"
    path.touch(0o600)
    path.write_text("read aaaaaaaaaaaaaaaaaaaaaaaa\n")
    with running() as (made, _):
        made.to(f"http.tokens={path}")
        before = made.in_force.allowance.now.tokens
        path.write_text("read aaaaaaaaaaaaaaaaaaaaaaaa\nwrite bbbbbbbbbbbbbbbbbbbbbbbbb\n")
        (change,) = made.to(f"http.tokens={path}")
        assert (change.key, change.old, change.new) == ("http.tokens", "1 tokens", "2 tokens")
        assert len(made.in_force.allowance.now.tokens) == len(before) + 1
        assert "bbbb" not in str(made.log.lines)


# The real service ----------------------------------------------------------------------------------------------------


def reload(running: Service) -> tuple[int, Any]:
    status, _, body = running.request("/config/reload", "POST")
    return status, json.loads(body)


def kept(running: Service) -> int:
    return sum(row["state"] == "aged" for row in running.stats()["data"])


def reloads(running: Service) -> list[str]:
    """Return what the marks of reloads in the history say."""
    marks = running.get("/streams/events/history")["marks"]
    return [mark["text"] for mark in marks if mark["kind"] == "reloaded"]


@pytest.mark.broker
def test_a_reload_under_load_prunes_at_once_and_a_wrong_file_changes_nothing(broker: str, topic: str, tmp_path: Path):
    path = write(tmp_path / "c.yaml")
    words = ("--bootstrap", broker, "--topic", topic, "--count", "0", "--rate", "2000", "--start", "1000")
    with service(broker, topic, also=("--config", str(path))) as running:
        load_ = subprocess.Popen(command("producer", *words), stdout=subprocess.DEVNULL)
        try:
            until(lambda: kept(running) >= 8)
            write(path, streams={"events": {**SMALL["events"], "max_aged": 5}})
            status, body = reload(running)
            assert status == 200
            assert [(each["key"], each["old"], each["new"]) for each in body["changed"]] == [
                ("streams.events.max_aged", None, 5)
            ]
            assert kept(running) == 5
            assert reloads(running) == ["changed: streams.events.max_aged"]

            write(path, streams={"events": {**SMALL["events"], "max_aged": 2}})
            running.process.send_signal(signal.SIGHUP)
            until(lambda: kept(running) == 2)
            until(lambda: len(reloads(running)) == 2)

            path.write_text("streams: {events: {max_aged: [\n")
            status, body = reload(running)
            assert status == 409
            assert "expected YAML" in body["error"]["got"]
            write(path, streams={"events": {**SMALL["events"], "max_aged": 9, "lateness_ms": 7}})
            status, body = reload(running)
            assert status == 409
            assert body["error"]["got"] == "streams.events.lateness_ms: 500 → 7"
            running.process.send_signal(signal.SIGHUP)
            before = running.stats()["droppedGenerations"]["max_aged"]
            until(lambda: running.stats()["droppedGenerations"]["max_aged"] > before)
            assert kept(running) == 2
        finally:
            load_.terminate()
            load_.wait(timeout=PATIENCE_S)
        assert running.settled(1)["droppedGenerations"].keys() == {"max_aged"}
        assert len(reloads(running)) == 2, "a refused reload is no mark"
        _, printed = running.stop()
    assert printed.count("reload refused") == 3
    assert "streams.events.max_aged" in printed


def test_limits_and_tokens_of_the_gateway_change_while_it_runs(embedded: str, tmp_path: Path):
    path = write(tmp_path / "c.yaml")
    secret = tmp_path / "tokens"
    secret.touch(0o600)
    secret.write_text("read rrrrrrrrrrrrrrrrrrrrrrrr\nwrite wwwwwwwwwwwwwwwwwwwwwwww\n")
    with service(embedded, "reloaded", also=("--config", str(path))) as running:
        assert running.request("/events/get-stats")[0] == 200
        write(path, http={"tokens": str(secret), "max_queries": 7})
        assert reload(running)[0] == 200
        assert running.request("/events/get-stats")[0] == 401
        assert running.request("/events/get-stats", Authorization="Bearer rrrrrrrrrrrrrrrrrrrrrrrr")[0] == 200
        assert reload(running)[0] == 401
        status, _, _ = running.request("/config/reload", "POST", Authorization="Bearer rrrrrrrrrrrrrrrrrrrrrrrr")
        assert status == 403
        write(path)
        assert running.request("/config/reload", "POST", Authorization="Bearer wwwwwwwwwwwwwwwwwwwwwwww")[0] == 200
        assert running.request("/events/get-stats")[0] == 200


def test_a_service_whose_terminal_closes_ends_in_order(tmp_path: Path, embedded: str):
    """A signal from another terminal is a reload; the same signal, sent because one's own has closed, is an end."""
    port, (master, slave) = free_port(), pty.openpty()
    words = ["--set", f"http.port={port}", "--set", "data_dir=null", "--only", "events"]
    words += ["--set", f"kafka.bootstrap.servers={embedded}"]

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    log = (tmp_path / "log").open("w+")
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "serve.py"), *words],
        stdin=slave, stdout=log, stderr=log, preexec_fn=own_terminal, pass_fds=(slave,), close_fds=True,  # noqa: PLW1509
    )  # fmt: skip
    try:
        os.close(slave)
        running = Service(child, port)

        def answers() -> bool:
            assert child.poll() is None
            try:
                return running.request("/livez")[0] == 200
            except OSError:
                return False

        until(answers)
        child.send_signal(signal.SIGHUP)
        until(lambda: "configuration read again" in (tmp_path / "log").read_text())
        os.close(master)
        child.wait(timeout=PATIENCE_S)
        assert "drained" in (tmp_path / "log").read_text()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        log.close()
