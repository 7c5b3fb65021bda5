"""The commands as people type them."""

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from scripts.lab.truth import greedy
from scripts.produce.patterns import PATTERNS, chunks
from scripts.produce.spec import Spec
from tests.support.forked import run_forked
from tests.support.service import ROOT, command, free_port, service
from tests.support.waiting import PATIENCE_S, until


def made(pattern: str, count: int = 60_000, **options: int) -> list[bytes]:
    return [value for chunk in chunks(pattern, Spec(count, 1_000, **options)) for value in chunk.values]


def run(script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run_forked(command(script, *words), environ=environ)


def event(value: bytes) -> tuple[int, int]:
    return int(value[2:]), b"RGB".index(value[:1])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_the_same_for_the_same_seed_and_exactly_as_long_as_asked(pattern: str):
    for count in (1, 29_999, 30_001):
        one = list(chunks(pattern, Spec(count, 5, seed=3)))
        assert one == list(chunks(pattern, Spec(count, 5, seed=3)))
        assert sum(len(chunk.values) for chunk in one) == sum(len(chunk.partitions) for chunk in one) == count
        assert {number for chunk in one for number in chunk.partitions} <= {0, 1, 2}


def test_the_ordered_patterns_hold_as_many_sets_as_they_can():
    assert len(greedy([event(value) for value in made("steady")], 3)) == 20_000
    assert len(greedy([event(value) for value in made("out-of-order")], 3)) == 20_000
    assert len(greedy([event(value) for value in made("burst")], 3)) == 20_000
    assert greedy([event(value) for value in made("only-red")], 3) == []


def test_out_of_order_arrives_green_blue_red():
    assert [value[:1] for value in made("out-of-order", 6)] == [b"G", b"B", b"R"] * 2


@pytest.mark.parametrize("displacement", [1, 50, 1_000])
def test_shuffled_displaces_no_record_by_more_than_asked(displacement: int):
    values = made("shuffled", displacement=displacement)
    moved = np.array([(event(value)[0] - 1_000) // 10 for value in values])
    assert sorted(moved.tolist()) == list(range(60_000))
    assert np.abs(moved - np.arange(60_000)).max() <= displacement
    if displacement > 1:
        assert np.abs(moved - np.arange(60_000)).max() > displacement // 3


def test_junk_is_about_one_in_a_hundred_of_every_kind():
    steady, junk = made("steady"), made("junk")
    broken = [value for value, good in zip(junk, steady, strict=True) if value != good]
    assert 0.007 < len(broken) / len(junk) < 0.013
    assert len([value for value in junk if len(value) > 1_000]) == 1


@pytest.mark.parametrize("script", ["serve", "producer", "query", "bench", "broker", "chaos", "lab/measure/crowd", "replay"])
def test_every_command_has_help(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    assert not ended.value.code
    assert "Usage" in capsys.readouterr().out


@pytest.mark.broker
def test_the_producer_sends_the_records_that_it_reports(broker: str, topic: str):
    done = run("producer", "--bootstrap", broker, "--topic", topic, "--count", "25000", "--pattern", "shuffled", "--seed", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"25,000 records to {topic}")
    reader = Consumer({"bootstrap.servers": broker, "group.id": "x"})
    reader.assign([TopicPartition(topic, number, 0) for number in range(3)])
    found: Counter[bytes] = Counter()
    until(lambda: found.update(m.value() for m in reader.consume(5_000, 0.5) if not m.error()) or sum(found.values()) == 25_000)
    reader.close()
    assert len(found) == 25_000


@pytest.mark.broker
def test_ctrl_c_ends_the_producer_with_a_count(broker: str, topic: str):
    words = ("--bootstrap", broker, "--topic", topic, "--count", "0", "--rate", "2000")
    reader = Consumer({"bootstrap.servers": broker, "group.id": "x"})

    def held() -> int:
        try:
            return sum(
                reader.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE_S)[1] for number in range(3)
            )
        except KafkaException:  # a partition that is this new may have no leader yet
            return 0

    with subprocess.Popen(command("producer", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            until(held)
        finally:
            child.send_signal(signal.SIGINT)
            printed, complaint = child.communicate(timeout=PATIENCE_S)
    sent = until(held)
    reader.close()
    assert printed.startswith(f"{sent:,} records to {topic}")
    assert "Traceback" not in complaint


def test_without_a_broker_the_producer_names_the_command_to_start(tmp_path: Path):
    done = run("producer", FIRNLINE_RUN_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "start `python scripts/serve.py`" in done.stderr


def test_a_silent_broker_is_reported_in_one_line():
    done = run("producer", "--bootstrap", f"127.0.0.1:{free_port()}", "--count", "1")
    assert done.returncode == 1
    assert "producer:" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_starts_the_embedded_broker_and_the_producer_waits_for_the_service(tmp_path: Path):
    """200,000 records are twice what a partition of it remembers; all arrive, because the producer waits for the service."""
    environ = {"FIRNLINE_RUN_DIR": str(tmp_path)}
    with service(None, "events", **environ) as running:
        done = run("producer", "--count", "200000", "--start", "1000", **environ)
        assert done.returncode == 0, done.stderr
        stats = running.settled(200_000)
        assert stats["events"] == 200_000
        assert stats["total"]["setSize"] == 66_666
        code, _ = running.stop()
    assert code in {0, -signal.SIGTERM}
    until(lambda: not (tmp_path / "broker.json").exists())


def test_ctrl_c_ends_the_service_in_order_and_twice_at_once(tmp_path: Path):
    """The output's folder is a file, so that nothing can be written and the drain waits."""
    (tmp_path / "o").write_text("in the way")
    segments = (b'{"batch_id":1,"segment_id":%d,"data":[1]}\n' % number for number in range(10))
    (tmp_path / "in").write_bytes(b"".join(segments))
    settings = ("streams.segments.source={file: in}", "streams.segments.output={file: o/out}", "data_dir=null")
    with service(None, None, *settings, stream="segments", cwd=tmp_path) as running:
        until(lambda: (stats := running.stats("segments"))["records"] == 10 and stats["inFlight"])
        running.process.send_signal(signal.SIGINT)
        until(lambda: refused(running.port))
        code, printed = running.stop(signal.SIGINT)
        assert (code, printed.count("stopped at once")) == (128 + signal.SIGINT, 1)
        assert "drained" not in printed
    (tmp_path / "o").unlink()
    with service(None, None, *settings, stream="segments", cwd=tmp_path) as running:
        until((tmp_path / "o" / "out").exists)
        code, printed = running.stop(signal.SIGINT)
        assert (code, printed.count("drained")) == (0, 1)


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


EARLY = """
import os, signal, typer
from scripts.service import run, serve
made = run.create_app
def create_app(*given, **named):
    os.kill(os.getpid(), signal.SIGINT)
    return made(*given, **named)
run.create_app = create_app
typer.run(serve.main)
"""


def test_ctrl_c_during_the_start_ends_the_service():
    words = ["--only", "words", "--set", "streams.words.source={stdin: true}", "--set", "http.port=0", "--set", "data_dir=null"]
    with subprocess.Popen(
        [sys.executable, "-c", EARLY, *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        try:
            assert child.wait(timeout=60) == 0
        finally:
            child.kill()
        assert "drained" in child.stderr.read()


@pytest.mark.parametrize("script", ["bench", "chaos", "lab/measure/crowd"])
def test_without_java_a_measurement_reports_it_in_one_line(script: str, tmp_path: Path):
    done = run(script, PATH=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "a real broker needs java and mvn on the PATH" in done.stderr


@pytest.mark.long
@pytest.mark.broker
def test_a_benchmark_that_cannot_run_prints_the_reason(broker: str):
    wrong = run("bench", "--budget", "lots", "--events", "30000", "--bootstrap", broker)
    assert wrong.returncode == 1
    assert "bench: the service does not run: firnline: the configuration cannot be used" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    nowhere = run("bench", "--events", "30000", "--bootstrap", f"127.0.0.1:{free_port()}")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert run("bench", "--pattern", "junk", "--bootstrap", broker).returncode == 2


def test_wrong_settings_end_the_service_with_every_problem_and_no_traceback(tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text("http: {prot: 1}\nstreams: {events: {max_sets: none}}\n")
    done = run("serve", "--config", str(path))
    assert done.returncode == 1
    assert f"{path}:1: http.prot: unknown key, did you mean port?" in done.stderr
    assert f"{path}:2: streams.events.max_sets: expected an integer, got 'none'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_a_small_budget_and_an_unknown_kafka_setting_are_one_line_each():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        in_use = run("serve", "--set", f"http.port={port}", "--set", "kafka.bootstrap.servers=127.0.0.1:1")
    small = run("serve", "--set", "http.port=0", "--set", "memory.budget=20MiB", "--set", "kafka.bootstrap.servers=127.0.0.1:1")
    nowhere = ("--set", "kafka.bootstrap.servers=127.0.0.1:1", "--set", "data_dir=null")
    unknown = run("serve", "--set", "http.port=0", "--set", "kafka.no.such=1", *nowhere)
    assert re.search(
        rf":{port}: Address already in use by \S+, process {os.getpid()}: end it, or take another port: --set http",
        in_use.stderr,
    )
    for done, said in (
        (in_use, f"--set http.port={port + 1}"),
        (small, "memory.budget: expected at least"),
        (unknown, "no.such"),
    ):
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
