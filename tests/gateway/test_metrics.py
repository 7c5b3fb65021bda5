"""The metrics: named by the conventions of Prometheus, equal to the stats, bounded, and complete for dashboard and rules."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from ruamel.yaml import YAML

from actors.replies import Progress
from gateway.stream import Served
from gateway.watch.readings import MOST_PARTITIONS, OF_STREAMS, Reading, of_streams
from gateway.watch.scrape import of_traffic
from gateway.watch.traffic import BOUNDS_S, Traffic
from tests.conftest import Send
from tests.support.running import records, stream
from tests.support.service import ROOT, Service, service
from tests.support.waiting import until

EVENTS = [(1_685_695_916_000 + 10 * number, number % 3) for number in range(600)]
STREAMS = ("events", "dataset", "segments", "uniques", "words")
_OF_PROMETHEUS = {"up"}


class Page(dict[str, float]):
    """A scrape: the value of each series, by its name and labels as text."""

    def __init__(self, metrics: list[Metric]) -> None:
        super().__init__()
        self.metrics = metrics
        for metric in metrics:
            for sample in metric.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                series = f"{sample.name}{{{labels}}}"
                assert series not in self, f"{series} occurs twice"
                self[series] = sample.value

    def of(self, name: str, **labels: str) -> float:
        """Return the value of a series; 0 without one."""
        return self.get(name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}", 0.0)


def scrape(running: Service) -> Page:
    status, headers, body = running.request("/metrics")
    assert status == 200, body
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Page(list(prometheus(body.decode())))


@pytest.fixture(scope="module")
def running(embedded: str, send: Send, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service with a stream of each view. The stream of sets has read exactly 600 events."""
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "frames").write_text('{"ts":1468244384,"uid":"a"}\n' * 5)
    (folder / "lines").write_text('{"event_type":"foo","data":"lorem","timestamp":1468244384}\nbroken\n')
    (folder / "segments").write_text("".join(f'{{"batch_id":1,"segment_id":{n},"data":[{n}]}}\n' for n in range(10)))
    send(embedded, "metrics-events", records(EVENTS), [number % 4 for number in range(len(EVENTS))])
    send(embedded, "metrics-dataset", [b"11_1"], [0])
    settings = (
        "streams.dataset.source={topic: metrics-dataset}",
        f"streams.segments.source={{file: {folder / 'segments'}}}",
        f"streams.segments.output={{file: {folder / 'merged'}}}",
        f"streams.uniques.source={{file: {folder / 'frames'}}}",
        f"streams.uniques.output={{file: {folder / 'rows'}}}",
        f"streams.words.source={{file: {folder / 'lines'}}}",
        "streams.events.max_sets=50",
        "streams.events.max_aged=2",
        "checkpoint.every_ms=50",
    )
    also = [word for name in STREAMS[1:] for word in ("--only", name)]
    with service(embedded, "metrics-events", *settings, also=also, cwd=folder) as running:
        running.settled(len(EVENTS))
        yield running


def test_each_metric_of_the_dashboard_and_the_rules_exists(running: Service):
    there = set()
    for metric in scrape(running).metrics:
        kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
        there |= {metric.name + suffix for suffix in kinds.get(metric.type, ("",))}
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "firnline.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += [variable["definition"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    asked += [note["expr"] for note in dashboard["annotations"]["list"]]
    rules = [rule for group in rules_file()["groups"] for rule in group["rules"]]
    asked += [rule["expr"] for rule in rules]
    assert len(asked) > 60
    for expression in asked:
        named = set(re.findall(r"\b(?:firnline|process|python)_[a-z0-9_]+|\bup\b", expression))
        assert named, expression
        assert named <= there | _OF_PROMETHEUS, f"{expression} names {named - there}"


def expressions() -> list[str]:
    """Return the expressions of the rules and of the dashboard, with a length in the place of Grafana's intervals."""
    panels = json.loads((ROOT / "deploy" / "grafana" / "firnline.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    plain = [re.sub(r"\$__\w+", "5m", each).replace("$", "") for each in asked]
    return plain + [rule["expr"] for group in rules_file()["groups"] for rule in group["rules"]]


def test_each_expression_of_the_rules_and_the_dashboard_is_promql():
    """The parser of `promql-parser` checks names and types of functions as Prometheus does."""
    for expression in expressions():
        promql_parser.parse(expression)
    for wrong in (
        "rate(firnline_records_total)",
        "sum by (stream(firnline_lag_records)",
        "increas(firnline_records_total[5m])",
    ):
        with pytest.raises(ValueError, match=r"expected|unclosed|unexpected|unknown"):
            promql_parser.parse(wrong)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_the_metrics_the_rules_and_each_expression_of_the_dashboard(running: Service, tmp_path: Path):
    def checked(*words: str, given: bytes = b"") -> bytes:
        done = subprocess.run(["promtool", "check", *words], input=given, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done
        return done.stdout

    checked("metrics", given=running.request("/metrics")[2])
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    shown = checked("rules", str(tmp_path / "panels.yml"), str(ROOT / "deploy" / "prometheus" / "alerts.yml"))
    assert f"{len(rules)} rules found".encode() in shown


def rules_file() -> Any:
    return YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "alerts.yml")


def test_each_rule_has_a_severity_and_a_description():
    rules = [rule for group in rules_file()["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 12
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in ("critical", "warning"), rule
        assert set(rule["annotations"]) == {"summary", "description"}, rule
        assert re.fullmatch(r"[0-9]+[smh]", rule.get("for", "0s")), rule
    config = YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    assert config["rule_files"] == ["alerts.yml"]


@pytest.mark.parametrize("name", ["firnline", "answers"])
def test_panels_do_not_overlap_and_each_has_a_description(name: str):
    panels = json.loads((ROOT / "deploy" / "grafana" / f"{name}.json").read_text())["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24, panel["title"]
        cells |= own
        assert panel["type"] == "row" or panel["description"], panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_grafana_is_provisioned_with_both_data_sources():
    folder = ROOT / "deploy" / "grafana"
    config = YAML(typ="safe").load(folder / "provisioning" / "datasources" / "firnline.yml")
    used = {variable["query"] for path in folder.glob("*.json") for variable in json.loads(path.read_text())["templating"]["list"]
            if variable["type"] == "datasource"}  # fmt: skip
    assert {each["type"] for each in config["datasources"]} == used
    assert len({json.loads(path.read_text())["uid"] for path in folder.glob("*.json")}) == 2
    (provider,) = YAML(typ="safe").load(folder / "provisioning" / "dashboards" / "firnline.yml")["providers"]
    assert provider["type"] == "file"


def test_the_figures_of_the_last_whole_minute_are_those_of_the_summary(running: Service):
    page = scrape(running)
    watermark = running.stats()["watermark"]
    start = watermark // 60_000 * 60_000 - 60_000
    assert page.of("firnline_minute_timestamp_seconds", stream="events") == start / 1_000
    rows = running.get(f"/events/summary?startTime={start}&endTime={start + 60_000}")["summary"]
    assert rows
    for row in rows:
        for figure in ("p50", "p95", "max"):
            found = page.of("firnline_minute_duration_seconds", stream="events", step=row["step"], figure=figure)
            assert found == row[figure] / 1_000
    assert page.of("firnline_minute_answers", stream="events") == rows[0]["count"]
    assert not [series for series in page if series.startswith("firnline_minute") and 'stream="dataset"' in series]
    queries = page.of("firnline_queries_total", stream="events")
    asked = 1  # the summary above
    assert scrape(running).of("firnline_queries_total", stream="events") == queries + asked


def test_names_units_and_help_follow_the_conventions(running: Service):
    status, headers, body = running.request("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.1")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    strict, plain = list(open_metrics(body.decode())), scrape(running).metrics
    assert {metric.name for metric in strict} == {metric.name for metric in plain}
    for metric in plain:
        if not metric.name.startswith("firnline_"):
            continue
        assert metric.documentation.endswith("."), metric.name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name), metric.name
        assert not re.search(r"_(ms|millis|kb|mb|percent|count|total|minutes|hours)\b", metric.name), metric.name
        assert not re.search(r"(gauge|counter|histogram|summary)", metric.name), metric.name
        for sample in metric.samples:
            assert sample.name.endswith("_total") == (metric.type == "counter"), sample.name
            assert not {"le", "quantile"} & set(sample.labels) or metric.type == "histogram", sample
        if "duration" in metric.name or "_age" in metric.name or "timestamp" in metric.name:
            assert metric.name.endswith("_seconds"), metric.name
    own = [metric for metric in plain if metric.name == "firnline_build_info"]
    assert [sample.value for metric in own for sample in metric.samples] == [1.0]


def test_counters_only_grow_and_equal_the_stats(running: Service, embedded: str, send: Send):
    before = scrape(running)
    more = [(time + 6_000, step) for time, step in EVENTS]
    send(embedded, "metrics-events", [*records(more), b"junk", b"R_junk"], [number % 4 for number in range(len(more) + 2)])
    running.request("/dataset", "POST", b'{"items":["22_2","33_3"]}')
    running.request("/events/get-sets?startTime=0&endTime=9999999999999")
    stats = running.settled(2 * len(EVENTS) + 2)
    until(lambda: running.stats()["checkpoint"]["saved"])
    after = scrape(running)
    counters = {f"{metric.name}_total" for metric in after.metrics if metric.type == "counter"}
    for series, value in before.items():
        if series.partition("{")[0] in counters or "_bucket{" in series or "_count{" in series:
            assert after[series] >= value, series
    assert after.of("firnline_records_total", stream="events") == stats["records"] == 2 * len(EVENTS) + 2
    assert after.of("firnline_events_total", stream="events") == stats["events"]
    assert after.of("firnline_late_events_total", stream="events") == stats["late"]
    for reason, count in stats["rejects"].items():
        assert after.of("firnline_rejected_records_total", stream="events", reason=reason) == count
    for reason, count in stats["dropped"].items():
        assert after.of("firnline_dropped_events_total", stream="events", reason=reason) == count > 0
    for reason, count in stats["droppedGenerations"].items():
        assert after.of("firnline_dropped_generations_total", stream="events", reason=reason) == count > 0
    held = {state: after.of("firnline_held_events", stream="events", state=state) for state in ("active", "aged", "spilled")}
    assert held["active"] == stats["data"][-1]["events"]
    assert sum(held.values()) + sum(stats["dropped"].values()) == after.of("firnline_events_total", stream="events")
    assert after.of("firnline_generations", stream="events", state="aged") == 2
    assert after.of("firnline_memory_budget_bytes", stream="events") == stats["memory"]["budgetBytes"]
    assert after.of("firnline_coverage_seconds", stream="events") > 0
    assert after.of("firnline_watermark_timestamp_seconds", stream="events") == pytest.approx(stats["watermark"] / 1000)
    assert after.of("firnline_checkpoint_duration_seconds_count", stream="events") > 0
    assert after.of("firnline_queries_total", stream="events") == before.of("firnline_queries_total", stream="events") + 1
    assert after.of("firnline_posted_records_total", stream="dataset") == 2
    assert after.of("firnline_published_results_total", stream="segments") == 1
    ((reason, refused),) = running.stats("words")["rejects"].items()
    assert after.of("firnline_rejected_records_total", stream="words", reason=reason) == refused == 1
    for name in STREAMS:
        assert after.of("firnline_answers", stream=name) == 1
        assert after.of("firnline_records_total", stream=name) > 0
        assert after.of("firnline_mailbox_capacity_messages", stream=name, actor="Manager", state="", lane="data") == 256


def test_requests_are_counted_by_route_and_never_by_path(running: Service):
    for number in range(20):
        running.request(f"/nowhere/{number}")
        running.request(f"/segments/{number}")
        running.request(f"/events/get-sets?startTime={number}&endTime=1")
    running.request("/livez", "BREW")
    running.request("/livez", "POST")
    page = scrape(running)
    assert page.of("firnline_http_requests_total", method="GET", route="none", status="404") == 20
    assert page.of("firnline_http_requests_total", method="GET", route="/segments/{batch}", status="404") >= 19
    assert page.of("firnline_http_requests_total", method="GET", route="/events/get-sets", status="400") == 18
    assert page.of("firnline_http_requests_total", method="POST", route="/livez", status="405") == 1
    methods = {sample.labels["method"] for metric in page.metrics for sample in metric.samples if "method" in sample.labels}
    assert methods <= {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "other"}
    series = [name for name in page if name.startswith("firnline_http_requests_total")]
    assert len(series) < 40, series
    assert page.of("firnline_http_requests_in_progress") == 1, "the scrape itself"
    assert page.of("firnline_http_connections") >= 1


def test_a_client_that_disconnects_within_its_body_is_not_counted_as_a_500(running: Service):
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(b"POST /dataset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf of it")
        until(lambda: scrape(running).of("firnline_http_requests_in_progress") == 2)
    until(lambda: scrape(running).of("firnline_http_requests_total", method="POST", route="/dataset", status="408") == 1)
    assert not [series for series in scrape(running) if 'status="500"' in series]


def test_the_number_of_partition_labels_is_bounded():
    reading_of = {metric.name: metric.read for metric in OF_STREAMS}
    lag = dict.fromkeys(range(3_000), 2)
    for holding in (None, 5, 2_999):
        stats: Any = type("Stats", (), {"progress": Progress(lag=lag, held_back_by=holding)})
        reading = Reading(Served("events", "sets", None), stats, 0.0)  # type: ignore[arg-type]  # no actor is asked
        rows = list(reading_of["firnline_lag_records"](reading, stats))
        assert len(rows) == MOST_PARTITIONS + 1
        assert sum(value for _, value in rows) == sum(lag.values())
        held = dict(reading_of["firnline_watermark_held_back"](reading, stats))
        assert len(held) == MOST_PARTITIONS + 1
        assert [labels for labels, value in held.items() if value] == (
            [] if holding is None else [("5",)] if holding == 5 else [("other",)]
        )


def test_a_stream_without_a_reply_in_time_is_reported_beside_the_others(embedded: str, mock_topic: str, send: Send):
    send(embedded, mock_topic, records(EVENTS[:30]), [0] * 30)
    with stream(embedded, mock_topic) as running:
        stats = running.settled(30)
    silent, answering = Served("silent", "words", None), Served("answering", "sets", None)  # type: ignore[arg-type]
    page = Page(list(of_streams([Reading(silent, None, 1.0), Reading(answering, stats, 1.0)])))
    assert (page.of("firnline_answers", stream="silent"), page.of("firnline_answers", stream="answering")) == (0, 1)
    assert page.of("firnline_records_total", stream="answering") == 30
    assert not [
        series for series in page if "silent" in series and not series.startswith(("firnline_answers", "firnline_stream"))
    ]


def test_the_histogram_adds_up_without_event_streams():
    traffic, seconds = Traffic(), [0.0005, 0.001, 0.0011, 0.3, 45.0]
    for each in seconds:
        traffic.ended("GET", "/x", 200, each)
    traffic.ended("GET", "/live", 200, None)
    traffic.ended("BREW", "/x", 405, 0.2)
    page = Page(list(of_traffic(traffic)))
    bounds = [page.of("firnline_http_request_duration_seconds_bucket", method="GET", route="/x", le=str(le)) for le in BOUNDS_S]
    assert bounds == [sum(each <= bound for each in seconds) for bound in BOUNDS_S]
    assert page.of("firnline_http_request_duration_seconds_bucket", method="GET", route="/x", le="+Inf") == len(seconds)
    assert page.of("firnline_http_request_duration_seconds_sum", method="GET", route="/x") == pytest.approx(sum(seconds))
    assert page.of("firnline_http_requests_total", method="GET", route="/live", status="200") == 1
    assert page.of("firnline_http_requests_total", method="other", route="/x", status="405") == 1
    assert not [series for series in page if "duration" in series and "/live" in series]
