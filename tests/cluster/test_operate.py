"""What operators see of a cluster, and do with it: the shards by process, with their figures, and processes that give them back."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.test_cluster import SHARDS, Cluster, cluster, spread, whole
from tests.support.service import Service, command
from tests.support.waiting import until

__all__ = ["cluster"]


@pytest.fixture
def two(cluster: Cluster) -> Iterator[list[Service]]:
    with ExitStack() as around:
        running = [around.enter_context(cluster.process()) for _ in range(2)]
        spread(running)
        whole(running, 6_000)
        yield running


def shards_of(running: Service, stream: str = "words") -> dict[int, dict[str, Any]]:
    found: list[dict[str, Any]] = running.get(f"/streams/{stream}")["shards"]
    return {each["shard"]: each for each in found}


def told(running: Service) -> list[int]:
    """Return the shards that the process has, by its stats."""
    return sorted(running.get("/words/get-stats").get("shards", []))


def say(running: Service, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*command("cli/__main__", "cluster", *words), "--url", f"http://127.0.0.1:{running.port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_each_process_lists_all_shards_with_the_figures_of_those_that_answer(two: list[Service]):
    def complete() -> list[dict[int, dict[str, Any]]] | None:
        found = [shards_of(each) for each in two]
        return found if all(shard["lag"] == 0 for own in found for shard in own.values()) else None

    found = until(complete)
    for own, other, running in zip(found, reversed(found), two, strict=True):
        here = {number for number, each in own.items() if each["state"] == "here"}
        assert here == set(told(running))
        assert {each["pid"] for number, each in own.items() if number in here} == {running.process.pid}
        for member in ("pid", "host", "port", "epoch", "lag", "bytes"):
            assert [each[member] for each in own.values()] == [each[member] for each in other.values()]
        assert all(each["bytes"] > 0 for each in own.values())
        families = text_string_to_metric_families(running.request("/metrics")[2].decode())
        samples = [sample for family in families for sample in family.samples]
        held = [each for each in samples if each.name == "firnline_held_bytes" and each.labels["stream"] == "words"]
        assert {int(each.labels["shard"]) for each in held} == here
        assert sum(each.value for each in held) == sum(each["bytes"] for number, each in own.items() if number in here)
        managers = [each.labels for each in samples if each.name == "firnline_actors" and each.labels["actor"] == "Manager"]
        assert {int(each["shard"]) for each in managers if each["stream"] == "words"} == here
    assert sum(len(told(each)) for each in two) == SHARDS
    printed = say(two[0], "status")
    assert printed.returncode == 0, printed.stderr
    lines = [line.split("│") for line in printed.stdout.splitlines() if "words" in line]
    where = Counter(line[4].strip() for line in lines)
    assert where == Counter(f"127.0.0.1:{each.port}" for each in two for _ in told(each))
    two[1].process.kill()
    two[1].process.wait()
    lost = until(lambda: [each for each in shards_of(two[0]).values() if each["lag"] is None])
    assert all(each["bytes"] is None for each in lost)
    assert json.loads(say(two[0], "status", "--json").stdout)["words"]
