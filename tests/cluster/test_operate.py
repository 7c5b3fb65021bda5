"""What operators see of a cluster, and do with it: the shards by process, with their figures, and processes that give them back."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.test_cluster import PARTITIONS, SHARDS, Cluster, cluster, lines, spread, whole
from tests.cluster.test_losses import QUESTION, Asking
from tests.conftest import Send
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


def test_a_process_that_drains_answers_for_all_while_others_have_its_shards_until_it_takes_some_again(two: list[Service]):
    one, other = two
    had = told(one)
    said = say(one, "drain")
    assert said.returncode == 0, said.stderr
    assert f"other processes have its shards {', '.join(map(str, had))}; " in said.stdout
    member = one.get("/cluster/member")
    assert (member["state"], member["has"], member["shards"]) == ("drained", [], SHARDS)
    assert one.request("/readyz")[0] == 200
    whole(two, 6_000)
    assert told(one) == []
    assert told(other) == list(range(SHARDS))
    alone = say(other, "drain", "--timeout", "1")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert "after 1 s" in alone.stderr
    assert say(one, "resume").stdout == "it takes shards again\n"
    whole(two, 6_000)
    until(lambda: told(one) == list(range(SHARDS)))
    whole(two, 6_000)
    assert say(other, "resume").returncode == 0
    spread(two)
    whole(two, 6_000)


@pytest.mark.long
def test_a_rolling_restart_loses_no_answer_and_each_partial_one_names_what_is_absent(cluster: Cluster, send: Send):
    sent = 6_000
    with ExitStack() as around:
        running = [around.enter_context(cluster.process(f"cluster.member=m{number}")) for number in range(3)]
        spread(running)
        whole(running, sent)
        asking = Asking(running[0].request(QUESTION)[2], running)
        thread = threading.Thread(target=asking.run, daemon=True)
        thread.start()
        took = []
        for number, old in enumerate(list(running)):
            send(cluster.bootstrap, cluster.topic, lines(100, number), [at % PARTITIONS for at in range(100)])
            sent += 100
            began = time.monotonic()
            said = say(old, "drain")
            assert said.returncode == 0, said.stderr
            took.append(round(time.monotonic() - began, 1))
            running.remove(old)  # as a load balancer does before it is ended
            named = asking.counted["named"]
            assert old.stop()[0] == 0
            whole(running, sent)
            assert asking.counted["named"] == named, "a drained process takes nothing with it"
            running.append(around.enter_context(cluster.process(f"cluster.member=m{number}")))
            spread(running)
            whole(running, sent)
        asking.over.set()
        thread.join(60)
    sys.stdout.write(f"drained in {took} s; answers {dict(asking.counted)}\n")
    assert asking.wrong == []
    assert set(asking.counted) <= {"whole", "named", "behind"}, "every request to a process that runs is answered"
    assert asking.counted["whole"]
