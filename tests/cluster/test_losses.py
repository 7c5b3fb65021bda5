"""Kills, freezes and restarts one after the other: each answer is that of one process, or names what is absent; at the end all is there."""

import contextlib
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from scripts.brokers.real import real_broker
from scripts.checkout import ROOT
from scripts.lab.chaos.proxy import Proxy
from tests.cluster.test_cluster import BEGIN, PARTITIONS, Cluster, absent, cluster, created, lines, spread, whole
from tests.cluster.test_moving import apart
from tests.conftest import Send
from tests.support.java import need_java
from tests.support.service import Service
from tests.support.waiting import promised, until

__all__ = ["apart", "cluster"]

ROUNDS = int(os.environ.get("FIRNLINE_TEST_ROUNDS", "4"))
QUESTION = f"/words/CountWords?startTime={BEGIN + 100}&endTime={BEGIN + 200}"
"""No record that a test sends later lies in this range."""


@dataclass
class Asking:
    """Asks processes all the time, and keeps what is wrong. A process that is gone or frozen may give no answer at all."""

    right: bytes
    processes: list[Service]
    wrong: list[tuple[str, bytes]] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.wait(0.03):
            for each in list(self.processes):
                with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                    self._ask(each)

    def _ask(self, each: Service) -> None:
        status, headers, body = each.request(QUESTION)
        if status != 200:
            self.counted[str(status)] += 1
            return
        coverage = json.loads(headers["firnline-coverage"])
        behind = coverage["completeTo"] is None or coverage["completeTo"] < (BEGIN + 200) * 1_000
        kind = "named" if "absent" in coverage else "behind" if behind else "whole"
        self.counted[kind] += 1
        if kind == "whole" and body != self.right:
            self.wrong.append((headers["firnline-coverage"], body))


@pytest.mark.long
@pytest.mark.parametrize(("series", "place"), [(0, "cluster"), (2, "apart")])
def test_kills_freezes_and_restarts_make_no_wrong_answer_and_lose_nothing(
    request: pytest.FixtureRequest, send: Send, series: int, place: str
):
    cluster: Cluster = request.getfixturevalue(place)  # with one folder for all processes, or with a checkpoint topic
    chance, sent = random.Random(series), 6_000
    with ExitStack() as around:
        running = [around.enter_context(cluster.process()) for _ in range(3)]
        whole(running, sent)
        asking = Asking(running[0].request(QUESTION)[2], running)
        thread = threading.Thread(target=asking.run, daemon=True)
        thread.start()
        took: dict[str, list[float]] = {"kill": [], "freeze": [], "stop": []}
        for number in range(ROUNDS):
            spread(running)
            victim = chance.choice(running)
            rest = [each for each in running if each is not victim]
            records = lines(100, number)
            send(cluster.bootstrap, cluster.topic, records, [at % PARTITIONS for at in range(100)])
            sent += 100
            time.sleep(chance.random())  # in the middle of whatever it does then
            began = time.monotonic()
            running.remove(victim)
            kind = chance.choices(["kill", "freeze", "stop"], [5, 3, 2])[0]
            if kind == "stop":
                assert victim.stop()[0] == 0
            else:
                victim.process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
                until(lambda: absent(rest[0]))  # noqa: B023  # called at once
            whole(rest, sent)
            took[kind].append(round(time.monotonic() - began, 1))
            if kind == "freeze":
                running.append(victim)
                victim.process.send_signal(signal.SIGCONT)
            else:
                running.append(around.enter_context(cluster.process()))
            whole(running, sent)
        asking.over.set()
        thread.join(60)
    sys.stdout.write(f"whole again after {took} s; answers {dict(asking.counted)}\n")
    assert asking.wrong == []
    assert asking.counted["whole"] > ROUNDS
    assert asking.counted["named"] > ROUNDS
    assert not [status for status in asking.counted if status not in {"whole", "named", "behind", "503"}]
    assert max(max(each, default=0.0) for each in took.values()) < promised(25)


@pytest.mark.long
def test_no_shard_moves_while_kafka_is_away_and_all_of_them_answer(send: Send, tmp_path: Path):
    need_java()
    with real_broker(ROOT / ".firnline" / "kafka") as bootstrap:
        kafka = listener(int(bootstrap.rpartition(":")[2]))
        topic, *others = [created(bootstrap, PARTITIONS) for _ in range(4)]
        send(bootstrap, topic, lines(6_000, 1), [at % PARTITIONS for at in range(6_000)])
        away = Cluster(bootstrap, topic, *others, tmp_path / "data")
        with away.process() as one, away.process() as two:
            running = [one, two]
            spread(running)
            whole(running, 6_000)
            before = [each.get("/streams/words")["shards"] for each in running]
            kafka.suspend()
            began = time.monotonic()
            while time.monotonic() - began < 14:  # longer than a session
                assert [absent(each) for each in running] == [[], []]
                whole(running, 6_000)
            kafka.resume()
            send(bootstrap, topic, lines(700, 2), [at % PARTITIONS for at in range(700)])
            whole(running, 6_700)
            until(lambda: all(absent(each) == [] for each in running))
            after = [each.get("/streams/words")["shards"] for each in running]
            assert len(after) == len(before)


@pytest.mark.long
def test_a_process_that_loses_its_broker_loses_its_shards_and_gives_no_wrong_answer(cluster: Cluster, send: Send):
    proxy, sent = Proxy(cluster.bootstrap, cluster.bootstrap), 6_000
    try:
        with replace(cluster, bootstrap=proxy.bootstrap).process() as one, cluster.process() as other:
            spread([one, other])
            whole([one, other], sent)
            asking = Asking(one.request(QUESTION)[2], [one, other])
            thread = threading.Thread(target=asking.run, daemon=True)
            thread.start()
            proxy.stall()
            send(cluster.bootstrap, cluster.topic, lines(100, 1), [at % PARTITIONS for at in range(100)])
            sent += 100
            whole([other], sent)
            proxy.mend()
            spread([one, other])
            whole([one, other], sent)
            asking.over.set()
            thread.join(60)
    finally:
        proxy.close()
    assert asking.wrong == []
    assert set(asking.counted) <= {"whole", "named", "behind"}


def listener(port: int) -> psutil.Process:
    """Return the process that listens at a port of this machine."""
    found = [each.pid for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr[1] == port]
    assert found[0] is not None
    return psutil.Process(found[0])
