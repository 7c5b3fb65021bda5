"""Copies of answers under an address of their own: readers of files read them as files, while the stream goes on."""

import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firnline.client import Client
from gateway.api.formats import FORMATS
from tests.support.service import Service, service

START = 1_795_773_600_000
SETS = [(START + 10 * number, START + 10 * number + 3, START + 10 * number + 7) for number in range(40_000)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path = tmp_path_factory.mktemp("in") / "events"
    path.write_text("".join(f"{step}_{time}\n" for each in SETS for time, step in zip(each, "RGB", strict=True)))
    with service(None, None, f"streams.events.source={{file: {path}}}", "memory.budget=512MiB") as served:
        served.settled(3 * len(SETS))
        yield served


@pytest.fixture
def client(running: Service) -> Client:
    return Client(f"http://127.0.0.1:{running.port}")


def copied(running: Service, of: str) -> tuple[int, Any]:
    status, _, body = running.request(f"/answers?of={urllib.parse.quote(of, safe='')}")
    return status, json.loads(body)


EVERY = "/events/get-sets?startTime=0&endTime=9223372036854775807"


@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow"])
def test_a_copy_has_the_bytes_of_the_answer_and_each_range_of_them(running: Service, form: str):
    status, place = copied(running, f"{EVERY}&format={form}")
    assert status == 200
    whole = running.request(f"{EVERY}&format={form}")
    answer = running.request(place["url"])
    assert (answer[0], len(answer[2])) == (200, place["bytes"])
    assert answer[2] == whole[2]
    assert (answer[1]["accept-ranges"], answer[1]["content-type"]) == ("bytes", whole[1]["content-type"])
    assert answer[1]["firnline-coverage"] == whole[1]["firnline-coverage"]
    head = running.request(place["url"], "HEAD", **{"Accept-Encoding": "gzip"})
    assert (head[0], head[1]["content-length"], head[2]) == (200, str(place["bytes"]), b"")
    size = place["bytes"]
    for given, low, high in (
        (f"0-{size + 5}", 0, size),
        ("5-9", 5, 10),
        (f"{size - 3}-", size - 3, size),
        ("-7", size - 7, size),
    ):
        part = running.request(place["url"], **{"Range": f"bytes={given}", "Accept-Encoding": "gzip"})
        assert (part[0], part[1]["content-range"]) == (206, f"bytes {low}-{high - 1}/{size}")
        assert part[2] == whole[2][low:high]
    for given in (f"{size}-", "-0"):
        missed = running.request(place["url"], Range=f"bytes={given}")
        assert (missed[0], missed[1]["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=9-5", "bytes=-", "lines=0-1", "bytes=0-1,3-4"):
        assert running.request(place["url"], Range=ignored)[0] == 200
    tag = answer[1]["etag"]
    assert running.request(place["url"], **{"Range": "bytes=0-1", "If-Range": tag})[0] == 206
    assert running.request(place["url"], **{"Range": "bytes=0-1", "If-Range": '"another"'})[0] == 200
    for known in (tag, f'"another", {tag}', "*", f"W/{tag}"):
        assert running.request(place["url"], **{"If-None-Match": known})[::2] == (304, b"")
    for wanted, status in ((tag, 200), ("*", 200), (f'"another", {tag}', 200), ('"another"', 412), (f"W/{tag}", 412)):
        assert running.request(place["url"], **{"If-Match": wanted})[0] == status


@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow"])
def test_an_answer_that_can_be_copied_links_to_the_request_for_its_copy(running: Service, form: str):
    accept = FORMATS[form].media_type
    path = "/%65vents/get-sets?startTime=0&endTime=2026-11-27T12:01:00%2B02:00&limit=50"
    for asked, words in ((f"{path}&format={form}", {}), (path, {"Accept": accept})):
        status, headers, body = running.request(asked, **words)
        assert (status, body != b"") == (200, True)
        assert running.request(asked, "HEAD", **words)[1]["link"] == headers["link"]
        link = re.fullmatch(r'<([^>]+)>; rel="alternate"; type="application/json"; title="[a-z ]+"', headers["link"])
        assert link is not None
        address = link[1]
        kept = running.request(json.loads(running.request(address)[2])["url"])
        assert kept[2] == body
        assert "link" not in kept[1]
    assert "link" not in running.request(path)[1]
    assert "link" not in running.request(f"/events/get-sets?startTime=5&endTime=1&format={form}")[1]
    assert "link" not in running.request(f"{path}&format={form}&unknown={'1' * 2_000}")[1]


def test_readers_of_files_read_a_copy_by_its_address(client: Client):
    pandas, polars = (pytest.importorskip(name) for name in ("pandas", "polars"))
    rows = client.sets(limit=30_000)
    wanted = SETS[:30_000]
    url = rows.url()
    assert polars.read_csv(url).rows() == wanted
    assert polars.scan_csv(url).collect().rows() == wanted
    minutes = {each[0] // 60_000 for each in SETS}
    assert polars.read_ndjson(client.summary(by="1m").url("ndjson")).height == 3 * len(minutes)
    assert polars.read_ipc_stream(rows.url("arrow")).rows() == wanted
    assert polars.read_ipc(rows.url("feather")).rows() == wanted
    assert polars.scan_ipc(rows.url("feather")).collect().rows() == wanted
    assert list(pandas.read_feather(rows.url("feather")).itertuples(index=False, name=None)) == wanted
    assert polars.read_ipc(client.sets(limit=1, start=5, end=5).url("feather")).schema.names() == ["r", "g", "b"]
    assert list(pandas.read_csv(url).itertuples(index=False, name=None)) == wanted


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (EVERY, "an answer with format=csv, ndjson or arrow"),
        ("/live", "an answer with format=csv, ndjson or arrow"),
        ("/nothing?format=csv", "a path with an answer"),
        ("/events/get-sets?startTime=5&endTime=1&format=csv", "a path with an answer"),
        ("/answers?of=/", "a path other than this one"),
        ("/%61nswers?of=/", "a path other than this one"),
    ],
)
def test_what_cannot_be_copied_is_one_error(running: Service, of: str, expected: str):
    status, body = copied(running, of)
    assert (status, body["error"]["where"], body["error"]["expected"]) == (404, "query of", expected)
    assert running.request("/answers?of=events")[0] == running.request("/answers")[0] == 400
    assert running.request("/answers/unknown.csv")[0] == 404


def test_why_an_answer_has_no_copy_is_passed_on(running: Service):
    _, body = copied(running, "/events/get-sets?startTime=5&endTime=1&format=csv")
    assert body["error"]["got"] == "status 400: query endTime: expected startTime (5) or later, got 1"
    assert "/events/get-sets" in copied(running, "/event/get-sets?format=csv")[1]["error"]["got"]


def test_only_arrow_is_kept_as_a_file(running: Service):
    of = urllib.parse.quote(f"{EVERY}&format=csv", safe="")
    status, _, body = running.request(f"/answers?of={of}&file=1")
    assert (status, json.loads(body)["error"]["expected"]) == (404, "an answer with format=arrow, because file=1")


def test_copies_are_bounded_in_bytes_and_the_oldest_goes_first(tmp_path: Path):
    path = tmp_path / "events"
    path.write_text("".join(f"{step}_{time}\n" for each in SETS for time, step in zip(each, "RGB", strict=True)))
    with service(None, None, f"streams.events.source={{file: {path}}}", "memory.budget=160MiB") as running:
        running.settled(3 * len(SETS))
        one = f"{EVERY}&format=csv&limit=30000"
        urls = [copied(running, one)[1]["url"] for _ in range(12)]
        found = [running.request(url)[0] for url in urls]
        kept = found.count(200)
        assert 1 <= kept < 12
        assert found == [404] * (12 - kept) + [200] * kept
        assert copied(running, f"{EVERY}&format=ndjson")[0] in {200, 413}
        assert running.request(one)[0] == 200
