"""Explanations over HTTP agree with the sets: every format, the client, the command and the errors. The sets have a limit."""

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from firnline.client import Client
from scripts.lab.truth import limited
from tests.support.command_line import run
from tests.support.service import Service, service

START = 1_795_773_600_000
CHANCE = random.Random(5)
EVENTS = sorted((START + CHANCE.randrange(3_000), CHANCE.randrange(3)) for _ in range(300))
SETS = limited(EVENTS, 3, 40)
SETTINGS = ("streams.events.time_unit=ms", "streams.events.within=40ms", "streams.events.max_sets=7")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = tmp_path_factory.mktemp("in") / "events"
    path.write_text("".join(f"{'RGB'[step]}_{time}\n" for time, step in EVENTS))
    with service(None, None, f"streams.events.source={{file: {path}}}", *SETTINGS) as served:
        served.settled(len(EVENTS))
        yield served


def told(running: Service, step: str, time: object, rest: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get(f"/events/explain?step={step}&time={time}{rest}")["events"]
    return found


def test_the_sets_of_a_service_last_at_most_the_limit_and_are_the_most(running: Service):
    client = Client(f"http://127.0.0.1:{running.port}")
    assert [(each["r"], each["g"], each["b"]) for each in client.sets()] == SETS
    total = running.get("/events/get-stats")["total"]
    assert sum(total.pop("waitingByStep").values()) == total.pop("outOfOrderMessagesCount")
    assert total == {"validSetCount": len(SETS), "setSize": len(SETS), "bound": len(SETS)}


def test_every_event_is_in_the_sets_that_get_sets_lists_or_has_a_reason(running: Service):
    for (time, step), count in Counter(EVENTS).items():
        rows = told(running, "RGB"[step], time)
        assert sum(row["count"] for row in rows) == count
        found = Counter(
            {(row["set"]["r"], row["set"]["g"], row["set"]["b"]): row["count"] for row in rows if not row["reason"]}
        )
        assert found == Counter(each for each in SETS if each[step] == time)


def test_all_formats_the_client_and_the_command_say_the_same(running: Service, monkeypatch: pytest.MonkeyPatch):
    client = Client(f"http://127.0.0.1:{running.port}")
    monkeypatch.setenv("FIRNLINE_URL", client.url)
    unmatched = next(each for each in EVENTS if each[1] == 0 and not any(made[0] == each[0] for made in SETS))
    for time, step in ((SETS[0][1], "G"), (unmatched[0], "R"), (START - 5, "B")):
        wanted = told(running, step, time)
        path = f"/events/explain?step={step}&time={time}"
        lines = running.request(f"{path}&format=ndjson")[2].decode().splitlines()
        assert [json.loads(line) for line in lines] == wanted == list(client.explain(step, time))
        flat = [{**{name: row[name] for name in ("count", "state", "reason")}, **row["set"]} for row in wanted]
        assert client.explain(step, time).arrow().to_pylist() == flat
        table = csv.DictReader(io.StringIO(running.request(f"{path}&format=csv")[2].decode()))
        texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in flat]
        assert list(table) == texts
        assert json.loads(run("query", "explain", step, str(time), "--json").stdout)["events"] == wanted
        assert wanted[0]["state"] in run("query", "explain", step, str(time)).stdout


def test_an_event_that_is_not_known_is_named_with_the_reason(running: Service):
    (row,) = told(running, "R", START - 5)
    assert (row["count"], row["state"], row["reason"]) == (0, "unknown", "no such event came, or it was refused")
    (row,) = told(running, "R", START + 10**9)
    assert row["reason"].startswith("not yet: answers are complete to ")
    assert "coverage" in running.get(f"/events/explain?step=R&time={START}&coverage=1")


@pytest.mark.parametrize(
    ("query", "where"),
    [("time=5", "query step"), ("step=r&time=5", "query step"), ("step=R", "query time"), ("step=R&time=x", "query time")],
)
def test_a_wrong_parameter_is_one_error(running: Service, query: str, where: str):
    status, _, body = running.request(f"/events/explain?{query}")
    assert (status, json.loads(body)["error"]["where"]) == (400, where)
