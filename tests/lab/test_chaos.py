"""A short chaos run: the real service is killed, stopped and cut off a few times, and no answer may differ.

The long form is `python scripts/chaos.py --kills 1000`, which starts a broker of its own and kills that too.
"""

import json
import subprocess
from pathlib import Path
from random import Random

import pytest

from scripts.lab.chaos.chaos import settings, topics_on
from scripts.lab.chaos.faults import Fault, Watch, plan
from scripts.lab.chaos.load import Load
from scripts.lab.chaos.makers import LATENESS_MS
from scripts.lab.chaos.oracle import TRUTHS
from scripts.lab.chaos.ordeal import Ordeal
from scripts.lab.chaos.processes import Subject
from scripts.lab.chaos.proxy import Proxy
from scripts.lab.chaos.report import Report, table_of
from scripts.lab.chaos.verifier import Client, Output, Verifier
from tests.support.service import command, free_port
from tests.support.waiting import until


def test_a_seed_always_gives_the_same_plan_with_every_fault():
    planned = plan(100, Random(1), own_broker=True, on_disk=True, publishes=True)
    assert planned == plan(100, Random(1), own_broker=True, on_disk=True, publishes=True)
    assert set(planned) == set(Fault)
    assert sum(fault.kills for fault in planned) == 100
    assert not any(fault.of_broker for fault in plan(100, Random(1), own_broker=False, on_disk=True, publishes=True))
    assert {fault for fault in plan(20, Random(1), own_broker=False, on_disk=False, publishes=True) if fault.kills} == {
        Fault.KILL,
        Fault.KILL_IN_RECOVERY,
    }


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        (Fault.KILL_AT_TEMPORARY, lambda folder: (folder / "a.firn.tmp").touch()),
        (Fault.KILL_AT_FILE, lambda folder: (folder / "old.tmp").rename(folder / "checkpoint-2")),
        (Fault.KILL_AT_GENERATION, lambda folder: (folder / "generation-1").touch()),
        (Fault.KILL_AT_REMOVAL, lambda folder: (folder / "checkpoint-1").unlink()),
    ],
)
def test_a_watch_returns_at_the_moment_of_the_fault(tmp_path: Path, fault: Fault, act: object):
    folder = tmp_path / "events"
    folder.mkdir()
    for name in ("old.tmp", "checkpoint-1"):
        (folder / name).touch()
    watch = Watch(tmp_path)
    assert not watch.wait(fault, 0.01)
    before = watch.names()
    act(folder)  # type: ignore[operator]  # each is called with a folder
    assert watch.seen(fault, before, watch.names())
    others = {Fault.KILL_AT_TEMPORARY, Fault.KILL_AT_REMOVAL} - {fault}
    assert not any(watch.seen(other, before, watch.names()) for other in others)


@pytest.mark.broker
def test_a_short_chaos_run_finds_no_difference(broker: str):
    words = ["--kills", "6", "--seed", "7", "--every", "6", "--bootstrap", broker, "--json"]
    done = subprocess.run(command("chaos", *words), check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["differences"] == []
    assert report["kills"] >= 6
    assert {"kill", "kill_in_recovery", "kill_at_temporary", "pause", "cut", "refuse", "stall"} <= set(report["actions"])
    assert report["verifications"] >= 3
    assert report["comparisons"] > 100
    assert report["records"] > 5_000


@pytest.mark.broker
def test_a_wrong_answer_is_reported_in_every_view(broker: str, tmp_path: Path):
    """The service is right, so the test makes the truth wrong: by one record that Kafka does not have."""
    with topics_on(broker, list(TRUTHS)) as (topics, outputs):
        proxy, port = Proxy(broker, broker), free_port()
        subject = Subject(tmp_path, settings(topics, outputs, {"bootstrap.servers": proxy.bootstrap}, port, tmp_path / "data"))
        load = Load(broker, topics, seed=5, rate=1_000)
        found = {view: Output(broker, topic) for view, topic in outputs.items()}
        truths = {view: lane.truth for view, lane in load.lanes.items()}
        verifier = Verifier(Client(port), truths, tmp_path, found, exactly_once=True, chance=Random(5))
        report = Report(5, tmp_path)
        ordeal = Ordeal(subject, Client(port), load, verifier, proxy, None, report, Random(5), None)
        try:
            ordeal.begin()
            until(lambda: min(load.acknowledged().values()) > 100)
            ordeal.verify()
            assert report.differences == []
            begin = load.lanes["sets"].begin + LATENESS_MS // 2  # between two stretches, so that one more set forms
            events = [b"%c_%d" % (step, begin) for step in b"RGB"]
            for view, values in {**_EXTRA, "sets": events}.items():
                for value in values:
                    truths[view].take(value)
            load.pause()
            differing = {(each.view, each.question) for each in verifier.differences(0.0)}
        finally:
            load.close()
            ordeal.close()
            for output in found.values():
                output.close()
            proxy.close()
    for view, question in _TOLD.items():
        assert (view, question) in differing
        assert (view, "records") in differing
        assert (view, "events held, on their way, apart or dropped") in differing
    assert table_of(report, markdown=True).row_count == 1


_EXTRA = {
    "top": [b"nobody_999999999"],
    "segments": [b'{"batch_id":1000000,"segment_id":3,"data":[1]}'],
    "uniques": [b'{"ts":1468244384,"uid":"nobody"}'],
    "words": [b'{"event_type":"foo","data":"w1","timestamp":1513765893}'],
}
_TOLD = {
    "sets": "all sets",
    "top": "the first ids",
    "segments": "pending batches",
    "uniques": "rows by minute",
    "words": "all words",
}
