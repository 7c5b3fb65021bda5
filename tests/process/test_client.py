"""The client against the real service, and against servers that misbehave."""

import doctest
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from types import ModuleType

import pytest

import firnline
from firnline import Client, FirnlineError, FirnlineWarning, RefusedError, UnreachableError
from firnline.origin import Origin
from firnline.shown import as_html, as_text
from firnline.transport import text
from scripts.lab.truth import greedy
from tests.conftest import Send, create_topic
from tests.support.command_line import run
from tests.support.forked import run_forked
from tests.support.running import records
from tests.support.service import Service, free_port, service

EVENTS = [(1_685_695_916_000 + 10 * (number // 2), number % 3) for number in range(9_000)]
WANTED = greedy(EVENTS, 3)


def test_importing_the_client_loads_neither_numpy_nor_pyarrow():
    heavy = "numpy", "pyarrow", "pandas", "starlette", "actors"
    code = f"import sys, firnline; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.fixture(scope="module")
def running(broker: str, send: Send) -> Iterator[Service]:
    """Yield a service with 3,000 sets in four collectors, and answers of at most 700 rows."""
    topic = create_topic(broker)
    send(broker, topic, records(EVENTS), [0] * len(EVENTS))
    with service(broker, topic, "streams.events.max_sets=900", "http.max_rows=700") as running:
        running.settled(len(EVENTS))
        yield running


@pytest.fixture
def client(running: Service) -> Client:
    """Return a client of it."""
    return Client(f"http://127.0.0.1:{running.port}")


def times(found: Iterator[dict[str, int]]) -> list[tuple[int, ...]]:
    return [tuple(each.values()) for each in found]


@pytest.mark.broker
def test_all_sets_come_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("firnline.rows.PAGE", 450)
    found = client.sets()
    assert found.coverage is None
    rows = list(found)
    assert list(rows[0]) == ["r", "g", "b"]
    assert times(iter(rows)) == WANTED
    assert found.coverage is not None
    assert found.coverage["completeFrom"] is None
    assert times(iter(found)) == WANTED  # again
    assert times(iter(client.sets(limit=1_000))) == WANTED[:1_000]
    assert times(islice(client.sets(), 3)) == WANTED[:3]


@pytest.mark.broker
def test_a_range_may_be_numbers_datetimes_or_rfc_3339_texts(client: Client):
    start, end = WANTED[100][0], WANTED[1_200][0]
    wanted = [each for each in WANTED if start <= each[0] < end]
    moments = [datetime.fromtimestamp(each / 1_000, UTC) for each in (start, end)]
    for low, high in ((start, end), tuple(moments), tuple(each.isoformat() for each in moments)):
        assert times(iter(client.sets(low, high))) == wanted
    with pytest.raises(ValueError, match="zone"):
        list(client.sets(datetime(2023, 1, 1), end))  # noqa: DTZ001


@pytest.mark.broker
def test_arrow_of_several_pages_equals_the_rows(client: Client):
    for limit in (None, 1, 699, 700, 701, 1_500):
        table = client.sets(limit=limit).arrow()
        assert list(zip(*table.to_pydict().values(), strict=True)) == WANTED[:limit]
        assert "completeFrom" in json.loads(table.schema.metadata[b"firnline.coverage"])
    cursor = client.get("/events/get-sets", startTime=0, endTime=2**62, limit=50)["next"]
    for rest in (client.sets(cursor=cursor), client.sets(limit=2_000, cursor=cursor)):
        assert times(iter(rest))[:1_900] == WANTED[50:1_950]
        assert list(zip(*rest.arrow().to_pydict().values(), strict=True))[:1_900] == WANTED[50:1_950]


@pytest.mark.broker
def test_pandas_polars_and_duckdb_read_rows_in_one_line_each(client: Client):
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    rows = client.sets(limit=500)
    assert [tuple(each) for each in rows.arrow().to_pandas().itertuples(index=False)] == WANTED[:500]
    assert polars.DataFrame(rows).rows() == WANTED[:500]
    sets = rows.arrow()
    assert duckdb.sql("select r, g, b from sets").fetchall() == WANTED[:500]
    assert sets.num_rows == 500


@pytest.mark.broker
def test_rows_show_themselves_and_their_number_and_become_data_frames(client: Client):
    polars = pytest.importorskip("polars")
    rows = client.sets(limit=500)
    assert len(rows) == 500
    assert len(client.sets()) == len(WANTED)
    assert len(client.sets(WANTED[3][0], WANTED[9][0])) == sum(WANTED[3][0] <= each[0] < WANTED[9][0] for each in WANTED)
    assert (len(client.sets(5, 6)), bool(client.sets(5, 6))) == (0, True)
    with pytest.raises(TypeError):
        len(client.sets(cursor="1.2.3.1"))
    begun = iter(rows)
    assert next(begun) == dict(zip("rgb", WANTED[0], strict=True))
    assert len(rows) == 500
    lines = repr(rows).splitlines()
    assert (lines[0], lines[1].split(), lines[-1], len(lines)) == ("Sets of /events/get-sets", ["r", "g", "b"], "…", 13)
    assert [tuple(map(int, line.split())) for line in lines[2:-1]] == WANTED[:10]
    assert repr(client.sets(limit=3)).count("\n") == 4
    assert repr(client.sets(5, 6)) == "Sets of /events/get-sets\nno rows"
    assert f"<td>{WANTED[9][2]}</td>" in rows._repr_html_()
    assert "whole" in repr(client.summary())
    assert repr(client) == f"Client('{client.url}')"
    assert rows.to_polars().equals(polars.DataFrame(rows))
    assert rows.to_pandas().shape == (500, 3)


def test_rows_that_are_no_mappings_are_shown_without_a_line_of_names():
    assert as_text("ids", ["a", "bc"]) == "ids\n a\nbc"
    assert as_html("ids", ["a"]) == "<div><p>ids</p><table><tbody><tr><td>a</td></tr></tbody></table></div>"


def test_the_names_of_the_module_are_those_for_users():
    own = [name for name in dir(firnline) if not name.startswith("__")]
    assert own == sorted(firnline.__all__)


def test_a_client_shows_its_address_and_not_its_token():
    for made in (firnline.Client, firnline.AsyncClient):
        assert repr(made("http://127.0.0.1:7", token="hunter2")) == f"{made.__name__}('http://127.0.0.1:7')"  # noqa: S106


def test_a_text_of_rows_does_not_fail_and_escapes_what_they_hold():
    with server([says(200, b'{"name":"<b>\\u001b[2J","count":1}\n')] * 2) as (client, _):
        assert "\x1b" not in repr(client.words())
        assert "&lt;b&gt;" in client.words()._repr_html_()
    assert "is the service running" in repr(Client(f"http://127.0.0.1:{free_port()}").sets())
    assert "zone" in repr(Client().sets(datetime(2023, 1, 1)))  # noqa: DTZ001


def test_a_list_of_sets_asks_for_no_length():
    page = says(200, b'{"sets":[{"r":{"name":"red","timestamp":1}}],"coverage":{}}')
    with server([page]) as (client, asked):
        assert list(client.sets()) == [{"r": 1}]
        assert len(asked) == 1


@pytest.mark.broker
def test_the_functions_use_the_service_of_the_environment(running: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIRNLINE_URL", f"127.0.0.1:{running.port}")
    assert next(iter(firnline.sets())) == dict(zip("rgb", WANTED[0], strict=True))
    assert firnline.stats()["events"] == 9_000
    assert firnline.health()["ready"]
    assert firnline.rejects()["newest"] == []
    assert "events" in json.dumps(firnline.streams())


@pytest.mark.broker
def test_a_refused_request_names_the_expected_value_and_its_id(client: Client):
    with pytest.raises(RefusedError) as told:
        list(client.sets(2, 1))
    assert (told.value.status, told.value.where, told.value.got) == (400, "query endTime", "1")
    assert told.value.request
    assert str(told.value).startswith("query endTime: expected ")
    with pytest.raises(RefusedError) as told:
        client.stats("nobody")
    assert told.value.status == 404


@pytest.mark.broker
def test_a_dataset_is_posted_read_as_rows_and_columns_and_cleared(broker: str):
    with service(broker, create_topic(broker), "http.deadline_ms=60000", stream="dataset") as running:
        client = Client(f"http://127.0.0.1:{running.port}")
        assert client.post(["a_1", "b_5", "c_-2", 'd"_3'])["count"] == 4
        running.settled(4, "dataset")
        assert list(client.top()) == ["b", 'd"', "a", "c"]
        assert client.top(2).arrow().to_pylist() == [{"id": "b", "value": 5}, {"id": 'd"', "value": 3}]
        _, headers, table = running.request("/dataset?format=csv")
        assert (headers["content-type"], table) == ("text/csv; charset=utf-8", b'id,value\r\nb,5\r\n"d""",3\r\na,1\r\nc,-2\r\n')
        client.clear()
        assert list(client.top()) == []


@pytest.mark.broker
def test_an_aged_range_is_sent_once_and_then_is_304(running: Service):
    path = f"/events/get-sets?startTime={WANTED[0][0]}&endTime={WANTED[600][0]}"
    for form in ("json", "ndjson", "csv", "arrow"):
        status, headers, body = running.request(f"{path}&format={form}")
        assert (status, headers["cache-control"]) == (200, "private, no-cache")
        status, again, nothing = running.request(f"{path}&format={form}", **{"If-None-Match": headers["etag"]})
        assert (status, nothing, again["etag"]) == (304, b"", headers["etag"])
        assert "completeTo" in again["firnline-coverage"]
        _, packed, short = running.request(f"{path}&format={form}", **{"Accept-Encoding": "gzip"})
        assert packed["etag"] == f"W/{headers['etag']}"
        assert len(short) < len(body) / 2
    _, headers, _ = running.request(f"{path}0")
    assert "etag" not in headers


# Servers that misbehave ----------------------------------------------------------------------------------------------


@contextmanager
def server(answers: list[Callable[[BaseHTTPRequestHandler], None]]) -> Iterator[tuple[Client, list[str]]]:
    """Run a server that gives one answer after the other, the last one for ever; yield a client and what it asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}".strip())
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)
            self.close_connection = True

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{running.server_address[1]}", token="secret", timeout_s=20, tries=3), asked  # noqa: S106
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def says(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def chunked(body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what sends one chunk, and not the end."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))

    return answer


BUSY = json.dumps({"error": {"status": 503, "where": "service", "expected": "room", "got": "none", "request": "abc"}}).encode()


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_is_repeated_after_the_time_that_a_busy_service_names(status: int):
    with server([says(status, BUSY, Retry_After="0"), says(status, BUSY, Retry_After="0"), says(200, b'{"a": 1}')]) as (
        client,
        asked,
    ):
        assert client.stats() == {"a": 1}
        assert asked == ["GET /events/get-stats Bearer secret"] * 3


def test_a_service_that_stays_busy_or_names_no_time_is_an_error():
    with server([says(503, BUSY, Retry_After="0")]) as (client, asked):
        with pytest.raises(RefusedError) as told:
            client.stats()
        assert (told.value.status, told.value.where, told.value.request) == (503, "service", "abc")
        assert len(asked) == 3
    with server([says(503, BUSY)]) as (client, asked):
        with pytest.raises(RefusedError):
            client.stats()
        assert len(asked) == 1
        assert client.health()["error"]["got"] == "none"


def test_a_question_without_an_answer_is_not_repeated():
    with server([says(409, BUSY, Retry_After="0")]) as (client, asked):
        with pytest.raises(RefusedError):
            client.stats()
        assert len(asked) == 1


def test_a_post_is_never_repeated():
    with server([says(503, BUSY, Retry_After="0")]) as (client, asked):
        with pytest.raises(RefusedError):
            client.post(["a_1"])
        assert asked == ["POST /dataset Bearer secret"]


@pytest.mark.parametrize(
    ("left", "code", "said"), [("[]", 0, "other processes have its shards 1"), ("[1]", 1, "shards 1 are still")]
)
def test_a_busy_answer_does_not_end_a_drain_and_resume_is_named_with_the_address(left: str, code: int, said: str):
    had, has, streams = b'{"has": [1]}', f'{{"has": {left}}}'.encode(), b'{"streams": []}'
    with server([says(200, had), says(503, BUSY, Retry_After="0"), says(200, has), says(200, streams)]) as (client, asked):
        done = run("cluster", "drain", "--url", client.url, "--timeout", "0")
        assert (done.returncode, len(asked)) == (code, 4)
        assert said in done.stdout + done.stderr
        assert f"cluster resume --url {client.url}`" in done.stdout + done.stderr


def test_an_unknown_parameter_is_a_warning_of_the_client_and_one_line_of_the_command():
    said = "unknown parameter new; known: limit"
    answer = says(200, b'{"data": ["a"]}', Firnline_Warning=said)
    with server([answer]) as (client, _), pytest.warns(FirnlineWarning, match=said):
        assert client.get("/dataset", new=1) == {"data": ["a"]}
    with server([answer]) as (client, asked):
        done = run_forked(["-m", "scripts.cli", "query", "top", "--json", "--url", client.url], check=True)
    assert len(asked) == 1, "JSON needs no request for the stream's state"
    assert (done.stdout, done.stderr) == ('{"data": ["a"]}\n', f"query: warning: {said}\n")


def test_the_state_of_a_stream_needs_no_other_stream_unless_another_one_is_meant():
    events, shop = {"name": "events", "view": "words"}, {"name": "shop", "view": "sets"}
    one, every = says(200, json.dumps(events).encode()), says(200, json.dumps({"streams": [events, shop]}).encode())
    gone = says(404, b'{"error": {"where": "path", "expected": "one of events, shop", "got": "absent"}}')
    for answers, of, found in (
        ([one], Origin.of("events", "", "words"), events),
        ([one], Origin.of(None, "events"), events),
        ([one, every], Origin.of(None, "events", "sets"), shop),
        ([gone, every], Origin.of(None, "absent", "sets"), shop),
    ):
        with server(answers.copy()) as (client, asked):
            assert client.state_of(of) == found
        assert asked == [f"GET /streams{more} Bearer secret" for more in (f"/{of.stream}", "")][: len(answers)]


@pytest.mark.parametrize("whole", [b'{"name":"a","count":1}\n', b'{"name":"a","count":1}\n{"name'])
def test_a_response_that_breaks_off_is_an_error(whole: bytes):
    with server([chunked(whole)]) as (client, _):
        rows = iter(client.words())
        assert next(rows) == {"name": "a", "count": 1}
        with pytest.raises(UnreachableError):
            list(rows)
        with pytest.raises(UnreachableError):
            client.words().arrow()
    with server([says(200, whole, Content_Length=str(len(whole) + 5))]) as (client, _), pytest.raises(UnreachableError):
        list(client.words())


def test_a_page_of_sets_that_breaks_off_is_requested_again():
    def page(time: int, following: str = "") -> bytes:
        return b'{"sets":[{"r":{"name":"red","timestamp":%d}}]%b,"coverage":{}}' % (time, following.encode())

    first, second = page(1, ',"next":"1.1"'), page(2)
    with server([chunked(first[:20]), says(200, first), chunked(second), says(200, second)]) as (client, asked):
        assert list(client.sets(0, 9)) == [{"r": 1}, {"r": 2}]
        assert ["cursor=1.1" in each for each in asked] == [False, False, True, True]


@pytest.mark.parametrize("body", [b"<html>", b'{"error": 1}', b"[]", b""])
def test_an_unknown_server_is_an_error_with_its_status(body: bytes):
    with server([says(502, body)]) as (client, _), pytest.raises(RefusedError, match="status 502") as told:
        client.stats()
    assert told.value.status == 502


def test_an_unreachable_service_is_one_clear_line():
    with pytest.raises(UnreachableError, match="is the service running"):
        Client(f"http://127.0.0.1:{free_port()}").stats()
    with pytest.raises(ValueError, match="an address such as"):
        Client("ftp://127.0.0.1").stats()


def test_without_pyarrow_arrow_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FirnlineError, match=r"pip install pyarrow"):
        Client("http://127.0.0.1:1").top().arrow()


def test_parameters_are_written_as_the_service_reads_them():
    assert [text(each) for each in (5, True, "x", datetime(2023, 6, 2, tzinfo=UTC))] == [
        "5",
        "1",
        "x",
        "2023-06-02T00:00:00+00:00",
    ]


@pytest.mark.parametrize("module", [firnline.client, firnline.rows, firnline.transport])
def test_the_examples_in_the_docstrings_are_true(module: ModuleType):
    assert not doctest.testmod(module).failed
