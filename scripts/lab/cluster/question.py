"""What a question costs in one process, and over a cluster with a shard in each process: processor time of all of them.

`python -m scripts.lab.cluster.question --shards 3`. Words; rounds by turns, medians. What the processes take at
rest is taken off.
"""

import contextlib
import os
import secrets
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from scripts.lab.cluster.width import PATIENCE_S, cpu_s, send
from scripts.lab.measure.runs import Client, measuring, service
from scripts.lab.topics import temporary_topics
from scripts.lab.waiting import until

_PATHS = ("/words/CountByEventType", "/words/CountWords?limit=10")
_REST_S = 3.0

Service = tuple[list[psutil.Process], Client]


def question(
    shards: Annotated[list[int], typer.Option(help="Shards of a cluster, each in a process; may be repeated.")],
    records: Annotated[int, typer.Option(help="Records of the topic.")] = 24_000,
    questions: Annotated[int, typer.Option(help="Questions of each kind in a round.")] = 200,
    rounds: Annotated[int, typer.Option(help="Rounds of each kind.")] = 5,
    bootstrap: Annotated[str | None, typer.Option(help="A broker; by default one is started.")] = None,
) -> None:
    """Measure questions to one process, and to clusters of different numbers of shards."""
    os.environ["FIRNLINE_CLUSTER_SECRET"] = secrets.token_hex(16)
    topic = f"question-{uuid.uuid4().hex[:8]}"
    with measuring("question", bootstrap) as broker, temporary_topics(broker, {topic: max(6, *shards)}):
        send(broker, topic, max(6, *shards), records)
        with contextlib.ExitStack() as around:
            folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
            asked = {1: around.enter_context(_processes(broker, topic, 0, records, folder / "one"))}
            for count in shards:
                asked[count] = around.enter_context(_processes(broker, topic, count, records, folder / str(count)))
            for path in _PATHS:
                _measure(path, asked, questions, rounds)


@contextlib.contextmanager
def _processes(bootstrap: str, topic: str, count: int, records: int, folder: Path) -> Iterator[Service]:
    """Run a cluster of `count` processes with a shard each, or for 0 one process without a cluster."""
    own = [f"cluster.name=question{uuid.uuid4().hex[:8]}", f"cluster.shards={count}"] if count else ["cluster=null"]
    with contextlib.ExitStack() as around:
        given: Any = ("words", bootstrap, topic, "1GiB", *own)
        found = [
            around.enter_context(service(*given, data_dir=folder / str(number), config="../deploy/cluster/three"))
            for number in range(count or 1)
        ]
        client = found[0][1]
        until(
            lambda: _spread([each for _, each in found] if count else [], client, records),
            PATIENCE_S,
            "a shard in each process",
        )
        print(
            f"{count} shards: processes {[process.pid for process, _ in found]}, the asked one at port {client.port}",
            flush=True,
        )
        yield [process for process, _ in found], client


def _spread(clients: Sequence[Client], client: Client, records: int) -> bool:
    """Whether each process has a shard, and the answer is whole."""
    counted = client.get("/words/CountByEventType?detail=1")
    whole = "absent" not in counted["coverage"] and sum(counted["counts"].values()) == records
    return whole and all(len(each.get("/cluster/member")["has"]) == 1 for each in clients)


def _measure(path: str, asked: dict[int, Service], questions: int, rounds: int) -> None:
    """Ask by turns, and print the medians of the rounds."""
    cost: dict[int, list[list[float]]] = {count: [] for count in asked}
    took: dict[int, list[float]] = {count: [] for count in asked}
    for turn in range(rounds + 1):  # the first one warms up
        for count, (processes, client) in asked.items():
            before = [cpu_s(process) for process in processes]
            began = time.monotonic()
            times = [client.timed(path) for _ in range(questions)]
            asking_s, after = time.monotonic() - began, [cpu_s(process) for process in processes]
            time.sleep(_REST_S)
            rest = [cpu_s(process) for process in processes]
            if turn:
                took[count].append(statistics.median(times))
                cost[count].append(
                    [
                        (two - one - (three - two) / _REST_S * asking_s) / questions * 1_000
                        for one, two, three in zip(before, after, rest, strict=True)
                    ]
                )
    for count in asked:
        whole = statistics.median(map(sum, cost[count]))
        first = statistics.median(each[0] for each in cost[count])
        one = statistics.median(map(sum, cost[1]))
        print(
            f"{path}: {count} shards: {whole:.2f} ms of processor time a question, {first:.2f} of it at the asked process, "
            f"{whole / one:.1f} times that of one process; p50 {statistics.median(took[count]):.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(question)
