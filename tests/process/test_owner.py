"""Results once, if two processes have one data_dir, if an older copy of it is put back, and if Kafka refuses a right."""

import json
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType
from confluent_kafka.cimpl import NewTopic

from tests.conftest import Send
from tests.support.rights import Guarded, guarded_broker
from tests.support.service import Service, service
from tests.support.sinks import committed_values
from tests.support.waiting import until

BEGIN = 1_468_244_400
SUPERSEDED = 75


@pytest.fixture
def topics(broker: str) -> tuple[str, str]:
    """Return the names of an input topic and of an output topic; both exist."""
    return created(broker)


def created(bootstrap: str) -> tuple[str, str]:
    names = f"in-{uuid.uuid4().hex}", f"out-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        done.result(20)
    return names


def minutes(send: Send, bootstrap: str, topic: str, first: int, last: int) -> None:
    """Write four frames in each minute from number `first` to `last`; the last one stays open."""
    frames = [
        json.dumps({"ts": BEGIN + 60 * minute + 15 * quarter, "uid": f"u{quarter}"}).encode()
        for minute in range(first, last)
        for quarter in range(4)
    ]
    send(bootstrap, topic, frames, [0] * len(frames))


def rows(bootstrap: str, topic: str, granularity: str = "minute") -> list[dict[str, Any]]:
    """Return the rows of one granularity in a topic. No row of any granularity may be there twice."""
    found = [json.loads(value) for value in committed_values(bootstrap, topic)]
    times = Counter((row["granularity"], row["start"], row["revision"]) for row in found)
    assert not [each for each, count in times.items() if count > 1], "rows that came twice"
    return [row for row in found if row["granularity"] == granularity]


def settled(bootstrap: str, topic: str) -> None:
    """Wait until the stream was idle once: its year is then published last, and no result is left to publish."""
    until(lambda: rows(bootstrap, topic, "year"))


def final(bootstrap: str, topic: str, count: int) -> None:
    """Wait until the first `count` minutes are there with four frames each."""
    starts = {BEGIN + 60 * minute for minute in range(count)}
    until(lambda: starts <= {row["start"] for row in rows(bootstrap, topic) if row["frames"] == 4})


@contextmanager
def counting(
    bootstrap: str, topics: tuple[str, str], data: Path, *more: str, also: tuple[str, ...] = (), ends: bool = False
) -> Iterator[Service]:
    """Run the service over the topics with its state in `data`."""
    settings = (f"data_dir={data}", "checkpoint.every_ms=200", f"streams.uniques.output={{topic: {topics[1]}}}", *more)
    idle = ("streams.uniques.idle_ms=100", "streams.uniques.lateness_ms=0")
    with service(bootstrap, topics[0], *settings, *idle, stream="uniques", also=also, ends=ends) as running:
        yield running


def readiness(running: Service) -> dict[str, Any]:
    """Return the stream's part of /readyz, whether it is ready or not."""
    assert running.process.poll() is None, running.process.communicate()[0]
    return json.loads(running.request("/readyz")[2])["streams"]["uniques"]


def ready(running: Service) -> None:
    """Wait until the stream has begun."""
    until(lambda: readiness(running)["ready"])


def ended(running: Service) -> tuple[int, str]:
    """Return the exit code and the output of a service that ends by itself."""
    printed, _ = running.process.communicate(timeout=90)
    return running.process.returncode, printed


def test_of_two_processes_over_copies_of_one_folder_the_older_one_ends_and_no_row_comes_twice(
    broker: str, topics: tuple[str, str], tmp_path: Path, send: Send
):
    one, two = tmp_path / "one", tmp_path / "two"
    with counting(broker, topics, one) as first:
        minutes(send, broker, topics[0], 0, 4)
        final(broker, topics[1], 3)
        settled(broker, topics[1])  # otherwise `older` publishes after the copy is made, and the copy is refused
        assert first.stop()[0] == 0
    shutil.copytree(one, two)
    with counting(broker, topics, one) as older:
        ready(older)
        with counting(broker, topics, two) as newer:
            ready(newer)
            minutes(send, broker, topics[0], 4, 9)
            code, printed = ended(older)
            assert code == SUPERSEDED, printed
            assert "another process writes" in printed
            assert f"process {newer.process.pid} on" in printed
            final(broker, topics[1], 8)
            assert newer.stop()[0] == 0
        with counting(broker, topics, one, ends=True) as again:  # as a supervisor would start it again
            code, printed = ended(again)
            assert code == SUPERSEDED, printed
    assert rows(broker, topics[1])


def test_a_frozen_process_that_wakes_beside_its_replacement_ends_and_no_row_comes_twice(
    broker: str, topics: tuple[str, str], tmp_path: Path, send: Send
):
    one, two = tmp_path / "one", tmp_path / "two"
    with counting(broker, topics, one) as frozen:
        minutes(send, broker, topics[0], 0, 4)
        final(broker, topics[1], 3)
        frozen.process.send_signal(signal.SIGSTOP)
        shutil.copytree(one, two)
        with counting(broker, topics, two) as newer:
            minutes(send, broker, topics[0], 4, 8)
            final(broker, topics[1], 7)
            frozen.process.send_signal(signal.SIGCONT)
            minutes(send, broker, topics[0], 8, 12)
            code, printed = ended(frozen)
            assert code == SUPERSEDED, printed
            final(broker, topics[1], 11)
            assert readiness(newer)["ready"]


def test_an_older_copy_of_the_folder_is_refused_and_with_force_the_second_rows_are_reported(
    broker: str, topics: tuple[str, str], tmp_path: Path, send: Send
):
    data, copy = tmp_path / "data", tmp_path / "copy"
    with counting(broker, topics, data) as first:
        minutes(send, broker, topics[0], 0, 4)
        final(broker, topics[1], 3)
        first.stop()
    shutil.copytree(data, copy)
    with counting(broker, topics, data) as second:
        minutes(send, broker, topics[0], 4, 8)
        final(broker, topics[1], 7)
        second.stop()
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    before = committed_values(broker, topics[1])
    with counting(broker, topics, data, ends=True) as restored:
        code, printed = ended(restored)
    assert code == SUPERSEDED, printed
    assert "an older copy of data_dir was restored" in printed
    assert "--force" in printed
    assert committed_values(broker, topics[1]) == before
    with counting(broker, topics, data, also=("--force",)) as forced:
        ready(forced)
        assert "come twice" in readiness(forced)["resultsInDoubt"]
        assert "come twice" in forced.stats("uniques")["checkpoint"]["resultsInDoubt"]
        minutes(send, broker, topics[0], 8, 9)
        until(lambda: len(committed_values(broker, topics[1])) > len(before))
        forced.stop()
    with counting(broker, topics, data) as after:  # what is in the topic is now of this folder
        ready(after)


@pytest.fixture(scope="module")
def kafka() -> Iterator[Guarded]:
    with guarded_broker({}, {}) as running:
        yield running


def test_results_whose_first_commits_are_refused_come_once_when_the_right_is_granted(
    kafka: Guarded, send: Send, tmp_path: Path
):
    topics = created(kafka.plain)
    topic, operation = ResourceType.TOPIC, AclOperation
    kafka.grant(topic, topics[0], operation.READ, operation.DESCRIBE)
    kafka.grant(topic, topics[1], operation.WRITE, operation.DESCRIBE, operation.DESCRIBE_CONFIGS)
    kafka.grant(ResourceType.TRANSACTIONAL_ID, "firnline-", operation.WRITE, operation.DESCRIBE, prefix=True)
    kafka.grant(ResourceType.GROUP, "firnline-", operation.READ, operation.DESCRIBE, prefix=True)
    minutes(send, kafka.plain, topics[0], 0, 5)
    user = [f"kafka.{name}={value}" for name, value in kafka.as_user.items()]
    with counting(str(kafka.as_user["bootstrap.servers"]), topics, tmp_path / "data", *user) as running:
        problem = f"Kafka refuses the right to READ and DESCRIBE topic {topics[1]}"
        until(lambda: readiness(running).get("outputProblem") == problem)
        assert running.stats("uniques")["outputProblem"] == problem
        kafka.grant(topic, topics[1], operation.READ)
        final(kafka.plain, topics[1], 4)
        ready(running)
        assert "outputProblem" not in readiness(running)


def test_a_start_whose_output_broker_is_away_names_the_broker(topics: tuple[str, str], tmp_path: Path):
    with counting("127.0.0.1:1", topics, tmp_path / "data") as running:
        problem = until(lambda: readiness(running).get("outputProblem"))
        assert "127.0.0.1:1" in problem
        assert "refused" in problem
        assert problem in readiness(running)["reasons"]


def test_a_post_that_the_service_may_not_write_is_403_until_the_right_is_granted(kafka: Guarded):
    name, _ = created(kafka.plain)
    topic, operation = ResourceType.TOPIC, AclOperation
    kafka.grant(topic, name, operation.READ, operation.DESCRIBE)
    user = [f"kafka.{name}={value}" for name, value in kafka.as_user.items()]
    with service(str(kafka.as_user["bootstrap.servers"]), name, *user, stream="dataset") as running:
        status, body = until(lambda: found if (found := running.post(["a_1"]))[0] != 503 else None)
        assert (status, body["error"]["where"]) == (403, "topic"), body
        kafka.grant(topic, name, operation.WRITE)
        until(lambda: running.post(["a_1"])[0] == 200)


def test_two_services_do_not_write_to_one_file(broker: str, tmp_path: Path, send: Send):
    topic, _ = created(broker)
    path = tmp_path / "output.txt"
    words = (f"streams.uniques.output={{file: {path}}}", "streams.uniques.idle_ms=100", "streams.uniques.lateness_ms=0")
    with service(broker, topic, *words, stream="uniques") as first:
        minutes(send, broker, topic, 0, 4)
        until(lambda: path.exists() and path.read_bytes().count(b'"minute"') >= 3)
        with service(broker, topic, *words, stream="uniques") as second:
            problem = until(lambda: readiness(second).get("outputProblem"))
            assert f"process {first.process.pid} writes to this file" in problem
        first.stop()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert max(Counter((row["granularity"], row["start"], row["revision"]) for row in found).values()) == 1


def test_results_go_on_while_the_output_file_is_renamed_and_deleted(broker: str, tmp_path: Path, send: Send):
    topic, _ = created(broker)
    path, moved = tmp_path / "output" / "output.txt", tmp_path / "moved.txt"
    words = (f"streams.uniques.output={{file: {path}}}", "streams.uniques.idle_ms=100", "streams.uniques.lateness_ms=0")

    def published(*paths: Path) -> list[tuple[int, int]]:
        """Return minute and revision of each row of a minute."""
        found = [json.loads(line) for each in paths if each.exists() for line in each.read_text().splitlines()]
        return [((row["start"] - BEGIN) // 60, row["revision"]) for row in found if row["granularity"] == "minute"]

    def written(minute: int) -> None:
        until(lambda: minute in {each for each, _ in published(path)})

    with service(broker, topic, *words, "checkpoint.every_ms=600000", stream="uniques") as running:
        minutes(send, broker, topic, 0, 4)
        written(2)
        path.rename(moved)
        minutes(send, broker, topic, 4, 8)
        written(6)
        found = published(moved, path)
        path.unlink()
        minutes(send, broker, topic, 8, 12)
        written(10)
        assert "outputProblem" not in readiness(running)
        code, printed = running.stop()
    assert code == 0, printed
    assert "output.txt was deleted or replaced" in printed
    found += published(path)
    assert len(found) == len(set(found))
    assert {minute for minute, _ in found} | {7} >= set(range(11)), "minute 7 may come between the reading and the deletion"


def test_a_transaction_that_is_shorter_than_the_time_between_checkpoints_is_committed_in_time(
    broker: str, topics: tuple[str, str], tmp_path: Path, send: Send
):
    minutes(send, broker, topics[0], 0, 4)
    settings = ("checkpoint.every_ms=960000", "kafka.transaction.timeout.ms=3000")
    with counting(broker, topics, tmp_path / "data", *settings) as running:
        final(broker, topics[1], 3)
        _, printed = running.stop()
    assert "a checkpoint is written every 2 s" in printed
