"""`time_unit: auto` end to end: the real service over a program, files and a topic whose times are seconds, and a restart."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Send
from tests.support.service import Service, service
from tests.support.waiting import until

BEGINNING_S = 1_685_695_916
SECONDS = [f"{'RGB'[number % 3]}_{BEGINNING_S + number}".encode() for number in range(3_000)]
RANGE = f"/events/get-sets?startTime={BEGINNING_S}&endTime={BEGINNING_S + 30}"
BECAUSE = f"{BEGINNING_S}, the first plausible time, is 2023-06-02T08:51:56Z in seconds (partition 0, offset 0)"


def lines(folder: Path, values: list[bytes], then: str = "exec sleep 600") -> str:
    """Return the setting of a program that prints these lines, and then runs a command."""
    (folder / "lines").write_bytes(b"".join(value + b"\n" for value in values))
    return f"streams.events.source={{command: {json.dumps('sh -c ' + shlex.quote(f'cat {folder}/lines; {then}'))}}}"


def unit(running: Service) -> tuple[str, str]:
    """Return the name of the unit and how it came."""
    found = running.stats()["timeUnit"]
    return found["name"], found["basis"]


def test_sets_in_seconds_are_visible_while_events_come(tmp_path: Path):
    endless = f"i={BEGINNING_S}; while :; do echo R_$i; echo G_$((i+1)); echo B_$((i+2)); i=$((i+3)); sleep 0.05; done"
    (tmp_path / "endless.sh").write_text(endless)
    with service(None, None, f"streams.events.source={{command: sh {tmp_path}/endless.sh}}") as running:
        stats = until(lambda: found if (found := running.stats())["total"]["validSetCount"] else None)
        assert stats["records"] < 400, "a lateness of 500 s would hold all of these events back"
        assert stats["timeUnit"] == {"name": "s", "basis": "decided", "because": BECAUSE}
        first = running.get(f"/events/get-sets?startTime=2023-06-02T08:51:56Z&endTime={BEGINNING_S + 1}")["sets"]
        assert [each["timestamp"] for each in first[0].values()] == [BEGINNING_S, BEGINNING_S + 1, BEGINNING_S + 2]
        (stream,) = running.get("/streams")["streams"]
        assert stream["timeUnit"] == "s"
        status, _, body = running.request(f"/events/get-sets?startTime={BEGINNING_S}000&endTime={BEGINNING_S}001")
        assert (status, "looks like milliseconds" in body.decode()) == (400, True)
        assert "seconds since 1970" in json.dumps(running.get("/openapi.json")["paths"]["/events/get-sets"])
        page = running.request("/docs")[2].decode()
        assert "integers in s since 1970" in page
        code, printed = running.stop()
        assert code == 0
        assert [line for line in printed.splitlines() if "time unit" in line and BECAUSE in line][1:] == []
        assert BECAUSE in printed


def test_an_empty_stream_and_small_numbers_count_as_milliseconds(tmp_path: Path):
    values = [f"{'RGB'[number % 3]}_{number}".encode() for number in range(3_000)]
    with service(None, None, lines(tmp_path, [])) as running:
        assert unit(running) == ("ms", "assumed")
        assert running.get("/events/get-sets?startTime=0&endTime=9999999999999") == {"sets": []}
    with service(None, None, lines(tmp_path, values)) as running:
        assert running.settled(3_000)["total"]["validSetCount"] == 1_000
        assert (unit(running), running.stats()["rejects"]) == (("ms", "assumed"), {})


@pytest.mark.parametrize("view", ["top", "uniques", "words", "segments"])
def test_other_views_decide_nothing(view: str, tmp_path: Path):
    (tmp_path / "empty").touch()
    setting = f"streams.own={{view: {view}, source: {{file: {tmp_path}/empty}}}}"
    with service(None, None, setting, stream="own") as running:
        wanted = None if view == "segments" else {"name": "ms", "basis": "given", "because": None}
        assert until(lambda: running.stats("own")["state"] == "at the end" or None)
        assert running.stats("own")["timeUnit"] == wanted


def test_a_topic_of_seconds_reads_as_with_the_unit_given_and_a_restart_changes_nothing(
    broker: str, topic: str, send: Send, tmp_path: Path
):
    strange = [f"R_{BEGINNING_S + number}000".encode() for number in range(7)]
    data = f"data_dir={tmp_path}/data"
    send(broker, topic, SECONDS, [0] * len(SECONDS))
    with service(broker, topic, "streams.events.time_unit=s") as given:
        given.settled(3_000)
        wanted: Any = given.get(RANGE)
        assert unit(given) == ("s", "given")
    with service(broker, topic, data) as running:
        running.settled(3_000)
        assert (running.get(RANGE), unit(running)) == (wanted, ("s", "decided"))
    send(broker, topic, strange, [0] * 7)
    send(broker, topic, [b"B_5"], [0])  # late, and too early to be part of a set
    with service(broker, topic, data) as running:
        stats = until(lambda: found if (found := running.stats())["records"] == 3_008 else None)
        assert (stats["events"], stats["rejects"], stats["timeUnit"]["basis"]) == (3_001, {"time_unit": 7}, "decided")
        assert running.get(RANGE) == wanted
        refused = running.get("/events/rejects")
        assert {each["reason"] for each in refused["newest"]} == {"time_unit"}
        assert "time_unit" in refused["advice"]
    with service(broker, topic, data, "streams.events.time_unit=s") as pinned:  # it goes on in the same folder
        stats = until(lambda: found if (found := pinned.stats())["records"] else None)
        assert (stats["rejects"], unit(pinned)) == ({"time_unit": 7}, ("s", "given"))
        assert pinned.get(RANGE) == wanted
    assert len([*(tmp_path / "data").glob("events-*")]) == 1
    with service(broker, topic, data) as running:
        until(lambda: running.stats()["records"] or None)
        assert unit(running) == ("s", "decided")
    with service(broker, topic, data, "streams.events.time_unit=us") as other:  # another meaning, another folder
        other.settled(3_008)
        assert (other.stats()["rejects"], unit(other)) == ({}, ("us", "given"))
    assert len([*(tmp_path / "data").glob("events-*")]) == 2


def test_checkpoints_of_the_former_default_are_continued(broker: str, topic: str, send: Send, tmp_path: Path):
    data = f"data_dir={tmp_path}/data"
    values = [f"{'RGB'[number % 3]}_{BEGINNING_S * 1_000 + number}".encode() for number in range(3_000)]
    send(broker, topic, values, [0] * 3_000)
    with service(broker, topic, data, "streams.events.time_unit=ms") as running:
        running.settled(3_000)
    (folder,) = (tmp_path / "data").glob("events-*")
    for _ in range(2):
        with service(broker, topic, data) as running:
            stats = until(lambda running=running: found if (found := running.stats())["records"] else None)
            assert stats["checkpoint"]["recoveredFrom"] > 0
            assert (stats["total"]["validSetCount"], unit(running)) == (1_000, ("ms", "decided"))
    assert [*(tmp_path / "data").glob("events-*")] == [folder]


def test_the_age_of_generations_counts_in_the_decided_unit(tmp_path: Path):
    limits = ("streams.events.max_sets=10", "streams.events.max_age_ms=100000")
    with service(None, None, lines(tmp_path, SECONDS), *limits) as running:
        running.settled(3_000)
        stats = until(lambda: found if (found := running.stats())["droppedGenerations"].get("max_age", 0) > 90 else None)
        assert stats["coverage"]["completeFrom"] >= BEGINNING_S + 2_800, "100 s are kept, and not 100,000 s"
    micro = [f"{'RGB'[number % 3]}_{(BEGINNING_S * 1_000 + number) * 1_000}".encode() for number in range(3_000)]
    with service(None, None, lines(tmp_path, micro), *limits) as running:
        stats = running.settled(3_000)
        assert (stats["droppedGenerations"], unit(running)) == ({}, ("us", "decided"))
