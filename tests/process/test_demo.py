"""`serve --demo`: every view gets sane records at their own time, and several generations within a minute."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from actors.columns.partitioners import PARTITIONERS
from actors.columns.text import Text
from actors.columns.values import Values
from actors.sources.polled import of_one_partition
from actors.views.kinds import VIEWS as ALL_VIEWS
from config.load import load
from scripts.checkout import typed
from scripts.produce.happening import VIEWS, happening
from scripts.produce.patterns import PATTERNS
from scripts.produce.spec import Spec
from scripts.service.demo import SMALL, demo_topics, what_to_try
from scripts.service.plan import view_of
from tests.support.service import ROOT, Service, free_port
from tests.support.waiting import until

START = 1_795_773_600.25
BY_DEFAULT = load(None, SMALL, {}).streams


def test_the_demo_has_records_for_every_view_of_the_default_configuration():
    topics = demo_topics(load(None, [], {}))
    assert {view for view in topics.values() if view in ALL_VIEWS} <= set(VIEWS)
    assert set(topics) == {stream.source.topic for stream in BY_DEFAULT.values()}


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_each_record_is_sent_at_its_own_time_and_is_an_event(name: str):
    stream = BY_DEFAULT[name]
    records = list(itertools.takewhile(lambda each: each.at < START + 60, happening(stream.view, START)))
    assert [each.at for each in records] == sorted(each.at for each in records)
    assert records[0].at >= START
    assert records == list(itertools.takewhile(lambda each: each.at < START + 60, happening(stream.view, START)))
    values = Values.of([each.value for each in records])
    stamps = np.array([int(each.at * 1000) for each in records])
    decoded = view_of(stream, None).decode(of_one_partition(values, 0, lambda: stamps))
    assert (decoded.refusals, decoded.accepted) == ([], None)
    if stream.dated:
        per_s = 1_000 if decoded.times.max() > 10**11 else 1
        own = decoded.times / per_s
        at = np.array([each.at for each in records])
        assert ((own <= at + 1e-6) & (at < own + 1.001)).all()


@pytest.mark.parametrize("partitions", [3, 7])
def test_orders_are_in_the_partitions_of_their_keys_so_that_shards_have_whole_ones(partitions: int):
    happened = list(itertools.islice(happening("funnel", START), 500))
    chunk = PATTERNS["orders"](np.arange(500), Spec(500, 1_795_773_600_000, partitions), np.random.default_rng(0))
    found = [(each.value, each.key % partitions) for each in happened]
    for values, places in (zip(*found, strict=True), (chunk.values, chunk.partitions)):
        keys = Text.of([json.loads(value)["id"].encode() for value in values])
        right = dict(PARTITIONERS)["CRC-32"](keys) % partitions
        assert right.tolist() == list(places)


def test_events_of_the_demo_make_a_set_each():
    values = [each.value for each in itertools.islice(happening("sets", START), 3_000)]
    counts = Counter(value[:1] for value in values)
    assert max(counts.values()) - min(counts.values()) < 100


def test_a_minute_of_the_demo_has_generations_of_all_views_and_no_trouble(tmp_path: Path):
    port = free_port()
    words = [sys.executable, str(ROOT / "scripts" / "serve.py"), "--demo", "--set", f"http.port={port}"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FIRNLINE_RUN_DIR": str(tmp_path / "run")}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    running = Service(process, port)  # type: ignore[arg-type]
    assert process.stdout is not None
    try:
        said = "".join(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        assert f"http://127.0.0.1:{port}" in said

        def several() -> bool:
            listed = running.get("/streams")["streams"]
            return all(each["collectors"] > 1 or each["view"] == "top" for each in listed)

        until(several)
        for name, stream in BY_DEFAULT.items():
            stats = running.stats(name)
            assert (stats["late"], stats["rejects"], stats["ahead"], stats["trouble"]) == (0, {}, 0, None), name
            assert stats["events"] > 0, name
            assert not stats["dropped"], (name, stream)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()
    text = (tmp_path / "log").read_text()
    assert process.returncode == 0
    assert not [line for line in text.splitlines() if '"trouble"' in line or '"waiting"' in line or '"error"' in line], text
    assert sorted(path.name for path in tmp_path.iterdir()) == [".firnline", "log", "run"]


def test_the_demo_prints_the_command_of_readme():
    told = what_to_try("http://127.0.0.1:8080", load(None, [], {}))
    assert f"\n  {typed('query', 'stats')}\n" in told
    assert "scripts/" not in told.replace(typed(), "")
