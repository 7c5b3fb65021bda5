"""The figures of sets over HTTP: every format, the client, the command and the errors give the same."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firnline.client import Client
from tests.support.command_line import run
from tests.support.service import Service, service

START = 1_795_773_600_000
SETS = [(START + 700 * number, START + 700 * number + 10, START + 700 * number + 10 + number) for number in range(300)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = tmp_path_factory.mktemp("in") / "events"
    events = sorted((time, step) for each in SETS for time, step in zip(each, "RGB", strict=True))
    path.write_text("".join(f"{step}_{time}\n" for time, step in events))
    with service(None, None, f"streams.events.source={{file: {path}}}") as served:
        served.settled(len(events))
        yield served


def rows(running: Service, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get(f"/events/summary?by=1m{query}")["summary"]
    return found


def test_all_formats_the_client_and_the_command_have_the_same_figures(running: Service, monkeypatch: pytest.MonkeyPatch):
    wanted = rows(running)
    assert sum(each["count"] for each in wanted if each["step"] == "whole") == len(SETS)
    assert {each["p95"] for each in wanted if each["step"] == "g"} == {10}
    assert max(each["max"] for each in wanted if each["step"] == "b") == 299
    assert running.get("/events/sets/summary?by=1m")["summary"] == wanted
    lines = running.request("/events/summary?by=1m&format=ndjson")[2].decode().splitlines()
    assert [json.loads(line) for line in lines] == wanted
    table = csv.DictReader(io.StringIO(running.request("/events/summary?by=1m&format=csv")[2].decode()))
    assert [{name: str(value) for name, value in each.items()} for each in wanted] == list(table)
    client = Client(f"http://127.0.0.1:{running.port}")
    assert list(client.summary(by="1m")) == client.summary(by="1m").arrow().to_pylist() == wanted
    monkeypatch.setenv("FIRNLINE_URL", client.url)
    assert json.loads(run("query", "summary", "--by", "1m", "--json").stdout)["summary"] == wanted
    assert "26-11-27 10:00:00" in run("query", "summary", "--by", "1m").stdout
    none = run("query", "summary", "--end", "1970-01-02").stdout
    assert run("query", "sets", "--end", "1970-01-02").stdout == none
    shown = run("query", "sets", "--limit", "1").stdout
    assert "2026-11-27 10:00:00.000 │ +10 ms │ +0 ms │ 10 ms" in shown
    assert none.startswith(
        "events: nothing in this range; the stream holds 900 events, and answers from 26-11-27 10:00:00 to 26-11-27 "
    )


def test_a_range_and_a_zone_move_the_buckets(running: Service):
    (whole, *_) = rows(running, f"&startTime={START + 7_000}&endTime={START + 9_100}")
    assert (whole["start"], whole["end"], whole["count"]) == (START + 7_000, START + 9_100, 3)
    assert whole["rate"] == pytest.approx(3 / 2.1)
    (day, *_) = running.get("/events/summary?by=1d&zone=Asia/Kathmandu")["summary"]
    assert (day["start"] + (5 * 60 + 45) * 60_000) % 86_400_000 == 0
    assert running.get("/events/summary?startTime=0&endTime=5")["summary"] == []


def test_a_service_with_little_memory_has_the_same_figures(running: Service, tmp_path: Path):
    wanted = rows(running)
    events = sorted((time, step) for each in SETS for time, step in zip(each, "RGB", strict=True))
    (tmp_path / "events").write_text("".join(f"{step}_{time}\n" for time, step in events))
    source = f"streams.events.source={{file: {tmp_path / 'events'}}}"
    with service(None, None, source, "memory.budget=256MiB", also=["--only", "events"]) as small:
        small.settled(len(events))
        for _ in range(3):
            assert rows(small) == wanted


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("by=1w", "query by"),
        ("by=0s", "query by"),
        ("by=1d&zone=Mars", "query zone"),
        ("startTime=5&endTime=1", "query endTime"),
    ],
)
def test_a_wrong_parameter_is_one_error(running: Service, query: str, where: str):
    status, _, body = running.request(f"/events/summary?{query}")
    assert (status, json.loads(body)["error"]["where"]) == (400, where)


def test_rows_beyond_the_most_of_an_answer_are_named_by_next(tmp_path: Path):
    path = tmp_path / "events"
    path.write_text("".join(f"R_{time}\nG_{time}\nB_{time}\n" for time in range(START, START + 20_000, 1_000)))
    with service(None, None, f"streams.events.source={{file: {path}}}", "http.max_rows=40") as running:
        running.settled(60)
        found, place = list[int](), START
        for _ in range(9):
            answer = running.get(f"/events/summary?by=1s&startTime={place}")
            found += [each["start"] for each in answer["summary"] if each["step"] == "whole"]
            if "next" not in answer:
                break
            place = answer["next"]
        assert found == list(range(START, START + 20_000, 1_000))
