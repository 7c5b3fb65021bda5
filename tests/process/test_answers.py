"""The views top, segments, uniques and words end to end: the real service with a real broker, files, pipes and programs."""

import concurrent.futures
import contextlib
import datetime as dt
import fcntl
import functools
import gzip
import html
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import IO, Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from firnline import Client
from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.conftest import Send
from tests.support.forked import run_forked
from tests.support.service import ROOT, Service, command, service
from tests.support.sinks import read_keyed
from tests.support.waiting import PATIENCE_S, until

CREATING = {"FIRNLINE_KAFKA__ALLOW_AUTO_CREATE_TOPICS": "true"}
"""The embedded broker has no request that creates a topic. A service that gets its address needs this setting."""


def fresh(bootstrap: str, partitions: int) -> str:
    name = f"a-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(timeout=PATIENCE_S)
    return name


def made(pattern: str, count: int, **how: Any) -> tuple[list[bytes], list[int]]:
    values: list[bytes] = []
    partitions: list[int] = []
    for chunk in chunks(pattern, Spec(count, 1_468_244_384_000, **how)):
        values += chunk.values
        partitions += chunk.partitions
    return values, partitions


def read_topic(bootstrap: str, topic: str, enough: Any) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []

    def look() -> bool:
        found.extend(message.value() for message in consumer.consume(1_000, 0.2) if not message.error())
        return bool(enough(found))

    until(look)
    consumer.close()
    return found


def once(config: str, *words: str, stdin: IO[bytes] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    serve = command("serve", "--config", str(ROOT / "config" / f"{config}.yaml"), "--once", "--set", "http.port=0", *words)
    return run_forked(serve, check=True, stdin=stdin, cwd=cwd)


# The dataset ---------------------------------------------------------------------------------------------------------


def test_posted_items_are_ranked_like_redis_and_a_delete_survives_a_restart(broker: str):
    topic = f"d-{uuid.uuid4().hex}"
    with service(broker, topic, stream="dataset") as running:
        status, body = running.post(["11111111_10", "a_30", "\tb _30", "bad", " c_ -5 ", "a_b_c"])
        assert (status, body["count"]) == (200, 6)
        assert 0 < body["time"] < 30
        until(lambda: running.get("/dataset") == {"data": ["b", "a", "11111111", "c"]})
        assert running.get("/dataset?limit=2") == {"data": ["b", "a"]}
        for everything in ("limit=0", "limit=-3", "limit="):
            expected = 422 if everything == "limit=" else 200
            assert running.request(f"/dataset?{everything}")[0] == expected
        until(lambda: running.get("/dataset/rejects")["rejects"] == {"no_underscore": 1, "many_underscores": 1})
        assert running.request("/dataset", "DELETE")[2] == b'{"message":"Dataset cleared"}'
        assert running.get("/dataset") == {"data": []}
        assert running.post(["later_1"])[0] == 200
        until(lambda: running.get("/dataset") == {"data": ["later"]})
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with service(broker, topic, stream="dataset") as running:
        until(lambda: running.get("/dataset") == {"data": ["later"]})
        assert len(AdminClient({"bootstrap.servers": broker}).list_topics(topic).topics[topic].partitions) == 10


def test_a_hundred_posts_of_a_thousand_items_arrive_together(broker: str):
    chance = random.Random(3)
    items = [f"{chance.randrange(10**8)}_{chance.randrange(10**9)}" for _ in range(100_000)]
    held = dict(item.split("_") for item in items)
    with service(broker, f"d-{uuid.uuid4().hex}", stream="dataset") as running:
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            replies = list(pool.map(lambda low: running.post(items[low : low + 1_000]), range(0, 100_000, 1_000)))
        assert {status for status, _ in replies} <= {200, 202}, "202: written later than the deadline of the request"
        assert [body["count"] for _, body in replies] == [1_000] * 100
        unique = {name for name, count in Counter(item.split("_")[0] for item in items).items() if count == 1}
        best = sorted(((int(value), name) for name, value in held.items()), reverse=True)[:10]
        assert {name for _, name in best} <= unique, "of an id in two concurrent requests, either value may win"
        until(lambda: running.get("/dataset?limit=10") == {"data": [name for _, name in best]})
        running.settled(100_000, "dataset")
        everything = running.get("/dataset")["data"]
        assert set(everything) == set(held)
        assert running.stats("dataset")["total"]["ids"] == len(held)


@pytest.mark.parametrize(
    ("body", "got"),
    [(b"nope", "malformed"), (b"{}", "items"), (b'{"items":"a"}', "array"), (b'{"items":[1]}', "str"), (b"\xff", "malformed")],
)
def test_a_body_without_a_list_of_items_is_422(dataset: Service, body: bytes, got: str):
    status, _, told = dataset.request("/dataset", "POST", body)
    error = json.loads(told)["error"]
    assert (status, error["where"]) == (422, "body")
    assert got in error["got"]


def test_a_body_too_long_is_413_and_an_item_too_long_422(dataset: Service):
    status, _, told = dataset.request("/dataset", "POST", b" " * (8 << 20) + b" ")
    assert (status, json.loads(told)["error"]["where"]) == (413, "body")
    status, told = dataset.post(["x" * 70_000 + "_1"])
    assert (status, told["error"]["where"]) == (422, "body")
    status, told = dataset.post(["1_1"] * 100_001)
    assert (status, told["error"]["where"]) == (422, "body")
    assert "100000" in told["error"]["expected"]


def test_a_chunked_body_too_long_is_cut_off(dataset: Service):
    with socket.create_connection(("127.0.0.1", dataset.port), timeout=10) as connection:
        connection.sendall(b"POST /dataset HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        try:
            for _ in range(200):
                connection.sendall(block)
        except OSError:
            return  # it was cut off while sending
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_long_bodies_beyond_the_memory_get_429_and_short_ones_are_always_taken(embedded: str):
    with service(embedded, f"d-{uuid.uuid4().hex}", "memory.budget=256MiB", stream="dataset", **CREATING) as running:

        def begun(told: bytes) -> socket.socket:
            """Return a connection whose request has headers and no body yet."""
            client = socket.create_connection(("127.0.0.1", running.port), timeout=10)
            client.sendall(b"POST /dataset HTTP/1.1\r\nHost: localhost\r\n" + told + b"\r\n\r\n")
            return client

        held = [
            begun(b"Content-Length: 8000000"),
            begun(b"Transfer-Encoding: chunked"),
        ]  # together nearly 16 MiB, a sixteenth of the budget
        until(lambda: b"http_requests_in_progress 3.0" in running.request("/metrics")[2])
        for told in (b"Content-Length: 800000", b"Transfer-Encoding: chunked"):
            with begun(told) as client:
                assert b" 429 " in client.recv(20)
        assert running.post(["short_1"])[0] == 200
        for client in held:
            client.close()
        long = b'{"items":["long_2"' + b" " * 800_000 + b"]}"
        until(lambda: running.request("/dataset", "POST", long)[0] == 200)


def test_a_limit_that_is_not_a_number_is_422(dataset: Service):
    status, _, told = dataset.request("/dataset?limit=ten")
    assert (status, json.loads(told)["error"]["where"]) == (422, "query limit")


@pytest.fixture(scope="module")
def dataset(broker: str) -> Any:
    with service(broker, f"d-{uuid.uuid4().hex}", stream="dataset") as running:
        yield running


def test_without_a_broker_a_post_is_503_and_the_service_lives(tmp_path: Path):
    with service("127.0.0.1:1", "d", "http.deadline_ms=8000", stream="dataset") as running:
        status, body = running.post(["a_1"])
        assert status == 503
        assert body["error"]["where"] == "service"
        assert running.get("/dataset") == {"data": []}
        assert running.get("/livez") == {"live": True}


def test_an_item_that_the_topic_never_takes_is_413_and_no_other_item_is_written(broker: str):
    name = f"d-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, 1, 1, config={"max.message.bytes": "2000"})])[name].result(20)
    with service(broker, name, stream="dataset") as running:
        status, body = running.post(["a_1", "b" * 3_000 + "_2"])
        assert (status, body["error"]["where"]) == (413, "topic"), body
        assert "takes records of" in body["error"]["got"]
        assert running.post([f"{number}_{number}" for number in range(500)])[0] == 200
        until(lambda: len(running.get("/dataset")["data"]) == 500)
        assert "a" not in running.get("/dataset")["data"]


def test_with_profiling_each_request_leaves_a_report(broker: str, tmp_path: Path):
    (tmp_path / ".env").write_text("PROFILING=true\n")
    with service(broker, f"d-{uuid.uuid4().hex}", stream="dataset", cwd=tmp_path) as running:
        assert running.get("/dataset") == {"data": []}
        until(lambda: (tmp_path / "profile.html").exists() and "<html" in (tmp_path / "profile.html").read_text())


# Segments ------------------------------------------------------------------------------------------------------------


def merged(values: list[bytes]) -> dict[int, str]:
    """Return the line of each batch. The oracle of the view segments."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for value in values:
        segment = json.loads(value)
        numbers[segment["batch_id"]] += segment["data"]
    return {batch: ", ".join(map(str, sorted(all_of_it))) for batch, all_of_it in numbers.items()}


def test_each_batch_becomes_a_line_in_file_topic_and_response(broker: str, tmp_path: Path, send: Send):
    topic, output = fresh(broker, 10), f"out-{uuid.uuid4().hex}"
    values, partitions = made("segments", 300, partitions=10, size=7)
    lines = merged(values)
    with service(
        broker, topic, f"streams.segments.output={{file: o/out.txt, topic: {output}}}", stream="segments", cwd=tmp_path
    ) as running:
        send(broker, topic, values[:-1], partitions[:-1])
        running.settled(299, "segments")
        last = json.loads(values[-1])
        waiting = running.get("/segments/pending")["pending"]
        assert waiting == [{"batch": last["batch_id"], "epoch": 0, "missing": [last["segment_id"]]}]
        send(broker, topic, values[-1:], partitions[-1:])
        until(lambda: len(running.get("/segments")["segments"]) == 30)
        rows = running.get("/segments?line=1")["segments"]
        assert {row["batch"]: row["line"] for row in rows} == lines
        assert [row["batch"] for row in rows] == list(range(1, 31))
        assert all(row["count"] == 70 and row["line"].startswith(f"{row['first']}, ") for row in rows)
        by_order = sorted(rows, key=lambda row: row["order"])
        written = (tmp_path / "o" / "out.txt").read_text().splitlines()
        assert written == [row["line"] for row in by_order]
        assert read_topic(broker, output, lambda found: len(found) == 30) == [line.encode() for line in written]
        assert [row["batch"] for row in running.get("/segments?after=27")["segments"]] == [28, 29, 30]
        assert [row["batch"] for row in running.get("/segments?after=3&limit=2")["segments"]] == [4, 5]
        status, headers, line = running.request("/segments/17")
        assert (status, line.decode()) == (200, lines[17])
        assert headers["content-type"].startswith("text/plain")
        assert running.request("/segments/31")[0] == 404
        assert running.request("/segments/99999999999999999999")[0] == 404


def test_long_lines_sent_together_beyond_the_memory_get_429(tmp_path: Path):
    numbers = ",".join(map(str, range(1_000_000, 1_100_000)))
    rows = [f'{{"batch_id":1,"segment_id":{number},"data":[{numbers}]}}\n' for number in range(10)]
    (tmp_path / "rows").write_text("".join(rows))
    words = ["source={file: rows}", "output={file: lines}"]
    settings = ["memory.budget=256MiB", *(f"streams.segments.{each}" for each in words)]
    with service(None, None, *settings, stream="segments", cwd=tmp_path) as running:
        until(lambda: running.request("/segments/1")[0] == 200)
        assert len(running.request("/segments/1")[2].split(b", ")) == 1_000_000
        with contextlib.ExitStack() as around:
            found = []
            for _ in range(40):  # half a MiB each; together more than a sixteenth of the budget
                client = around.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
                client.connect(("127.0.0.1", running.port))
                client.sendall(b"GET /segments/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                found.append(client.recv(13))
        assert set(found) == {b"HTTP/1.1 200 ", b"HTTP/1.1 429 "}
        until(lambda: running.request("/segments/1")[0] == 200)
        (tmp_path / "lines").unlink()
        assert running.request("/segments/1")[0] == 404


def test_a_recreated_topic_is_a_new_epoch(broker: str, tmp_path: Path, send: Send):
    topic = fresh(broker, 10)
    admin = AdminClient({"bootstrap.servers": broker})
    first, partitions = made("segments", 200, partitions=10, size=5, seed=1)
    second, _ = made("segments", 300, partitions=10, size=5, seed=2)
    with service(broker, topic, stream="segments", cwd=tmp_path) as running:
        send(broker, topic, first[:-3], partitions[:-3])
        running.settled(197, "segments")
        done = len(running.get("/segments")["segments"])
        admin.delete_topics([topic])[topic].result(timeout=PATIENCE_S)
        until(lambda: topic not in admin.list_topics(timeout=PATIENCE_S).topics)

        def create() -> bool:
            try:
                admin.create_topics([NewTopic(topic, 10, 1)])[topic].result(timeout=PATIENCE_S)
            except KafkaException:  # the broker has not deleted it completely yet
                return topic in admin.list_topics(timeout=PATIENCE_S).topics
            return True

        until(create)
        send(broker, topic, second, made("segments", 300, partitions=10, size=5, seed=2)[1])
        until(lambda: len(running.get("/segments")["segments"]) == done + 30)
        rows = running.get("/segments?line=1")["segments"]
        assert {row["batch"]: row["line"] for row in rows if row["epoch"] == 1} == merged(second)
        assert running.get("/segments/pending") == {"pending": []}
        until(lambda: running.stats("segments")["epoch"] == 1)  # the front end reports it now and then
        assert running.stats("segments")["dropped"]["topic_recreated"] > 0
        assert [row["batch"] for row in running.get("/segments?after=28")["segments"]] == [29, 30]


def test_a_file_of_segments_is_merged_to_the_console_and_ends(tmp_path: Path):
    values, _ = made("segments", 50, size=9)
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(values))
    done = once("segments", "--set", "streams.segments.source={file: in.jsonl}", cwd=tmp_path)
    assert sorted(done.stdout.splitlines()) == sorted(merged(values).values())
    assert (tmp_path / "output" / "output.txt").read_text() == done.stdout
    assert "drained" in done.stderr


# Unique users --------------------------------------------------------------------------------------------------------


@functools.cache
def period_of(minute: int, granularity: str) -> int:
    """Return the start of the period in UTC that a minute belongs to."""
    moment = dt.datetime.fromtimestamp(minute, dt.UTC)
    first = {"minute": moment, "hour": moment.replace(minute=0), "day": moment.replace(hour=0, minute=0)}
    first["year"] = first["day"].replace(month=1, day=1)
    return int(first[granularity].timestamp())


def unique_rows(values: list[bytes], granularity: str) -> dict[int, tuple[int, int]]:
    """Return users and frames by the start of the period in UTC. The oracle of the view uniques."""
    users: dict[int, set[str]] = defaultdict(set)
    frames: Counter[int] = Counter()
    for value in values:
        try:
            frame = json.loads(value)
        except ValueError:
            continue
        start = period_of(int(frame["ts"]) // 60 * 60, granularity)
        users[start].add(frame["uid"])
        frames[start] += 1
    return {start: (len(names), frames[start]) for start, names in users.items()}


def counted(rows: list[dict[str, Any]], granularity: str) -> dict[int, tuple[int, int]]:
    """Return the last revision of each row."""
    last: dict[int, dict[str, Any]] = {}
    for row in rows:
        if row["granularity"] == granularity:
            assert row["revision"] > last.get(row["start"], {"revision": 0})["revision"]
            last[row["start"]] = row
    assert all(row["exact"] and row["lower"] == row["unique"] == row["upper"] for row in rows)
    return {start: (row["unique"], row["frames"]) for start, row in last.items()}


def test_frames_on_standard_input_become_rows_on_standard_output(tmp_path: Path):
    values, _ = made("uniques", 120_000, delay_probability=0.001, delay_s=60)
    (tmp_path / "frames.jsonl").write_bytes(b"\n".join(values) + b"\n")
    with (tmp_path / "frames.jsonl").open("rb") as frames:
        done = once("uniques", stdin=frames)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for granularity in ("minute", "hour", "day", "year"):
        assert counted(rows, granularity) == unique_rows(values, granularity)
    minutes = [row for row in rows if row["granularity"] == "minute"]
    assert all(row["final"] and row["end"] == row["start"] + 60 for row in minutes)
    assert max(row["revision"] for row in minutes) > 1, "late frames lead to corrected revisions"


def test_a_pipe_from_a_program_ends_with_it(tmp_path: Path):
    values, _ = made("uniques", 5_000)
    cat = subprocess.Popen(command("producer", "--pattern", "uniques", "--count", "5000", "--stdout"), stdout=subprocess.PIPE)
    done = once("uniques", stdin=cat.stdout)
    assert cat.stdout is not None
    cat.stdout.close()
    assert cat.wait() == 0
    assert counted([json.loads(line) for line in done.stdout.splitlines()], "minute") == unique_rows(values, "minute")


def test_rows_come_to_the_topic_and_over_http_alike(broker: str, send: Send):
    topic, output = fresh(broker, 3), f"out-{uuid.uuid4().hex}"
    values, partitions = made("uniques", 100_000)
    with service(broker, topic, f"streams.uniques.output={{topic: {output}}}", stream="uniques") as running:
        send(broker, topic, values, partitions)
        written = read_topic(broker, output, lambda found: any(b'"granularity":"year"' in line for line in found))
        rows = [json.loads(line) for line in written]
        assert counted(rows, "minute") == unique_rows(values, "minute")
        asked = running.get("/uniques?granularity=minute")["uniques"]
        assert counted(asked, "minute") == unique_rows(values, "minute")
        assert counted(running.get("/uniques?granularity=year")["uniques"], "year") == unique_rows(values, "year")
        some = running.get("/uniques?start=1468244400&end=2016-07-11T13:42:00Z")["uniques"]
        assert [row["start"] for row in some] == [1468244400, 1468244460]
        page = running.get("/uniques?start=1468244400&limit=1")
        assert (page["uniques"], page["next"]) == (some[:1], 1468244460)
        for query in ("granularity=second", "start=yesterday", "start=2&end=1", "begin=1"):
            assert running.request(f"/uniques?{query}")[0] == 400


def test_only_the_chosen_granularities_are_published_and_answered(broker: str, send: Send):
    topic, output = fresh(broker, 3), f"out-{uuid.uuid4().hex}"
    values, partitions = made("uniques", 20_000)
    words = f"streams.uniques.output={{topic: {output}}}", "streams.uniques.granularities=[day, hour]"
    with service(broker, topic, *words, stream="uniques") as running:
        send(broker, topic, values, partitions)
        written = read_topic(broker, output, lambda found: len(found) >= 2)
        running.settled(20_000, "uniques")
        assert {json.loads(line)["granularity"] for line in written} == {"hour", "day"}
        for query, granularity in (("", "hour"), ("?granularity=hour", "hour"), ("?granularity=day", "day")):
            assert counted(running.get(f"/uniques{query}")["uniques"], granularity) == unique_rows(values, granularity)
        status, _, body = running.request("/uniques?granularity=minute")
        error = json.loads(body)["error"]
        assert (status, error["where"], error["expected"]) == (400, "query granularity", "one of hour, day")
        parameters = running.get("/openapi.json")["paths"]["/uniques"]["get"]["parameters"]
        described = next(each["schema"] for each in parameters if each["name"] == "granularity")
        assert (described["enum"], described["default"]) == (["hour", "day"], "hour")
        client = Client(f"http://127.0.0.1:{running.port}")
        assert {row["granularity"] for row in client.uniques()} == {"hour"}


def test_results_in_a_compacted_topic_have_their_period_as_key(broker: str, send: Send):
    topic, output = fresh(broker, 3), f"out-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(output, 1, 1, config={"cleanup.policy": "compact"})])[output].result(20)
    values, partitions = made("uniques", 20_000)
    words = f"streams.uniques.output={{topic: {output}, key: [granularity, start]}}"
    with service(broker, topic, words, stream="uniques"):
        send(broker, topic, values, partitions)
        newest: dict[bytes | None, bytes] = {}
        rows = unique_rows(values, "minute")

        def published() -> bool:
            newest.update(read_keyed(broker, output, 1))
            return counted([json.loads(row) for row in newest.values()], "minute") == rows

        until(published)
        for key, value in newest.items():
            row = json.loads(value)
            assert key == f"{row['granularity']}/{row['start']}".encode()


def test_two_years_of_history_fit_into_a_small_budget(tmp_path: Path):
    chance, path = random.Random(1), tmp_path / "history.jsonl"
    with path.open("w") as file:
        for number in range(120_000):
            file.write(json.dumps({"ts": 1_400_000_000 + number * 525, "uid": f"u{chance.randrange(5_000)}"}) + "\n")
    words = ["--set", f"streams.uniques.source={{file: {path}}}", "--set", "memory.budget=180MiB"]
    done = once("uniques", *words, "--set", "streams.uniques.max_cells=20000")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    years = {row["start"]: row for row in rows if row["granularity"] == "year"}
    assert sum(row["frames"] for row in years.values()) == 120_000
    assert sum(row["granularity"] == "minute" for row in rows) >= 120_000


# Words ---------------------------------------------------------------------------------------------------------------


def test_events_from_a_program_are_counted_by_type_and_word(tmp_path: Path):
    values, _ = made("words", 3_000)
    (tmp_path / "lines").write_bytes(b"\n".join(values))
    kinds: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for value in values:
        try:
            event = json.loads(value)
        except ValueError:
            continue
        kinds[event["event_type"]] += 1
        names.update(event["data"].split())
    with service(None, None, "streams.words.source={command: cat lines}", stream="words", cwd=tmp_path) as running:
        until(lambda: running.stats("words")["records"] >= 3_000)
        records = running.stats("words")["records"]
        assert records % 3_000 == 0
        times = records // 3_000
        assert running.get("/events/CountByEventType") == {name: times * count for name, count in kinds.items()}
        assert running.get("/words/CountWords") == {name: times * count for name, count in names.items()}
        _, headers, body = running.request("/events/CountWords?limit=2&detail=1")
        assert headers["firnline-max-error"] == "0"
        assert list(json.loads(body)["counts"].items()) == [(name, times * count) for name, count in names.most_common(2)]
        assert running.get("/events/CountWords?last=60") == {}
        first = 1_468_244_384
        assert sum(running.get(f"/events/CountByEventType?startTime={first}&endTime={first + 10}").values()) in range(90, 101)
        for query in ("last=0", "last=x", "last=1&startTime=2", "limit=0"):
            assert running.request(f"/events/CountWords?{query}")[0] == 400
        status, headers, _ = running.request("/events/CountWords?start=1")
        assert (status, headers["firnline-warning"].partition(";")[0]) == (200, "unknown parameter start")
        page = running.request("/static/index.html")[2].decode()
        assert "<table" in page
        for name in ("words.js", "words.css"):
            assert name in page
            assert running.request(f"/static/{name}")[0] == 200
        assert running.request("/static/../app.py")[0] == 404
        assert running.request("/static/%2e%2e/app.py")[0] == 404


def test_events_of_this_moment_are_in_the_last_minute():
    with service(
        None,
        None,
        "streams.words.source={command: python scripts/producer.py --pattern words --rate 200 --count 0 --stdout}",
        stream="words",
        cwd=ROOT,
    ) as running:
        until(lambda: sum(running.get("/events/CountByEventType?last=60").values()) > 20)
        assert running.get("/words/rejects")["rejects"].keys() <= {
            "not_json",
            "not_utf8",
            "wrong_type",
            "no_data",
            "no_timestamp",
        }


@pytest.fixture(scope="module")
def browser() -> str:
    """Return the command of a real browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert not os.environ.get("FIRNLINE_REQUIRE_BROWSER"), "a browser is required, and there is none"
        pytest.skip("needs chromium")
    return found


def test_the_page_shows_both_tables_in_a_real_browser(browser: str, tmp_path: Path):
    values, _ = made("words", 500)
    lines = b"\n".join([*values, b'{"event_type":"<b>","data":"<script>alert(1)</script>","timestamp":1}'])
    (tmp_path / "lines").write_bytes(lines)
    with service(None, None, "streams.words.source={file: lines}", stream="words", cwd=tmp_path) as running:
        running.settled(501, "words")
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom"]
        page = f"http://127.0.0.1:{running.port}/static/index.html"
        done = subprocess.run(
            [browser, *words, f"--user-data-dir={tmp_path}/b", page], check=True, capture_output=True, timeout=90
        )
        shown = done.stdout.decode()
        for name, count in running.get("/events/CountByEventType").items():
            assert f"{html.escape(name)}</td><td>{count}</td>" in shown
        for word, count in running.get("/events/CountWords?limit=3").items():
            assert f"{word}</td><td>{count}</td>" in shown
        assert "&lt;script&gt;" in shown
        assert "as of" in shown


# All of them ---------------------------------------------------------------------------------------------------------


def test_all_five_views_run_in_one_service(broker: str, tmp_path: Path, send: Send):
    topics = {name: fresh(broker, 10) for name in ("events", "dataset", "segments", "uniques", "words")}
    patterns = {"events": "steady", "dataset": "top", "segments": "segments", "uniques": "uniques", "words": "words"}
    words = [f"streams.{name}.source.topic={topic}" for name, topic in topics.items() if name != "events"]
    words += [f"streams.uniques.output.topic=out-{uuid.uuid4().hex}"]
    serve_all: list[str] = []
    for name in ("dataset", "segments", "uniques", "words"):
        serve_all += ["--only", name]
    with service(broker, topics["events"], *words, also=serve_all, cwd=tmp_path) as running:
        threads = []
        for name, topic in topics.items():
            values, partitions = made(patterns[name], 3_000, partitions=10)
            threads.append(threading.Thread(target=send, args=(broker, topic, values, partitions)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in topics:
            running.settled(3_000, name)
        assert running.stats()["total"]["setSize"] == 1_000
        assert len(running.get("/dataset")["data"]) == 3_000
        assert len(running.get("/segments")["segments"]) == 300
        assert running.get("/uniques?granularity=hour")["uniques"][0]["frames"] > 2_900
        assert sum(running.get("/events/CountByEventType").values()) > 2_900
        assert running.get("/readyz")["ready"]
        paths = running.get("/")["paths"]
        assert {"/events/get-sets", "/dataset", "/segments", "/uniques", "/events/CountWords"} <= set(paths)
    assert running.process.returncode in {0, -signal.SIGTERM, 128 + signal.SIGTERM}


@pytest.mark.long
def test_the_benchmark_measures_each_view_beside_its_rival(broker: str):
    if shutil.which("redis-server") is None:
        assert not os.environ.get("FIRNLINE_REQUIRE_REDIS"), "Redis is required, and there is none"
        pytest.skip("needs redis-server")
    views = [word for view in ("top", "segments", "uniques", "words") for word in ("--view", view)]
    bench = command("bench", "--bootstrap", broker, "--records", "20000", "--rounds", "1", "--json", *views)
    done = subprocess.run(bench, check=True, capture_output=True, timeout=240)
    contests = json.loads(done.stdout)["contests"]
    assert set(contests) == {"top", "segments", "uniques", "words"}
    for figures in contests.values():
        assert figures["records"] == 20_000
        assert min(figures["floor_per_s"], figures["rival_per_s"], figures["product_per_s"]) > 0
        assert figures["asked_ms"]["p50"] <= figures["asked_ms"]["p99"]
    assert contests["top"]["rival_bytes_an_id"] > 36
    assert contests["uniques"][
        "piped_per_s"
    ]  # no threshold, because the noise of the start is larger than the time for 20,000 records


def held_up(running: Service) -> bool:
    return bool(running.stats("segments")["state"] == "waiting for what is under way")


def test_an_output_that_fails_stops_consumption_and_loses_no_line(broker: str, tmp_path: Path, send: Send):
    """The output's folder is a file at first, so that nothing can be written until the test removes it."""
    topic = fresh(broker, 10)
    values, partitions = made("segments", 8_000, partitions=10, size=3)
    (tmp_path / "o").write_text("in the way")
    with service(
        broker, topic, "streams.segments.output={file: o/out.txt}", "data_dir=null", stream="segments", cwd=tmp_path
    ) as running:
        sent = 0
        while not held_up(running):  # each wave completes batches, whose results take one of four credits
            send(broker, topic, values[sent : sent + 1_000], partitions[sent : sent + 1_000])
            sent += 1_000
            until(lambda count=sent: running.stats("segments")["records"] == count or held_up(running))
        send(broker, topic, values[sent:], partitions[sent:])
        stats = running.stats("segments")
        assert stats["records"] <= 6_000, "reading has stopped"
        assert stats["inFlight"] > 0
        assert stats["state"] == "waiting for what is under way"
        (tmp_path / "o").unlink()
        running.settled(8_000, "segments")
        until(lambda: len((tmp_path / "o" / "out.txt").read_text().splitlines()) == 800)
        assert sorted((tmp_path / "o" / "out.txt").read_text().splitlines()) == sorted(merged(values).values())


def test_a_pipe_that_pauses_gives_the_rows_of_a_file(tmp_path: Path):
    """The pause is longer than `idle_ms`: the stream has read all bytes before it, and then waits for more."""
    first, _ = made("uniques", 1_000)
    second, _ = made("uniques", 1_000, seed=5)
    words = ["--set", "http.port=0", "--set", "streams.uniques.idle_ms=1"]
    serve = command("serve", "--config", str(ROOT / "config" / "uniques.yaml"), "--once", *words)
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdin is not None
        running.stdin.write(b"\n".join(first) + b"\n")
        running.stdin.flush()
        until(lambda: not unread(running.stdin))
        written, _ = running.communicate(b"\n".join(second) + b"\n", timeout=60)
    assert running.returncode == 0
    (tmp_path / "frames").write_bytes(b"\n".join([*first, *second]))
    with (tmp_path / "frames").open("rb") as frames:
        assert run_forked(serve, stdin=frames, check=True).stdout == written.decode()
    lines = written.splitlines()
    assert counted([json.loads(line) for line in lines], "minute") == unique_rows(first + second, "minute")


def unread(pipe: IO[bytes]) -> int:
    """Return how many bytes of a pipe the other end has not read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_once_with_an_absent_or_broken_file_ends_with_one_line_and_code_1(tmp_path: Path):
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(os.urandom(100_000).hex().encode())[:-3_000])
    for path, said in ((tmp_path / "nowhere", "expected a file to read"), (broken, "input failed: uniques")):
        words = ["--once", "--set", "http.port=0", "--set", f"streams.uniques.source={{file: {path}}}"]
        serve = command("serve", "--config", str(ROOT / "config" / "uniques.yaml"), *words)
        done = run_forked(serve)
        assert done.returncode == 1
        assert said in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_a_closed_output_pipe_does_not_stop_the_run(tmp_path: Path):
    values, _ = made("uniques", 300_000)
    (tmp_path / "frames").write_bytes(b"\n".join(values))
    serve = command("serve", "--config", str(ROOT / "config" / "uniques.yaml"), "--once", "--set", "http.port=0")
    with (tmp_path / "frames").open("rb") as frames:
        running = subprocess.Popen(serve, stdin=frames, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b'{"granularity":"minute"')
        running.stdout.close()
        running.stdout = None
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0
    assert b"Traceback" not in said
    assert b"drained" in said


@pytest.mark.long
def test_a_post_to_a_broker_that_has_gone_is_accepted_and_its_item_is_in_no_answer(tmp_path: Path):
    environ = {**os.environ, "FIRNLINE_RUN_DIR": str(tmp_path)}
    broker = subprocess.Popen(command("broker", "embedded"), stdout=subprocess.PIPE, text=True, env=environ)
    assert broker.stdout is not None
    bootstrap = broker.stdout.readline().split(" at ")[1].split(";")[0]
    try:
        with service(bootstrap, f"d-{uuid.uuid4().hex}", "http.deadline_ms=2000", stream="dataset", **CREATING) as running:
            until(lambda: running.post(["a_1"], "first")[0] == 200)
            until(lambda: running.get("/dataset") == {"data": ["a"]})
            broker.kill()
            broker.wait()
            status, body = running.post(["b_2"])
            assert (status, body["accepted"], body["acknowledged"]) == (202, 1, 0), "the client tries on for two minutes"
            assert running.get("/dataset") == {"data": ["a"]}
            running.process.kill()  # an orderly end waits for the broker
    finally:
        broker.kill()
        broker.wait()
        broker.stdout.close()


def test_empty_standard_input_ends_the_run_at_once():
    done = once("uniques")
    assert done.stdout == ""
    assert '"records": 0' in done.stderr


@pytest.mark.parametrize("pattern", ["top", "segments", "uniques", "words", "orders", "clicks"])
def test_the_producer_makes_a_topic_for_each_view(broker: str, pattern: str):
    topic = f"p-{uuid.uuid4().hex}"
    words = ["--pattern", pattern, "--count", "500", "--bootstrap", broker, "--topic", topic]
    for more in ([], ["--recreate"]) if pattern == "top" else ([],):
        run_forked(command("producer", *words, *more), check=True)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "x"})
    numbers = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE_S)[1] for number in numbers]
    consumer.close()
    assert len(ends) == (10 if pattern in {"top", "segments"} else 3)
    assert sum(ends) == 500, "a recreated topic holds only the records of the second run"
