"""Three processes over the same streams answer as one does, or name what is absent; kills and freezes lose nothing."""

import json
import os
import random
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.columns.partitioners import murmur2
from actors.columns.text import Text
from scripts.brokers.process import free_port
from tests.conftest import Send
from tests.support.service import Service, command, service
from tests.support.waiting import until

SECRET = "the secret of this cluster"  # noqa: S105  # of a test
SHARDS, PARTITIONS = 3, 7
SUPERSEDED = 75
BEGIN = 1_513_765_893
QUESTIONS = (
    "/words/CountByEventType",
    "/words/CountWords?detail=1",
    f"/words/CountWords?startTime={BEGIN + 100}&endTime={BEGIN + 300}&format=csv",
    f"/words/CountByEventType?startTime={BEGIN + 50}&limit=2&format=ndjson",
    f"/words/histogram?width=60000&startTime={BEGIN * 1000}&endTime={BEGIN * 1000 + 900_000}",
    "/words/summary?by=1m&startTime=0",
    "/uniques?granularity=minute",
    f"/uniques?granularity=minute&start={BEGIN + 60}&end={BEGIN + 200}&limit=1&coverage=1",
    "/uniques?granularity=hour&format=csv",
    "/uniques?granularity=year&format=ndjson",
    "/dataset?limit=5&values=1",
    "/dataset?limit=1000",
    "/dataset/id7",
    "/dataset/summary?startTime=0",
    "/paid",
    "/paid/sequences?limit=20",
    "/paid/sequences?state=open&limit=5&format=csv",
    "/paid/keys/k7",
)


def lines(count: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [
        json.dumps(
            {
                "event_type": chance.choice("abc"),
                "data": " ".join(chance.choices(["lorem", "ipsum", "dolor", "ä", f"w{chance.randrange(300)}"], k=2)),
                "timestamp": BEGIN + at // 20 + chance.random(),
            }
        ).encode()
        for at in range(count)
    ]


def partition_of(key: str) -> int:
    """Return the partition that Java's clients choose for a key."""
    return int(murmur2(Text.of([key.encode()]))[0] & 0x7FFFFFFF) % PARTITIONS


def uniques(count: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [json.dumps({"ts": BEGIN + at / 10, "uid": f"u{chance.randrange(2_500)}"}).encode() for at in range(count)]


def orders(count: int, seed: int) -> list[tuple[str, bytes]]:
    """Return keys and records of a funnel."""
    chance, found = random.Random(seed), []
    for at in range(count):
        key, kind = f"k{chance.randrange(600)}", chance.choice(["created", "paid", "shipped"])
        found.append((key, json.dumps({"id": key, "type": kind, "at": BEGIN + at / 10}).encode()))
    return found


def created(bootstrap: str, partitions: int) -> str:
    name = f"cluster-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(20)
    return name


def shown(running: Service, question: str) -> tuple[Any, ...]:
    """Return what a client sees of an answer."""
    status, headers, body = running.request(question)
    assert status == 200, (question, body)
    kept = {name: headers.get(name) for name in ("firnline-coverage", "firnline-max-error", "firnline-range", "firnline-rows")}
    return status, kept, body


def alike(alone: Service, processes: Sequence[Service]) -> None:
    """Wait until each process gives the bytes and the coverage of the one that is alone. Its clock may be a moment ahead."""
    for question in QUESTIONS:
        for each in processes:
            seen: list[Any] = []

            def look(each: Service = each, question: str = question, seen: list[Any] = seen) -> bool:
                seen[:] = [shown(each, question), shown(alone, question)]
                return seen[0] == seen[1]

            with suppress(AssertionError):
                until(look, timeout_s=20)
            assert seen[0] == seen[1]


def absent(running: Service) -> list[str]:
    """Return the shards that the coverage of an answer names."""
    status, headers, body = running.request(QUESTIONS[0])
    assert status == 200, body
    coverage = json.loads(headers["firnline-coverage"])
    if "absent" in coverage:
        assert coverage["missing"] == [[None, None]]
    return coverage.get("absent", [])


@dataclass
class Cluster:
    """Processes of one cluster over one topic, with one data folder for all of them."""

    bootstrap: str
    topic: str
    frames: str
    ids: str
    paid: str
    data: Path
    name: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:12]}")

    @property
    def file(self) -> str:
        """The configuration that one process alone and those of the cluster have."""
        path = self.data.with_suffix(".yaml")
        path.write_text(f"""kafka: {{bootstrap.servers: "{self.bootstrap}"}}
memory: {{budget: 400MiB}}
streams:
  words: {{view: words, idle_ms: 200, source: {{topic: {self.topic}}}}}
  dataset: {{view: top, idle_ms: 200, source: {{topic: {self.ids}}}}}
  uniques: {{view: uniques, idle_ms: 200, exact_users: 1000, source: {{topic: {self.frames}}}}}
  paid:
    view: funnel
    idle_ms: 200
    source: {{topic: {self.paid}}}
    steps: [created, paid, shipped]
    within: 1d
    record: {{format: json, key: /id, step: {{field: /type}}, time: {{field: /at, unit: s}}}}
""")
        return str(path)

    @property
    def words(self) -> tuple[str, ...]:
        """The options of each process."""
        return "--config", self.file, "--only", "uniques", "--only", "dataset", "--only", "paid"

    @contextmanager
    def alone(self) -> Iterator[Service]:
        """Run one process without the cluster."""
        with service(self.bootstrap, self.topic, stream="words", also=self.words) as running:
            yield running

    @contextmanager
    def process(self, *more: str, secret: str = SECRET, ends: bool = False) -> Iterator[Service]:
        """Run one more process of the cluster."""
        own = (f"cluster.name={self.name}", f"cluster.shards={SHARDS}", f"data_dir={self.data}", "checkpoint.every_ms=500")
        with service(
            self.bootstrap, self.topic, *own, *more, stream="words", also=self.words, ends=ends, FIRNLINE_CLUSTER_SECRET=secret
        ) as running:
            yield running


def listens(pid: int, port: int) -> bool:
    return any(each.laddr[1] == port for each in psutil.Process(pid).net_connections() if each.status == psutil.CONN_LISTEN)


def whole(processes: Sequence[Service], records: int) -> None:
    """Wait until each process answers for all shards, with all records."""

    def look() -> bool:
        found = [json.loads(each.request(f"{QUESTIONS[0]}?detail=1")[2]) for each in processes]
        return all("absent" not in each["coverage"] and sum(each["counts"].values()) == records for each in found)

    until(look)


def spread(processes: Sequence[Service]) -> None:
    """Wait until each process has a shard. The first one that joins has all of them for a moment."""

    def look() -> bool:
        shards = [each.get("/streams/words")["shards"] for each in processes]
        return all({shard["state"] for shard in own} == {"here", "elsewhere"} for own in shards)

    until(look)


@pytest.fixture
def cluster(broker: str, tmp_path: Path, send: Send) -> Cluster:
    topic = created(broker, PARTITIONS)
    chance = random.Random(4)
    send(broker, topic, lines(6_000, 1), [chance.randrange(PARTITIONS) for _ in range(6_000)])
    frames = created(broker, PARTITIONS)
    send(broker, frames, uniques(6_000, 3), [chance.randrange(PARTITIONS) for _ in range(6_000)])
    ids = created(broker, PARTITIONS)
    values = [b"id%d_%d" % (chance.randrange(300), chance.randrange(10**6)) for _ in range(3_000)]
    send(broker, ids, values, [chance.randrange(PARTITIONS) for _ in values])
    paid = created(broker, PARTITIONS)
    by_key = [partition_of(key) for key, _ in orders(2_000, 5)]
    send(broker, paid, [value for _, value in orders(2_000, 5)], by_key)
    return Cluster(broker, topic, frames, ids, paid, tmp_path / "data")


def test_three_processes_answer_as_one_and_a_killed_one_is_named_and_replaced(cluster: Cluster, send: Send):
    with ExitStack() as around:
        alone = around.enter_context(cluster.alone())
        three = [around.enter_context(cluster.process()) for _ in range(3)]
        spread(three)
        whole([alone, *three], 6_000)
        alike(alone, three)
        assert three[2].post(["best_5000000", "id7_4000000"])[0] == 200
        for each in (alone, *three):
            until(lambda: each.get("/dataset?limit=2") == {"data": ["best", "id7"]})  # noqa: B023  # called at once
        three[1].process.send_signal(signal.SIGKILL)
        three[1].process.wait()
        rest = [three[0], three[2]]
        named = until(lambda: absent(three[0]))
        assert set(named) < {f"words {shard}" for shard in range(SHARDS)}
        whole(rest, 6_000)
        send(cluster.bootstrap, cluster.topic, lines(700, 2), [at % PARTITIONS for at in range(700)])
        whole([alone, *rest], 6_700)
        alike(alone, rest)


@pytest.mark.long
def test_a_frozen_process_that_wakes_beside_its_replacement_learns_that_it_has_lost_its_shards(cluster: Cluster, send: Send):
    with ExitStack() as around:
        two = [around.enter_context(cluster.process()) for _ in range(2)]
        spread(two)
        whole(two, 6_000)
        two[0].process.send_signal(signal.SIGSTOP)
        until(lambda: absent(two[1]))
        send(cluster.bootstrap, cluster.topic, lines(700, 2), [at % PARTITIONS for at in range(700)])
        whole(two[1:], 6_700)
        two[0].process.send_signal(signal.SIGCONT)
        woken = until(lambda: two[0].request(f"{QUESTIONS[0]}?detail=1"))
        found = json.loads(woken[2])
        assert sum(found["counts"].values()) == 6_700 or "absent" in found["coverage"], "old counts without a word"
        whole(two, 6_700)
        assert two[0].stop()[0] == 0
        whole(two[1:], 6_700)


@pytest.mark.long
def test_a_process_with_another_secret_is_not_believed_and_one_with_other_shards_or_a_member_twice_is_refused(cluster: Cluster):
    with cluster.process("cluster.member=one") as running:
        whole([running], 6_000)
        status, _, body = running.request("/-/ask", "POST", b"anything")
        assert (status, body) == (403, b"")
        shards = running.get("/streams/words")["shards"]
        assert [(each["shard"], each["state"]) for each in shards] == [(shard, "here") for shard in range(SHARDS)]
        with cluster.process("cluster.shards=4", ends=True) as other:
            printed, _ = other.process.communicate(timeout=60)
            assert other.process.returncode == 1
            assert f"cluster.shards: expected {SHARDS}" in printed
        with cluster.process(secret=SECRET[::-1]) as stranger:
            until(lambda: absent(stranger))
            assert stranger.stop()[0] == 0
        whole([running], 6_000)
        with cluster.process("cluster.member=one") as twin:
            printed, _ = running.process.communicate(timeout=60)
            assert running.process.returncode == SUPERSEDED
            assert "cluster.member: another process is one" in printed
            whole([twin], 6_000)


@pytest.mark.long
def test_processes_on_one_machine_answer_at_the_configured_port_and_are_started_again(cluster: Cluster, tmp_path: Path):
    port = free_port()
    words = (
        "--config",
        cluster.file,
        "--cluster",
        "local:2",
        "--set",
        f"http.port={port}",
        "--set",
        f"data_dir={cluster.data}",
    )
    own = ("--set", f"cluster.name={cluster.name}", "--set", f"cluster.shards={SHARDS}")
    parent = subprocess.Popen(
        command("serve", *words, *own), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    running = Service(parent, port)
    try:

        def answers() -> bool:
            assert parent.poll() is None, parent.communicate()[0]
            with suppress(OSError, ValueError):
                return absent(running) == []
            return False

        until(answers, timeout_s=60)
        spread([running])
        whole([running], 6_000)
        other = next(each["port"] for each in running.get("/streams/words")["shards"] if each["state"] == "elsewhere")
        before = {each.pid for each in psutil.Process(parent.pid).children()}
        assert len(before) == 2
        os.kill(next(pid for pid in before if listens(pid, other)), signal.SIGKILL)
        until(lambda: absent(running) != [])
        whole([running], 6_000)
        printed = subprocess.run(
            [*command("cli/__main__", "cluster", "status"), "--json", "--url", f"http://127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert len(json.loads(printed)["words"]) == SHARDS
    finally:
        code, printed = running.stop()
    assert code == 0, printed
    assert "is started again" in printed
    assert not any(map(psutil.pid_exists, before))
