"""The description is true: schemathesis tests the real service with it, and it has every route and every answer.

`FIRNLINE_FUZZ` in the environment is the number of examples for each operation. The default is low, to save time.
"""

import asyncio
import csv
import datetime as dt
import html
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs
import pytest
from starlette.routing import Route

from actors.views.kinds import VIEWS
from firnline import Client
from gateway.app import create_app
from gateway.stream import Served
from tests.conftest import Send
from tests.support.allowed import allowance
from tests.support.browsing import chromium, look
from tests.support.everything import EVENTS, STREAMS, everything
from tests.support.running import records
from tests.support.service import ROOT, Service, service
from tests.support.waiting import until

pytestmark = pytest.mark.broker

EXAMPLES = int(os.environ.get("FIRNLINE_FUZZ", "4"))


@pytest.fixture(scope="module")
def running(broker: str, send: Send, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with everything(broker, send, tmp_path_factory.mktemp("lines")) as found:
        yield found


@pytest.fixture(scope="module")
def described(running: Service) -> Any:
    return running.get("/openapi.json")


@pytest.mark.long
def test_schemathesis_finds_no_response_that_the_description_does_not_have(running: Service):
    """All checks: with examples, each limit of each schema, random valid and invalid requests, and chains along links.

    `positive_data_acceptance` is replaced by a check with two more rules: see `tests/support/described.py`.
    """
    words = ["run", f"http://127.0.0.1:{running.port}/openapi.json", "--checks", "all"]
    words += ["--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing,stateful"]
    words += ["--max-examples", str(EXAMPLES), "--seed", "1", "--generation-database", "none", "--suppress-health-check", "all"]
    words += ["--continue-on-failure", "--request-timeout", "30", "--no-color"]
    environ = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.described"}
    tool = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run([tool, *words], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) generated", done.stdout)[0]) > 1_000, done.stdout
    assert "passed" in done.stdout.partition("Stateful")[2], done.stdout


class Unasked:
    """An actor that gets no question."""

    def is_alive(self) -> bool:
        return False


async def get(app: Any, path: str) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        return (await client.get(path)).json()


# The description against the application ------------------------------------------------------------------------------


def test_every_route_is_described_and_every_described_route_exists(running: Service, described: Any):
    methods = {path: {method.upper() for method in operations} for path, operations in described["paths"].items()}
    assert set(running.get("/")["paths"]) == set(methods)
    for path, found in methods.items():
        _, headers, _ = running.request(path.replace("{name}", "events").replace("{batch}", "1"), "PATCH")
        assert set(headers["allow"].replace(" ", "").split(",")) - {"HEAD"} == found, path


def test_only_pages_and_the_live_events_are_not_described():
    app = create_app([Served(view, view, Unasked(), steps=("R", "G")) for view in VIEWS], Unasked(), allowance())
    by_description = {route.path for route in app.routes if isinstance(route, Route)}
    about = asyncio.run(get(app, "/"))
    described = {path.replace("{key}", "{key:path}") for path in about["paths"]}  # a key may have slashes
    assert by_description - described == {"/live", "/static", "/static/{name:path}"}


def test_only_a_question_about_a_funnel_may_never_have_an_answer():
    app = create_app([Served(view, view, Unasked(), steps=("R", "G")) for view in VIEWS], Unasked(), allowance())
    paths = asyncio.run(get(app, "/openapi.json"))["paths"]
    gets = {path for path, methods in paths.items() if "409" in methods.get("get", {}).get("responses", {})}
    assert gets == {"/funnel", "/funnel/sequences", "/funnel/keys/{key}", "/funnel/summary", "/funnel/funnel/summary"}


def test_the_description_follows_openapi_3_1(described: Any):
    assert described["openapi"] == "3.1.0"
    text = json.dumps(described)
    for ref in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = described
        for part in ref.split("/"):
            found = found[part]
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(described):
        assert operation["summary"], (path, method)
        assert all(each["description"] for each in operation.get("parameters", ())), (path, method)
    for name, each in described["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator(with_components(described, each))
        assert each.get("description") or each.get("enum"), name


# Answers against their schemas ---------------------------------------------------------------------------------------


ASKED = [
    "/",
    "/streams",
    "/streams/events",
    "/streams/events/history?last=60&points=3",
    "/dead-letters",
    "/livez",
    "/readyz",
    "/startupz",
    *(f"/{stream}/{what}" for stream in STREAMS for what in ("get-stats", "rejects", "records", "dead-letters")),
    "/events/get-sets?startTime=0&endTime=9223372036854775807",
    f"/events/get-sets?startTime={EVENTS[0][0]}&endTime=9223372036854775807&limit=3&coverage=1",
    f"/events/explain?step=R&time={EVENTS[0][0]}&coverage=1",
    "/events/explain?step=G&time=5",
    f"/events/histogram?startTime={EVENTS[0][0]}&endTime={EVENTS[0][0] + 10**6}&coverage=1",
    f"/events/summary?startTime={EVENTS[0][0]}&coverage=1",
    "/events/sets/summary?by=1d&zone=Europe/Berlin",
    *(f"/{stream}/summary?coverage=1" for stream in STREAMS),
    *(f"/{stream}/summary?by=1h&zone=Asia/Kolkata&startTime=0&endTime=now" for stream in STREAMS if stream != "segments"),
    "/uniques/uniques/summary?by=1m",
    "/dataset?limit=10",
    "/dataset?limit=10&values=1",
    "/segments",
    "/segments?line=1&limit=2",
    "/segments/pending",
    "/uniques?granularity=hour&coverage=1",
    "/words/CountWords?detail=1&limit=5",
    "/words/CountByEventType",
]


@pytest.mark.parametrize("path", ASKED)
def test_an_answer_matches_its_schema_and_has_no_other_member(running: Service, described: Any, path: str):
    body = running.get(path)
    template = path.partition("?")[0].replace("/streams/events", "/streams/{name}")
    answer = described["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema_rs.Draft202012Validator(with_components(described, closed(answer), close=True)).validate(body)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_figures_of_each_view_are_the_same_in_every_format_and_in_the_client(running: Service, stream: str):
    client = Client(f"http://127.0.0.1:{running.port}")
    if stream == "dataset":  # other tests delete all of it
        client.post(["a_3", "b_4"])
        until(lambda: all(running.request(f"/dataset/{each}")[0] == 200 for each in "ab"))
    rows = running.get(f"/{stream}/summary")["summary"]
    assert rows
    assert all(each["count"] > 0 for each in rows)
    assert list(client.summary(stream=stream)) == client.summary(stream=stream).arrow().to_pylist() == rows
    texts = [[str(value) if value is not None else "" for value in each.values()] for each in rows]
    table = csv.reader(io.StringIO(running.request(f"/{stream}/summary?format=csv")[2].decode()))
    flags = {"true": "True", "false": "False"}
    assert [[flags.get(cell, cell) for cell in line] for line in table] == [list(rows[0]), *texts]


TYPES: dict[str, type | tuple[type, ...]] = {"number": (int, float, type(None)), "string": str, "timestamp_epoch": int}


def test_each_query_of_the_dashboard_of_answers_gets_its_columns(running: Service):
    """Grafana replaces the variables, asks the data source Infinity, and reads the rows at the root by the columns."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "answers.json").read_text())
    given = {each["name"]: each.get("query", "") for each in dashboard["templating"]["list"]}
    given |= {"__from:date:iso": "2016-07-11T13:00:00.000Z", "__to:date:iso": "2036-07-11T14:00:00.000Z", "__interval": "30m"}
    client = Client(f"http://127.0.0.1:{running.port}")
    client.post(["a_3", "b_4"])
    until(lambda: client.get("/dataset")["data"])
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) == 12
    for target in targets:
        assert (target["parser"], target["source"], target["datasource"]["uid"]) == ("backend", "url", "${infinity}")
        url = re.sub(r"\$\{([^}]*)\}", lambda found: given[found[1]], target["url"])
        status, headers, body = running.request(url)
        assert status == 200, (url, body)
        if target["type"] == "csv":
            rows: Any = list(csv.DictReader(io.StringIO(body.decode())))
        else:
            assert headers["content-type"] == "application/json"
            rows = json.loads(body)[target["root_selector"]]
        assert rows, url
        for column in target["columns"]:
            values = [row[column["selector"]] for row in rows]
            if target["type"] == "csv" and column["type"] == "number":
                values = list(map(float, values))
            assert all(isinstance(value, TYPES[column["type"]]) for value in values), (url, column)
            if column["type"] == "timestamp_epoch":
                assert all(1_468_000_000_000 < value < 1_900_000_000_000 for value in values), "ms since 1970"


def test_buckets_that_a_view_does_not_have_are_refused(running: Service):
    status, _, body = running.request("/uniques/summary?by=90s")
    assert (status, json.loads(body)["error"]["expected"]) == (400, "whole minutes, such as 1m, 5m, 1h or 1d")
    status, _, body = running.request("/segments/summary?by=1m")
    assert (status, json.loads(body)["error"]["where"]) == (400, "query by")


def test_stats_have_the_members_that_older_clients_read(running: Service):
    stats = running.stats()
    assert {"data", "total", "coverage", "memory", "state", "records", "events", "rejects", "dropped", "missing"} <= set(stats)
    assert {"lag", "late", "buffered", "inFlight", "watermark", "heldBackBy", "checkpoint", "epoch"} <= set(stats)
    assert list(stats["data"][0])[:4] == ["validSetCount", "outOfOrderMessagesCount", "setSize", "bound"]


def test_no_get_needs_more_than_the_right_to_read(running: Service, described: Any):
    """`/answers` asks for the answer inside the service, behind the check of tokens: who may read that path may read all."""
    scopes = {(method, path): operation["x-scope"] for path, method, operation in operations(described)}
    assert scopes["get", "/answers"] == scopes["get", "/answers/{name}"] == "read"
    wrong = {place: scope for place, scope in scopes.items() if place[0] == "get" and scope not in {"open", "read"}}
    assert not wrong, "a GET with another scope must not be copied by /answers"
    assert {method for method, _ in scopes} == {"get", "post", "delete"}


def operations(described: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def with_components(described: Any, one: Any, *, close: bool = False) -> Any:
    """Return a schema with all components. If `close`, objects have only their named members."""
    found = {name: closed(each) if close else each for name, each in described["components"]["schemas"].items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **one, "components": {"schemas": found}}


def closed(one: Any) -> Any:
    """Return a schema whose objects with named members allow no others."""
    if isinstance(one, list):
        return [closed(each) for each in one]
    if not isinstance(one, dict):
        return one
    made = {name: closed(each) for name, each in one.items()}
    if "properties" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


# Times, forms and ids -------------------------------------------------------------------------------------------------


def test_a_range_is_given_in_the_unit_of_the_stream_or_by_rfc_3339(running: Service):
    start, end = EVENTS[30][0], EVENTS[60][0]
    texts = [dt.datetime.fromtimestamp(each / 1000, dt.UTC).isoformat(timespec="milliseconds") for each in (start, end)]
    by_number = running.get(f"/events/get-sets?startTime={start}&endTime={end}")
    assert len(by_number["sets"]) == 10
    for one, other in (texts, [each.replace("+00:00", "Z") for each in texts], [quote(each) for each in texts]):
        assert running.get(f"/events/get-sets?startTime={one}&endTime={other}") == by_number


def test_buckets_of_a_long_range_are_a_multiple_of_the_width(running: Service):
    path = f"/events/histogram?startTime={EVENTS[0][0] - 10**9}&endTime={EVENTS[0][0] + 10**9}"
    sets = running.get("/events/get-sets?startTime=0&endTime=9223372036854775807")["sets"]
    for width in (1, 999, 10**6, 10**12):
        found = running.get(f"{path}&width={width}")
        assert found["width"] % width == 0
        assert found["width"] == width or 2 * 10**9 // found["width"] <= 10_000
        assert all(each["start"] % found["width"] == 0 for each in found["buckets"])
        assert sum(each["count"] for each in found["buckets"]) == len(sets)


@pytest.mark.parametrize(
    ("form", "media"), [("json", "application/json"), ("ndjson", "application/x-ndjson"), ("csv", "text/csv")]
)
def test_the_format_parameter_wins_over_the_accept_header(running: Service, form: str, media: str):
    path = "/events/get-sets?startTime=0&endTime=9223372036854775807&limit=2"
    _, by_name, body = running.request(f"{path}&format={form}", Accept="application/pdf")
    _, by_accept, same = running.request(path, Accept=f"application/pdf, {media};q=0.5")
    assert by_name["content-type"].startswith(media)
    assert by_accept["content-type"].startswith(media)
    assert body == same
    assert running.request(path, Accept="application/pdf")[0] == 406
    assert running.request(f"{path}&format=pdf")[0] == 400


def test_a_request_keeps_a_valid_id_and_gets_one_otherwise(running: Service):
    assert running.request("/livez", **{"X-Request-Id": "job-7.a_B"})[1]["x-request-id"] == "job-7.a_B"
    status, headers, body = running.request("/nothing", **{"X-Request-Id": "mine"})
    assert (status, headers["x-request-id"], json.loads(body)["error"]["request"]) == (404, "mine", "mine")
    for unfit in ("a b", "x" * 65, "<b>", "\xe4"):
        found = running.request("/livez", **{"X-Request-Id": unfit})[1]["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", found)


def test_an_unknown_path_is_reported_with_a_suggestion(running: Service):
    def expected(path: str) -> str:
        status, _, body = running.request(path)
        assert status == 404
        return str(json.loads(body)["error"]["expected"])

    assert "/events/get-sets" in expected("/events/get-set")
    assert "dataset" in expected("/streams/datset")


def test_the_page_of_the_description_has_every_operation_without_its_script(running: Service, described: Any):
    status, headers, body = running.request("/docs")
    page = body.decode()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall("<script[^>]*>", page) == ['<script type="module" src="/static/docs/docs.js">']
    assert " style=" not in page
    assert "{{" not in page
    for _, _, operation in operations(described):
        assert f'<h3 id="{operation["operationId"]}">' in page
    assert f"curl 'http://127.0.0.1:{running.port}/events/get-sets?startTime=" in html.unescape(page)


def test_the_page_of_the_description_is_accessible_on_a_narrow_screen(running: Service):
    url = f"http://127.0.0.1:{running.port}/docs"
    how = {"bypass_csp": True, "color_scheme": "dark", "viewport": (360, 780)}
    with chromium() as browser, look(browser, url, **how) as seen:
        seen.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert {each.partition("/docs")[0].partition("/static")[0] for each in seen.requests} == {url.removesuffix("/docs")}
        assert seen.errors == []
        # Articles are made alike, and axe takes minutes for all of them: the one with parameters stays, and one with a body.
        kept = "#get-events-get-sets, #post-dataset, #schema-Problem"
        seen.page.evaluate(
            f"for (const each of document.querySelectorAll('article')) each.querySelector('{kept}') || each.remove()"
        )
        assert seen.page.evaluate("document.querySelectorAll('article').length") == 3
        assert seen.violations() == []


def test_the_rows_of_an_answer_are_bounded_and_a_cursor_continues_it(broker: str, send: Send, topic: str):
    send(broker, topic, records(EVENTS), [0] * len(EVENTS))
    with service(broker, topic, "http.max_rows=350") as running:
        running.settled(len(EVENTS))
        path = "/events/get-sets?startTime=0&endTime=9223372036854775807"
        first = running.get(path)
        rest = running.get(f"{path}&cursor={first['next']}")
        last = running.get(f"{path}&cursor={rest['next']}")
        assert [len(page["sets"]) for page in (first, rest, last)] == [350, 350, 200]
        assert "next" not in last
        _, headers, lines = running.request(f"{path}&format=csv")
        assert (headers["firnline-rows"], len(lines.splitlines())) == ("350", 351)
        times = lines.splitlines()[-1].decode().split(",")
        assert running.get(f"{path}&cursor={'.'.join([*times, '1'])}") == rest
