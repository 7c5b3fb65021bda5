"""What does not go well in a shard is shown at every process, in the metrics and by the command, and no longer than it lasts."""

import itertools
import json
import subprocess
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.cluster.test_cluster import PARTITIONS, Cluster, cluster, lines, spread, whole
from tests.cluster.test_moving import Apart
from tests.cluster.test_results import Stream
from tests.conftest import Send
from tests.support.service import Service, command
from tests.support.waiting import until

__all__ = ["cluster"]

NO_COPY = "the checkpoint is here, and not in the checkpoint topic"


def limit(bootstrap: str, topic: str, nbytes: int | None) -> None:
    """Have Kafka refuse records of this topic that are longer; None: as before."""
    kind = AlterConfigOpType.DELETE if nbytes is None else AlterConfigOpType.SET
    entry = ConfigEntry("max.message.bytes", str(nbytes or 0), incremental_operation=kind)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})  # its answers end with it
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(20)


def problems(running: Service, stream: str) -> dict[int, list[str]]:
    """Return the problems of each shard that has some."""
    return {each["shard"]: each["problems"] for each in running.get(f"/streams/{stream}")["shards"] if each["problems"]}


def ready(running: Service, stream: str) -> Any:
    """Return the entry of a stream in /readyz."""
    return json.loads(running.request("/readyz")[2])["streams"][stream]


def metrics(running: Service, name: str) -> list[float]:
    """Return the values of a metric, one for each row."""
    rows = running.request("/metrics")[2].decode().splitlines()
    return [float(row.rpartition(" ")[2]) for row in rows if row.startswith(f"{name}{{")]


def printed(running: Service) -> str:
    """Return what the command shows of the cluster."""
    asked = [*command("cli/__main__", "cluster", "status"), "--url", f"http://127.0.0.1:{running.port}"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # 1 if a shard is nowhere


@pytest.mark.long
def test_a_copy_that_fails_is_shown_everywhere_until_the_next_one_succeeds(cluster: Cluster, send: Send):
    apart = Apart(**{each.name: getattr(cluster, each.name) for each in fields(cluster)})
    numbers = itertools.count()

    def sent() -> None:
        """Send records, so that there is something for a checkpoint."""
        send(apart.bootstrap, apart.topic, lines(50, next(numbers)), [at % PARTITIONS for at in range(50)])

    with ExitStack() as around:
        running = [around.enter_context(apart.process()) for _ in range(2)]
        spread(running)
        whole(running, 6_000)
        limit(apart.bootstrap, apart.checkpoints, 200)

        def troubled() -> bool:
            sent()
            return all(len(problems(each, "words")) == 3 for each in running)

        until(troubled, timeout_s=60)
        for each in running:
            found = ready(each, "words")
            assert found["ready"]
            assert NO_COPY in found["copyProblem"]
            assert max(metrics(each, "firnline_checkpoint_copy_failing")) == 1
            until(lambda each=each: printed(each).count(NO_COPY) >= 3)  # the other process may be slow to tell
        limit(apart.bootstrap, apart.checkpoints, None)

        def over() -> bool:
            sent()
            return not any(problems(each, "words") for each in running)

        until(over, timeout_s=60)
        for each in running:
            until(lambda each=each: "copyProblem" not in ready(each, "words"))


@pytest.mark.long
def test_results_that_cannot_be_written_are_shown_until_they_are(broker: str, send: Send, tmp_path: Path):
    stream = Stream(broker, send, tmp_path)
    limit(broker, stream.output, 100)  # a mark of the end of a transaction has 78
    with stream.process() as one, stream.process() as two:
        stream.put([(second, "u1") for second in range(1_468_238_400, 1_468_238_400 + 600, 5)])
        for each in (one, two):
            until(lambda each=each: "no results can be written" in str(problems(each, "uniques").get(0)), timeout_s=60)
        until(lambda: ["outputProblem" in ready(each, "uniques") for each in (one, two)].count(True) == 1)
        until(lambda: sum(sum(metrics(each, "firnline_output_waiting")) for each in (one, two)) == 1)
        limit(broker, stream.output, None)
        until(lambda: not any(problems(each, "uniques") for each in (one, two)), timeout_s=60)
        until(stream.rows)
        until(lambda: not any("outputProblem" in ready(each, "uniques") for each in (one, two)))
