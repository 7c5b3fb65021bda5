"""Three processes over funnels answer as one does, if the topics are partitioned by the key; else they refuse with the reason."""

import json
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from confluent_kafka import Producer

from tests.cluster.test_cluster import SECRET, created, shown
from tests.support.service import Service, service
from tests.support.waiting import until

PARTITIONS, KEYS, WITHIN_MS = 6, 400, 20_000
BEGIN = 1_700_000_000_000
SHARDS_WITH_TWO_KILLS = 3
QUESTIONS = (
    "/paid",
    "/paid?by=minute",
    f"/paid?startTime={BEGIN + 20_000}&endTime={BEGIN + 60_000}&format=csv",
    f"/paid/sequences?startTime={BEGIN}&limit=50",
    "/paid/sequences?state=open&limit=5",
    "/paid/sequences?state=lapsed&missing=paid&limit=20",
    "/paid/sequences?state=complete&format=ndjson",
    "/paid/sequences?key=ord%C3%A47",
    f"/paid/keys/{quote('ordä7')}",
    f"/paid/keys/{quote('ordä11')}",
    "/paid/summary?by=1m&startTime=0",
    "/paid?by=day&zone=Europe/Berlin",
)


def events(count: int, seed: int, begin: int = BEGIN) -> list[tuple[str, bytes]]:
    """Return keys and records, in order of time: a quarter of the orders lack a step, and some have steps in a wrong order."""
    chance, found = random.Random(seed), []
    for at in range(count):
        key, kind = f"ordä{chance.randrange(KEYS)}", chance.choice(["created", "created", "paid", "shipped", "other"])
        record = {"id": key, "type": kind, "at": begin + 30 * at + chance.randrange(20)}
        found.append((key, json.dumps(record).encode()))
    return found


def produce(bootstrap: str, topic: str, records: Sequence[tuple[str | None, bytes]], partitioner: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": partitioner, "enable.idempotence": True})
    for key, value in records:
        producer.produce(topic, value, key)
        producer.poll(0)
    assert producer.flush(30) == 0


class Funnels:
    """A cluster of one funnel, `paid`, over a topic."""

    def __init__(self, bootstrap: str, folder: Path, shards: int) -> None:
        self.bootstrap = bootstrap
        self.shards = shards
        self.topic = created(bootstrap, PARTITIONS)
        self.data = folder / "data"
        self.file = folder / "funnel.yaml"
        self.file.write_text(f"""kafka: {{bootstrap.servers: "{bootstrap}"}}
memory: {{budget: 300MiB}}
streams:
  paid:
    view: funnel
    idle_ms: 200
    source: {{topic: {self.topic}}}
    steps: [created, paid, shipped]
    within: {WITHIN_MS}ms
    max_sequences: 300
    record: {{format: json, key: /id, step: {{field: /type}}, time: {{field: /at, unit: ms}}}}
""")

    @contextmanager
    def alone(self) -> Iterator[Service]:
        with service(self.bootstrap, self.topic, stream="paid", also=("--config", str(self.file))) as running:
            yield running

    @contextmanager
    def process(self) -> Iterator[Service]:
        name = f"f{self.topic[-12:]}"
        own = (f"cluster.name={name}", f"cluster.shards={self.shards}", f"data_dir={self.data}", "checkpoint.every_ms=500")
        also = ("--config", str(self.file))
        with service(self.bootstrap, self.topic, *own, stream="paid", also=also, FIRNLINE_CLUSTER_SECRET=SECRET) as running:
            yield running


def whole(processes: Sequence[Service], events: int) -> None:
    """Wait until each process answers for all shards, with all events."""

    def look() -> bool:
        found = []
        for each in processes:
            status, headers, body = each.request(QUESTIONS[0])
            if status != 200 or "absent" in json.loads(headers["firnline-coverage"]):
                return False
            found.append(body)
        read = sum(own["records"] for own in (each.stats("paid") for each in processes))
        return read >= events and len(set(found)) == 1

    until(look, timeout_s=60)


def alike(alone: Service, processes: Sequence[Service]) -> None:
    """Wait until each process gives the bytes and the coverage of the one that is alone. Its clock may be a moment ahead.

    `finalUntil` depends on when slices retire. Both are times before which no sequence changes.
    """

    def told(running: Service, question: str) -> tuple[Any, ...]:
        status, kept, body = shown(running, question)
        coverage = json.loads(kept.pop("firnline-coverage"))
        return status, coverage | {"finalUntil": None}, kept, body

    for question in QUESTIONS:
        for each in processes:
            seen: list[Any] = []

            def look(each: Service = each, question: str = question, seen: list[Any] = seen) -> bool:
                seen[:] = [told(each, question), told(alone, question)]
                return seen[0] == seen[1]

            with suppress(AssertionError):
                until(look, timeout_s=30)
            assert seen[0] == seen[1], question


@pytest.mark.long
@pytest.mark.parametrize(("shards", "partitioner"), [(3, "murmur2_random"), (5, "consistent_random")])
def test_funnels_of_three_processes_are_those_of_one(broker: str, tmp_path: Path, shards: int, partitioner: str):
    funnels = Funnels(broker, tmp_path, shards)
    sent = 3_000
    produce(broker, funnels.topic, events(sent, 1), partitioner)
    with ExitStack() as around:
        alone = around.enter_context(funnels.alone())
        running = [around.enter_context(funnels.process()) for _ in range(3)]
        spread_over(running)
        alone.settled(sent, "paid")
        whole(running, sent)
        alike(alone, running)
        for kill in range(2 if shards == SHARDS_WITH_TWO_KILLS else 1):
            victim = running.pop(kill)
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait()
            # These are later than the silence in the stream, so that no event is late.
            produce(broker, funnels.topic, events(700, 2 + kill, BEGIN + 600_000 * (1 + kill)), partitioner)
            sent += 700
            alone.settled(sent, "paid")
            whole(running, sent)
            alike(alone, running)
            running.append(around.enter_context(funnels.process()))
            spread_over(running)
        # Records that are not in the partitions of their keys: no shard has whole sequences from now on.
        produce(broker, funnels.topic, [(str(place), events(1, place)[0][1]) for place in range(40)], partitioner)
        status, _, body = until(lambda: refused(running[0]))
        assert status == 409
        assert b"not partitioned by the key of the funnel" in body
        assert b"by_key: true" in body


def refused(running: Service) -> tuple[int, dict[str, str], bytes] | None:
    found = running.request(QUESTIONS[0])
    return found if found[0] != 200 else None


def spread_over(processes: Sequence[Service]) -> None:
    """Wait until each process has a shard."""

    def look() -> bool:
        shards = [each.get("/streams/paid")["shards"] for each in processes]
        return all({shard["state"] for shard in own} == {"here", "elsewhere"} for own in shards)

    until(look, timeout_s=60)
