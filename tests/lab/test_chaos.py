"""A short chaos run: the real service is killed, stopped and cut off a few times, and no answer may differ.

The long form is `python scripts/chaos.py --kills 1000`, which starts a broker of its own and kills that too.
"""

import json
import subprocess
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.lab.chaos.chaos import settings, topics_on
from scripts.lab.chaos.faults import Fault, Watch, plan
from scripts.lab.chaos.load import Load
from scripts.lab.chaos.makers import LATENESS_MS
from scripts.lab.chaos.oracle import TRUTHS
from scripts.lab.chaos.ordeal import Ordeal
from scripts.lab.chaos.processes import SUPERSEDED, Subject
from scripts.lab.chaos.proxy import Proxy
from scripts.lab.chaos.report import Report, table_of
from scripts.lab.chaos.verifier import Client, Output, Verifier
from scripts.lab.topics import visible_count
from tests.support.java import need_java
from tests.support.service import command, free_port
from tests.support.waiting import until


def test_a_seed_always_gives_the_same_plan_with_every_fault():
    planned = plan(100, Random(1), own_broker=True, on_disk=True, publishes=True)
    assert planned == plan(100, Random(1), own_broker=True, on_disk=True, publishes=True)
    assert set(planned) == set(Fault)
    assert sum(fault.kills for fault in planned) == 100
    assert not any(fault.of_broker for fault in plan(100, Random(1), own_broker=False, on_disk=True, publishes=True))
    for on_disk, publishes in ((False, True), (True, False)):
        few = plan(100, Random(1), own_broker=True, on_disk=on_disk, publishes=publishes)
        assert not any(fault.of_instances for fault in few)
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


@pytest.mark.long
def test_a_short_chaos_run_with_every_fault_finds_no_difference():
    need_java()
    report = ran("--kills", "6", "--seed", "7", "--every", "6", "--rate", "500")
    assert set(report["actions"]) == {fault.name.lower() for fault in Fault}
    assert report["kills"] >= 6
    assert report["verifications"] >= 3
    assert report["comparisons"] > 100
    assert report["records"] > 5_000


@pytest.mark.long
@pytest.mark.broker
def test_a_short_chaos_run_on_a_given_broker_finds_no_difference(broker: str):
    report = ran("--kills", "1", "--seed", "7", "--bootstrap", broker, "--views", "segments,words")
    wanted = {fault.name.lower() for fault in Fault if not fault.of_broker and (not fault.kills or fault is Fault.KILL)}
    assert set(report["actions"]) >= wanted


def ran(*words: str) -> dict[str, Any]:
    """Run chaos to the end, and return its report, which has no differences."""
    done = subprocess.run(command("chaos", *words, "--json"), check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["differences"] == []
    assert not report["overdue"], "a comparison began before all records were read"
    return report


def at_rest(client: Client, load: Load) -> bool:
    """Return whether all records are in slices: an event on its way may count twice for a moment."""
    found = {view: client.stats(view) for view in load.lanes}
    return all(found[view]["records"] >= count and not found[view]["inFlight"] for view, count in load.acknowledged().items())


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
            until(lambda: at_rest(Client(port), load), timeout_s=60)
            truths["funnel"].settle(load.lanes["funnel"].begin)
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


def beyond(load: Load, counts: dict[str, int]) -> None:
    """Wait until Kafka has acknowledged more records of each view than `counts`."""
    until(lambda: all(count > counts[view] for view, count in load.acknowledged().items()))


_EXTRA = {
    "top": [b"nobody_999999999"],
    "segments": [b'{"batch_id":1000000,"segment_id":3,"data":[1]}'],
    "uniques": [b'{"ts":1468244384,"uid":"nobody"}'],
    "funnel": [b'{"id":"nobody","type":"created","at":1685695916000}'],
    "words": [b'{"event_type":"foo","data":"w1","timestamp":1513765893}'],
}
_TOLD = {
    "sets": "all sets",
    "top": "the first ids",
    "segments": "pending batches",
    "uniques": "rows by minute",
    "funnel": "all sequences",
    "words": "all words",
}


def test_an_instance_that_ends_with_another_code_is_a_difference(tmp_path: Path):
    subject = Subject(tmp_path, {"http": {"port": 1}})
    ended = SimpleNamespace(code=1, printed="why", wait=lambda: 1)
    verifier = SimpleNamespace(folder=None)
    report = Report(1, tmp_path)
    parts: Any = (subject, Client(2), None, verifier, None, None, report, Random(1), None)
    ordeal = Ordeal(*parts)
    assert (ordeal.client.port, verifier.folder) == (1, tmp_path)
    ordeal._end(ended, 1)  # type: ignore[arg-type]  # it stands in for a Subject
    assert report.differences == []
    ordeal._end(ended, SUPERSEDED)  # type: ignore[arg-type]
    assert report.differences == ["an instance ended with 1, and not with 75: why [since the last comparison: nothing]"]


def test_a_copy_of_an_instance_has_the_same_files_and_a_folder_and_a_port_of_its_own(tmp_path: Path):
    one = tmp_path / "one"
    (one / "data" / "events").mkdir(parents=True)
    (one / "data" / "events" / "checkpoint-1").write_bytes(b"one")
    subject = Subject(one, {"http": {"port": 1}, "data_dir": str(one / "data"), "streams": {}})
    made = subject.copy(tmp_path / "two")
    assert (tmp_path / "two" / "data" / "events" / "checkpoint-1").read_bytes() == b"one"
    settings = json.loads((tmp_path / "two" / "settings.yaml").read_text())
    assert settings == {"http": {"port": made.port}, "data_dir": str(tmp_path / "two" / "data"), "streams": {}}
    assert made.port != 1
    rival = json.loads((subject.rival(tmp_path / "three").folder / "settings.yaml").read_text())
    assert rival["data_dir"] == str(one / "data")


@pytest.mark.broker
def test_a_transaction_of_the_load_counts_if_it_commits_and_its_times_ahead_are_kept_apart(broker: str):
    with topics_on(broker, list(TRUTHS)) as (topics, _):
        load = Load(broker, topics, seed=3, rate=1_000)
        truths = {view: lane.truth for view, lane in load.lanes.items()}
        try:
            load.start()
            for commits in (True, False):
                end = load.open_transaction(20, commits=commits)
                beyond(load, {view: truth.records for view, truth in truths.items()})
                end()
            load.send_ahead()
            load.pause()
        finally:
            load.close()
        for view, (topic, _) in topics.items():
            assert visible_count(broker, topic) == truths[view].records == load.acknowledged()[view], view
        assert {view: bool(truth.apart) for view, truth in truths.items()} == {
            "sets": True,
            "top": False,
            "segments": False,
            "uniques": True,
            "words": True,
            "funnel": False,
        }
