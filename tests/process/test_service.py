"""The real service on a real broker, over real HTTP: what the seed's clients see, and what others may try."""

import json
import random
import signal
import socket
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from scripts.lab.truth import greedy
from tests.conftest import Send, create_topic
from tests.support.running import records
from tests.support.service import Service, service

pytestmark = pytest.mark.broker

EVENTS = [(1_685_695_916_000 + 10 * number, number % 3) for number in range(9_000)]
WANTED = greedy(EVENTS, 3)
ALL = "/events/get-sets?startTime=0&endTime=9223372036854775807"


@pytest.fixture(scope="module")
def running(broker: str, send: Send) -> Iterator[Service]:
    """Yield a service with 3,000 sets, three collectors of them aged."""
    topic = create_topic(broker)
    send(broker, topic, records(EVENTS), [number // 100 % 3 for number in range(9_000)])
    with service(broker, topic, "streams.events.max_sets=900") as running:
        running.settled(9_000)
        yield running


def sets(body: bytes | dict) -> list[tuple[int, ...]]:
    found = body if isinstance(body, dict) else json.loads(body)
    return [(each["r"]["timestamp"], each["g"]["timestamp"], each["b"]["timestamp"]) for each in found["sets"]]


def test_sets_are_ordered_by_red_time_and_cut_exactly_at_both_ends(running: Service):
    first, last = WANTED[850][0], WANTED[1_900][0]
    found = running.get(f"/events/get-sets?startTime={first}&endTime={last}")
    assert sets(found) == WANTED[850:1_900]
    assert list(found) == ["sets"]
    assert found["sets"][0]["r"] == {"name": "red", "timestamp": first}
    assert running.get(f"/events/get-sets?startTime={first}&endTime={first}") == {"sets": []}


def test_a_long_answer_is_streamed_and_equals_its_ndjson(running: Service):
    status, headers, body = running.request(ALL)
    assert (status, headers.get("transfer-encoding")) == (200, "chunked")
    assert sets(body) == WANTED
    _, headers, lines = running.request(ALL, Accept="application/x-ndjson")
    assert headers["content-type"] == "application/x-ndjson"
    assert sets({"sets": [json.loads(line) for line in lines.splitlines()]}) == WANTED


def test_pages_by_cursor_together_equal_the_whole(running: Service):
    found, cursor = [], ""
    while True:
        body = running.get(f"{ALL}&limit=700{cursor}")
        found += sets(body)
        if "next" not in body:
            break
        cursor = f"&cursor={body['next']}"
    assert found == WANTED


def test_coverage_is_always_in_a_header_and_on_request_in_the_body(running: Service):
    _, headers, body = running.request(f"{ALL}&limit=1&coverage=1")
    coverage = json.loads(headers["firnline-coverage"])
    assert json.loads(body)["coverage"] == coverage
    assert coverage["completeFrom"] is None
    assert coverage["completeTo"] > EVENTS[-1][0] - 1_000
    assert coverage["missing"] == []


def test_stats_list_aged_collectors_first_and_the_active_one_last(running: Service):
    stats = running.stats()
    assert [(row["validSetCount"], row["setSize"], row["state"]) for row in stats["data"]] == [
        *[(900, 900, "aged")] * 3,
        (300, 300, "active"),
    ]
    assert [row["bound"] for row in stats["data"]] == [900, 900, 900, 300]
    assert stats["data"][-1]["outOfOrderMessagesCount"] == 0
    assert (stats["total"]["setSize"], stats["total"]["bound"]) == (3_000, 3_000)
    assert stats["memory"]["accountedBytes"] <= stats["memory"]["budgetBytes"]
    assert set(stats["lag"]) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("path", "status", "where"),
    [
        ("/events/get-sets", 400, "query startTime"),
        ("/events/get-sets?startTime=1", 400, "query endTime"),
        ("/events/get-sets?startTime=&endTime=2", 400, "query startTime"),
        ("/events/get-sets?startTime=1.5&endTime=2", 400, "query startTime"),
        ("/events/get-sets?startTime=1&endTime=9223372036854775809", 400, "query endTime"),
        ("/events/get-sets?startTime=2&endTime=1", 400, "query endTime"),
        ("/events/get-sets?startTime=1&startTime=1&endTime=2", 400, "query startTime"),
        ("/events/get-sets?starttime=1&endTime=2", 400, "query startTime"),
        ("/events/get-sets?startTime=1&endTime=2&limit=0", 400, "query limit"),
        ("/events/get-sets?startTime=1&endTime=2&limit=1000001", 400, "query limit"),
        ("/events/get-sets?startTime=1&endTime=2&cursor=1.2", 400, "query cursor"),
        ("/events/get-sets?startTime=1&endTime=2&coverage=yes", 400, "query coverage"),
        ("/events/get-sets?startTime=%FF&endTime=2", 400, "query startTime"),
        ("/events/get-sets?startTime=" + "9" * 5_000 + "&endTime=2", 400, "query startTime"),
        ("/events/rejects?x=1", 400, "query x"),
        ("/events/rejects?" + "x" * 5_000 + "=1", 400, "query " + "x" * 200 + "…"),
        ("/nobody/get-stats", 404, "path"),
        ("/events/nothing", 404, "path"),
        ("/events/get-sets/../../etc/passwd", 404, "path"),
    ],
)
def test_every_error_has_the_same_shape(running: Service, path: str, status: int, where: str):
    got, headers, body = running.request(path)
    assert got == status
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert list(error) == ["status", "where", "expected", "got", "request"]
    assert headers["x-request-id"] == error["request"]
    assert (error["status"], error["where"]) == (status, where)
    assert len(body) < 1_000


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("limt=1", "limt"),
        ("_=1", "_"),
        ("a%0D%0ASet-Cookie:b", "a%0D%0ASet-Cookie%3Ab"),
        ("\xe4", "%C3%A4"),
        ("x" * 5_000, "x" * 64 + "..."),
    ],
)
def test_an_unknown_parameter_is_reported_on_a_path_of_an_older_system(running: Service, query: str, shown: str):
    path = "/events/get-sets?startTime=0&endTime=1685695916031"
    _, without, right = running.request(path)
    status, headers, body = running.request(f"{path}&{quote(query, safe='=%&_:')}")
    assert (status, body) == (200, right)
    assert headers["firnline-warning"] == (
        f"unknown parameter {shown}; known: coverage, cursor, endTime, format, limit, startTime"
    )
    assert "firnline-warning" not in without
    assert "set-cookie" not in headers
    status, headers, _ = running.request("/events/get-sets?starttime=1&endTime=2")
    assert (status, headers["firnline-warning"].partition(";")[0]) == (400, "unknown parameter starttime")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_405_and_names_the_allowed_ones(running: Service, method: str):
    status, headers, body = running.request("/events/get-stats", method)
    assert status == 405
    assert "GET" in headers["allow"]
    assert json.loads(body)["error"]["got"] == method


def test_readiness_and_dead_letters_are_reported(running: Service):
    ready = running.get("/readyz")
    assert (ready["ready"], ready["degraded"], ready["streams"]["events"]["ready"]) == (True, {}, True)
    assert running.get("/dead-letters")["count"] == 0
    assert running.get("/")["service"] == "firnline"


def test_a_client_that_disconnects_midway_harms_no_other(running: Service):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(f"GET {ALL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            client.recv(100)
    assert running.get("/dead-letters")["count"] == 0


def test_many_clients_at_once_all_get_their_answer(running: Service):
    wrong: list[object] = []

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(20):
            low = chance.randrange(3_000)
            high = chance.randrange(low, 3_000)
            body = running.get(f"/events/get-sets?startTime={WANTED[low][0]}&endTime={WANTED[high][0]}")
            if sets(body) != WANTED[low:high]:
                wrong.append((low, high))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_the_service(broker: str, topic: str, send: Send, number: int):
    send(broker, topic, records(EVENTS[:3_000]), [0] * 3_000)
    with service(broker, topic) as running:
        running.settled(3_000)
        code, printed = running.stop(number)
    assert code in {0, -number, 128 + number}
    assert "drained" in printed
    assert '"records": 3000' in printed
    assert "Traceback" not in printed


def test_junk_is_rejected_and_the_other_records_are_complete(broker: str, topic: str, send: Send):
    values = records(EVENTS[:3_000])
    for place, broken in ((3, b""), (10, b"R_"), (500, b"\xff\xff"), (2_000, b"G_" + b"1" * 1_000_000)):
        values.insert(place, broken)
    send(broker, topic, values, [0] * len(values))
    with service(broker, topic) as running:
        running.settled(3_004)
        assert sets(running.get(ALL)) == greedy(EVENTS[:3_000], 3)
        rejects = running.get("/events/rejects")
        assert rejects["rejects"] == {"empty": 1, "no_number": 1, "not_utf8": 1, "too_long": 1}
        assert [(each["offset"], each["reason"]) for each in rejects["newest"]] == [
            *((2_000, "too_long"), (500, "not_utf8"), (10, "no_number"), (3, "empty"))
        ]
        assert len(json.dumps(rejects)) < 5_000


def test_shuffled_partitions_within_the_lateness_give_the_maximum(broker: str, topic: str, send: Send):
    chance = random.Random(1)
    arrival = sorted(EVENTS, key=lambda event: event[0] + chance.uniform(0, 400))
    send(broker, topic, records(arrival), [chance.randrange(3) for _ in arrival])
    with service(broker, topic) as running:
        stats = running.settled(9_000)
        assert sets(running.get(ALL)) == WANTED
        assert stats["total"]["bound"] == len(WANTED)


def test_steps_and_time_unit_are_configurable(broker: str, topic: str, send: Send):
    orders = [
        f"{step}_{1_685_695_916 + 5 * number + place}" for number in range(50) for place, step in enumerate(("created", "paid"))
    ]
    send(broker, topic, [each.encode() for each in orders], [0] * 100)
    with service(broker, topic, "streams.events.steps=[created, paid]", "streams.events.time_unit=s") as running:
        running.settled(100)
        found = running.get(f"{ALL}&limit=1")["sets"]
        assert found == [
            {"created": {"name": "created", "timestamp": 1685695916}, "paid": {"name": "paid", "timestamp": 1685695917}}
        ]
