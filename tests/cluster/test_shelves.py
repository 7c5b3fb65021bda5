"""A stream of sets in a cluster: one shard matches, the others hold what its memory does not; answers are those of one process."""

import json
import random
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.test_cluster import SECRET, created, shown
from tests.conftest import Send
from tests.support.service import Service, service
from tests.support.waiting import until

STEPS = "abcd"
SHARDS, PARTITIONS, SETS = 8, 4, 240_000
GAP = 1 << 41
"""Times at random gaps of up to that many ns have six bytes each, so that few events fill the memory of a matcher."""

WHOLE = "/events/get-sets?startTime=0&endTime=2000000000000000000"
QUESTIONS = (
    f"{WHOLE}&format=ndjson",
    f"{WHOLE}&limit=20&coverage=1",
    "/events/get-sets?startTime=400000000000000000&endTime=400300000000000000&format=csv",
    "/events/summary?startTime=0&endTime=60000000000000000&by=100d",
    "/events/histogram?width=5000000000000000&startTime=0&endTime=60000000000000000",
)


def events(count: int) -> tuple[list[bytes], list[int]]:
    """Return the records of `count` sets, and the times of the first step."""
    chance, time, values, firsts = random.Random(5), 10**15, [], []
    for _ in range(count):
        for step in STEPS:
            time += chance.randrange(1, GAP)
            values.append(f"{step}_{time}".encode())
            if step == STEPS[0]:
                firsts.append(time)
    return values, firsts


@dataclass
class Sets:
    """Processes over one topic of sets, with one data folder for all of them."""

    bootstrap: str
    topic: str
    data: Path
    name: str = field(default_factory=lambda: f"c{uuid4().hex[:12]}")
    budget: str = "1GiB"

    @property
    def also(self) -> tuple[str, ...]:
        path = self.data.with_suffix(".yaml")
        path.write_text(f"""kafka: {{bootstrap.servers: "{self.bootstrap}"}}
streams:
  events:
    {{view: sets, idle_ms: 200, steps: [{", ".join(STEPS)}], time_unit: ns, max_sets: 1000, source: {{topic: {self.topic}}}}}
""")
        return "--config", str(path)

    @contextmanager
    def alone(self) -> Iterator[Service]:
        """Run one process without the cluster, with memory for all."""
        with service(self.bootstrap, self.topic, "memory.budget=1GiB", also=self.also) as running:
            yield running

    @contextmanager
    def process(self, *more: str, ends: bool = False) -> Iterator[Service]:
        """Run one more process of the cluster, with little memory."""
        own = (f"cluster.name={self.name}", f"cluster.shards={SHARDS}", f"data_dir={self.data}", "checkpoint.every_ms=500")
        with service(
            self.bootstrap,
            self.topic,
            *own,
            f"memory.budget={self.budget}",
            *more,
            also=self.also,
            ends=ends,
            FIRNLINE_CLUSTER_SECRET=SECRET,
        ) as running:
            yield running

    def least(self) -> int:
        """Return the MiB that an empty process needs here. A process with less says so."""
        with pytest.raises(AssertionError, match="expected at least") as refused, self.process("memory.budget=1MiB"):
            pass
        found = re.search(r"at least (\d+) MiB", str(refused.value))
        assert found is not None
        return int(found[1])


def bytes_of(running: Service) -> list[int | None]:
    """Return the bytes of the generations of each shard."""
    return [each["bytes"] for each in running.get("/streams/events")["shards"]]


def whole(running: Service) -> bool:
    """Whether a process has an answer of all sets, and each shard answers."""
    status, headers, _ = running.request(f"{WHOLE}&limit=1&coverage=1")
    states = {each["state"] for each in running.get("/streams/events")["shards"]}
    return status == 200 and "absent" not in json.loads(headers["firnline-coverage"]) and states <= {"here", "elsewhere"}


def spread(processes: Sequence[Service]) -> None:
    """Wait until each process has a shard, and knows who has the others."""

    def look() -> bool:
        shards = [each.get("/streams/events")["shards"] for each in processes]
        return all({shard["state"] for shard in own} == {"here", "elsewhere"} for own in shards)

    until(look, timeout_s=60)


def alike(alone: Service, processes: Sequence[Service], questions: Sequence[str] = QUESTIONS) -> None:
    """Wait until each process gives the bytes and the coverage of the one that is alone."""
    for question in questions:
        for each in processes:
            seen: list[Any] = []

            def look(each: Service = each, question: str = question, seen: list[Any] = seen) -> bool:
                seen[:] = [each.request(question)]
                seen[:] = [shown(each, question), shown(alone, question)]
                return seen[0] == seen[1]

            with suppress(AssertionError):
                until(look, timeout_s=30)
            assert seen[0] == seen[-1], question
            assert len(seen) == 2, (question, seen)


def matcher_of(processes: Sequence[Service]) -> int:
    """Return which process matches."""
    return next(place for place, each in enumerate(processes) if each.get("/streams/events")["shards"][0]["state"] == "here")


@pytest.mark.long
def test_a_cluster_answers_as_one_process_with_more_memory_also_after_kills(broker: str, send: Send, tmp_path: Path):
    values, firsts = events(SETS)
    topic = created(broker, PARTITIONS)
    sets = Sets(broker, topic, tmp_path / "data")
    sets.budget = f"{sets.least() + 8}MiB"
    with sets.alone() as alone, ExitStack() as around:
        processes = [around.enter_context(sets.process()) for _ in range(2)]
        spread(processes)
        sent = 0
        for partition, upto in ((0, len(values) * 9 // 10), (3, len(values))):  # no event is late, however slow the machine is
            send(broker, topic, values[sent:upto], [partition] * (upto - sent))
            sent = upto
            alone.settled(sent)
            until(lambda: all(map(whole, processes)), timeout_s=60)
            until(lambda: sum(each.stats()["events"] for each in processes) == sent, timeout_s=60)  # noqa: B023  # used now
        explained = [f"/events/explain?step=a&time={firsts[place]}" for place in (3, SETS // 2, SETS - 3)]

        def given() -> bool:
            held = [each or 0 for each in bytes_of(processes[0])]
            return held[0] < 0.8 * sum(held[1:])  # with all of them it would have more

        until(given, timeout_s=60)
        alike(alone, processes, [*QUESTIONS, *explained])

        by_matcher, told = processes[matcher_of(processes)].stats(), alone.stats()
        assert by_matcher["total"] == told["total"]
        assert by_matcher["dropped"] == {}
        assert len(by_matcher["data"]) == len(told["data"])

        for each in processes:
            for path in ("/metrics", "/readyz", "/events/get-stats", "/streams"):
                assert each.request(path)[0] == 200, path

        first = matcher_of(processes)
        shelf, match = processes[1 - first], processes[first]
        shelf.process.send_signal(signal.SIGKILL)

        def named() -> dict[str, Any] | None:
            status, headers, body = match.request(f"{WHOLE}&format=ndjson")
            if status != 200 or "absent" not in (coverage := json.loads(headers["firnline-coverage"])):
                return None
            assert coverage["missing"]
            assert all(start is not None and end is not None for start, end in coverage["missing"])
            assert coverage["absent"] == [
                f"events {shard}" for shard in sorted(int(each.split()[1]) for each in coverage["absent"])
            ]
            return {"coverage": coverage, "body": body}

        def here() -> bool:
            return all(each["state"] == "here" for each in match.get("/streams/events")["shards"])

        partial = until(lambda: named() or here(), timeout_s=60)
        if isinstance(partial, dict):  # else this machine was too slow to see it
            lacks = set(alone.request(f"{WHOLE}&format=ndjson")[2].splitlines()) - set(partial["body"].splitlines())
            spans = partial["coverage"]["missing"]
            times = [json.loads(line)["a"]["timestamp"] for line in lacks]
            assert all(any(start <= time < end for start, end in spans) for time in times), "what is missing is named"
        until(lambda: whole(match), timeout_s=60)
        alike(alone, [match])

        other = around.enter_context(sets.process())
        spread([match, other])
        until(lambda: whole(other), timeout_s=60)
        going, staying = (match, other) if matcher_of([match, other]) == 0 else (other, match)
        going.process.send_signal(signal.SIGKILL)
        until(lambda: staying.get("/streams/events")["shards"][0]["state"] == "here" and whole(staying), timeout_s=60)
        until(lambda: staying.stats()["total"] == told["total"], timeout_s=60)
        alike(alone, [staying], [*QUESTIONS, *explained])
