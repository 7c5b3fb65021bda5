"""No query waits for a broker, a disk, a source or a sink: calls that may block run on threads that answer no query."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.durability.disk import Disk
from actors.reading.pace import Pace
from actors.sinks.dead_letters import DeadLetterSink
from actors.sinks.file.sink import FileSink
from actors.sources.kafka.source import KafkaSource
from tests.support.listed import ListedSource, over
from tests.support.running import Stream, stream
from tests.support.waiting import until

AWAY = "127.0.0.1:1"
BLOCK_S = 1.0
LONGEST_QUERY_S = 0.25
TRIES = 3
"""A busy machine delays a query too. A call that blocks queries does so in each try."""


class Slow:
    """Passes each call on to `inner`. While it is `on`, each method of `names` takes a second longer."""

    def __init__(self, inner: Any, *names: str, on: bool = True) -> None:
        self._inner = inner
        self._names = names
        self.on = on
        self.blocked = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._slow(found) if name in self._names and self.on else found

    def _slow(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*words: Any, **more: Any) -> Any:
            self.blocked += 1
            time.sleep(BLOCK_S)
            return method(*words, **more)

        return called


def assert_no_query_waits(running: Stream, more: Callable[[int], None] = lambda _: None) -> None:
    """Send a query every 50 ms, for longer than a blocked call lasts. `more` is called before each query."""
    until(lambda: not running.stats().starting)
    worst = []
    for _ in range(TRIES):
        longest, count, end = 0.0, 0, time.monotonic() + BLOCK_S + 0.5
        while time.monotonic() < end:
            more(count)
            count += 1
            began = time.monotonic()
            running.sets()
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.05)
        assert longest < BLOCK_S / 2, f"a query took {longest:.2f} s"
        worst.append(longest)
        if longest < LONGEST_QUERY_S:
            return
    raise AssertionError(f"in each try a query took too long: {worst}")


def test_no_query_waits_for_the_broker_of_dead_letters(monkeypatch: pytest.MonkeyPatch):
    tries = []

    def away(*_: Any, **__: Any) -> None:
        tries.append(1)
        time.sleep(BLOCK_S)
        raise OSError("the broker is away")

    monkeypatch.setattr("actors.sinks.dead_letters.ensure_topic", away)
    sink = DeadLetterSink({"bootstrap.servers": AWAY}, "dead", origin="t", on_error=lambda _: None)
    values: list[bytes] = []
    with over(values, dead_letters=sink) as running:
        assert_no_query_waits(running, lambda count: values.append(b"junk %d" % count))
        assert tries


@pytest.mark.parametrize("method", ["open", "extend", "poll", "close"])
def test_no_query_waits_for_the_source(method: str):
    values: list[bytes] = []
    source = Slow(ListedSource(values), method)
    with stream("", "t", source=lambda *_, **__: source, pace=Pace(look_s=0.05)) as running:
        assert_no_query_waits(running, lambda count: values.append(b"R_%d" % count))
        source.on = False
        assert source.blocked


def test_no_query_waits_for_an_unreachable_broker():
    errors: list[str] = []

    def source(settings: Any, topic: str, **_: Any) -> KafkaSource:
        return KafkaSource(settings, topic, start="earliest", partitions=1, on_error=errors.append)

    with stream(AWAY, "t", source=source, crash=True) as running:
        assert_no_query_waits(running)
        assert errors


def test_no_query_waits_for_the_creation_of_the_topic(broker: str, monkeypatch: pytest.MonkeyPatch):
    created = []

    def slow(*_: Any) -> None:
        created.append(1)
        time.sleep(BLOCK_S)

    monkeypatch.setattr("actors.sources.kafka.source.ensure_topic", slow)

    def source(settings: Any, topic: str, **_: Any) -> KafkaSource:
        settings = {**settings, "allow.auto.create.topics": False}
        return KafkaSource(settings, topic, start="earliest", partitions=1, on_error=lambda _: None)

    with stream(broker, "never-created", source=source, crash=True) as running:
        assert_no_query_waits(running)
        assert created


@pytest.mark.parametrize("method", ["create", "sync_folder"])
def test_no_query_waits_for_the_disk(method: str, tmp_path: Path):
    values: list[bytes] = []
    disk = Slow(Disk(), method, on=False)
    with over(values, folder=tmp_path / "events", disk=disk) as running:
        until(lambda: not running.stats().starting)
        disk.on = True
        assert_no_query_waits(running, lambda count: values.append(b"R_%d" % count))
        disk.on = False
        assert disk.blocked


@pytest.mark.parametrize("method", ["prepare", "poll"])
def test_no_query_waits_for_a_sink(method: str, tmp_path: Path):
    values: list[bytes] = []
    sink: Any = Slow(FileSink(tmp_path / "results", max_bytes=None), method, on=False)
    with over(values, folder=tmp_path / "events", sinks=[sink]) as running:
        until(lambda: not running.stats().starting)
        sink.on = True
        assert_no_query_waits(running, lambda count: values.append(b"R_%d" % count))
        sink.on = False
        assert sink.blocked
