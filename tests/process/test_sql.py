"""SQL over a real service: the rows are those of the service, and each request has the range of the query's conditions."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

import firnline.tables as module
from firnline import Client, FirnlineError, RefusedError, UnreachableError
from firnline.pushdown import StreamTable
from firnline.tables import Table, tables
from scripts.lab.truth import greedy
from tests.conftest import Send, create_topic
from tests.support.command_line import run
from tests.support.running import records
from tests.support.service import Service, free_port, service

FIRST = 1_685_695_916_000
EVENTS = [(FIRST + 10 * (number // 2), number % 3) for number in range(9_000)]
SETS = [tuple(each) for each in greedy(EVENTS, 3)]
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # times of SQL have no zone


def moment(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


@pytest.fixture(scope="module")
def running(broker: str, send: Send) -> Iterator[Service]:
    """Yield a service with 3,000 sets, a dataset, words and users, and answers of at most 700 rows."""
    events, ids, words, users, orders = (create_topic(broker) for _ in range(5))
    send(broker, events, records(EVENTS), [0] * len(EVENTS))
    send(broker, ids, [f"{number:04}_{number}".encode() for number in range(50)], [0] * 50)
    send(broker, words, [json.dumps({"event_type": "a", "data": "b c", "timestamp": 7}).encode()] * 9, [0] * 9)
    frames = [{"ts": 1_468_244_384 + 60 * number, "uid": f"u{number % 7}"} for number in range(900)]
    send(broker, users, [json.dumps(frame).encode() for frame in frames], [0] * len(frames))
    paid = [{"id": str(number), "type": "paid", "at": FIRST + number // 3 + 5} for number in range(1_500) if number % 6]
    created = [{"id": str(number), "type": "created", "at": FIRST + number // 3} for number in range(1_500)]
    values = sorted((json.dumps(each).encode() for each in [*created, *paid]), key=lambda each: json.loads(each)["at"])
    send(broker, orders, values, [0] * len(values))
    record = "{key: /id, step: {field: /type}, time: {field: /at, unit: ms}}"
    more = [
        f"streams.orders={{view: funnel, source: {{topic: {orders}}}, steps: [created, paid], within: 1h, record: {record}}}",
        f"streams.dataset={{view: top, source: {{topic: {ids}}}}}",
        f"streams.words={{view: words, source: {{topic: {words}}}}}",
        f"streams.my-users={{view: uniques, source: {{topic: {users}}}, granularities: [minute, day]}}",
    ]
    also = [word for name in ("dataset", "words", "my-users", "orders") for word in ("--only", name)]
    with service(broker, events, "streams.events.max_sets=900", "http.max_rows=700", *more, also=also) as running:
        running.settled(len(EVENTS))
        for name, count in (("dataset", 50), ("words", 9), ("my-users", 900), ("orders", len(values))):
            running.settled(count, name)
        yield running


@pytest.fixture
def client(running: Service) -> Client:
    return Client(f"http://127.0.0.1:{running.port}")


def asked(client: Client, query: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of a query, and its requests without those for the columns."""
    found = client.sql(query)
    rows = list(found)
    return rows, [each.target for each in found.requests if "limit=1" not in each.target]


@pytest.mark.broker
def test_all_sets_are_the_rows_of_a_table_from_as_many_answers_as_needed(client: Client):
    rows, requests = asked(client, "from events")
    assert [tuple(row.values()) for row in rows] == [tuple(map(moment, each)) for each in SETS]
    assert list(rows[0]) == ["r", "g", "b"]
    assert len(requests) == 5
    assert client.sql("select count(*) as sets from events").arrow().to_pylist() == [{"sets": 3_000}]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("condition", "start", "end"),
    [
        ("r >= '2023-06-02T08:51:57Z' and r < '2023-06-02 08:51:58'", FIRST + 1_000, FIRST + 2_000),
        ("r between timestamp '2023-06-02 08:51:57' and timestamp '2023-06-02 08:51:58'", FIRST + 1_000, FIRST + 2_001),
        ("r = '2023-06-02 08:51:56.030'", FIRST + 30, FIRST + 31),
        ("b <= '2023-06-02 08:51:56.030'", None, FIRST + 31),
        ("g > '2023-06-02 08:51:57'", None, None),
        ("(r < '2023-06-02 08:51:57' or r > '2023-06-02 08:51:58') and b < '2023-06-02 08:51:59'", None, FIRST + 3_000),
        ("r >= to_timestamp(1685695917) at time zone 'UTC'", FIRST + 1_000, None),
        ("r in ('2023-06-02 08:51:56.030', '2023-06-02 08:51:57')", FIRST + 30, FIRST + 1_001),
        ("b - r > interval 5 milliseconds", None, None),
    ],
)
def test_conditions_on_times_are_the_range_of_the_request(client: Client, condition: str, start: int | None, end: int | None):
    rows, requests = asked(client, f"from events where {condition}")
    everything, _ = asked(client, f"with all_sets as materialized (from events) from all_sets where {condition}")
    assert rows == everything
    assert rows
    span = f"startTime={-(2**63) if start is None else start}&endTime={2**63 if end is None else end}"
    assert requests[0].partition("?")[2] == span
    assert all(f"?{span}" in request for request in requests)


@pytest.mark.broker
def test_conditions_that_no_row_meets_send_no_request(client: Client):
    assert asked(client, "from events where r > '2023-06-02' and r < '2023-06-01'") == ([], [])


@pytest.mark.broker
def test_every_view_has_its_tables_and_files_join_them(client: Client, tmp_path: Path):
    assert asked(client, "select id, value from dataset where value > 47")[0] == [
        {"id": "0049", "value": 49},
        {"id": "0048", "value": 48},
    ]
    assert asked(client, "from words order by name")[0] == [{"name": "b", "count": 9}, {"name": "c", "count": 9}]
    assert asked(client, "from words_types")[0] == [{"name": "a", "count": 9}]
    rows, requests = asked(client, """select sum("unique") as users from "my-users" where granularity = 'day'""")
    assert ([int(row["users"]) for row in rows], requests) == ([14], ["/my-users?granularity=day"])
    query = (
        """select granularity, count(*) as periods from "my-users" where start < '2016-07-11 14:00' group by all order by all"""
    )
    rows, requests = asked(client, query)
    assert rows == [{"granularity": "day", "periods": 1}, {"granularity": "minute", "periods": 21}]
    assert requests[0] == "/my-users?granularity=minute&end=1468245600"
    assert asked(client, """select count(*) as n from "my-users" where granularity = 'minute'""")[0] == [{"n": 900}]
    (tmp_path / "names.csv").write_text("id,name\n0049,Anna\n")
    names = f"read_csv('{tmp_path}/names.csv', all_varchar=true)"
    assert asked(client, f"from dataset join {names} using (id) select name, value")[0] == [{"name": "Anna", "value": 49}]


@pytest.mark.broker
def test_the_sequences_of_a_funnel_are_a_table_from_as_many_answers_as_needed(client: Client):
    rows, requests = asked(client, "from orders")
    assert sorted(row["key"] for row in rows) == sorted(str(number) for number in range(1_500))
    assert len(requests) == 3
    assert [row["created"] for row in rows] == sorted(row["created"] for row in rows)
    late, requests = asked(client, "select key from orders where created >= '2023-06-02 08:51:56.490' and paid is null")
    assert (len(late), requests) == (5, [f"/orders/sequences?startTime={FIRST + 490}"])
    early, requests = asked(client, "select key from orders where paid < '2023-06-02 08:51:56.010'")
    assert (len(early), requests) == (12, [f"/orders/sequences?endTime={FIRST + 10}"])
    _, requests = asked(client, "select key from orders where paid < '2023-06-02 08:51:56.010' or paid is null")
    assert requests[0] == "/orders/sequences"


@pytest.mark.broker
def test_errors_are_one_kind_with_their_cause(client: Client, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FirnlineError, match="the query: Catalog Error: Table with name nothing does not exist"):
        list(client.sql("from nothing"))
    with pytest.raises(FirnlineError, match="the query: Parser Error"):
        list(client.sql("selec events"))
    with pytest.raises(UnreachableError):
        list(Client(f"http://127.0.0.1:{free_port()}").sql("from events"))
    wrong = Table("events", "sets", "/events/get-sets", "ms", None, always={"startTime": 2, "endTime": 1})
    monkeypatch.setattr(module, "tables", lambda _: {"events": wrong})
    with pytest.raises(RefusedError, match="startTime"):
        list(client.sql("from events"))


@pytest.mark.broker
def test_a_row_of_an_unfinished_iteration_needs_one_answer(client: Client):
    found = client.sql("from events")
    assert next(iter(found))["r"] == moment(FIRST)


@pytest.mark.broker
def test_the_command_prints_rows_requests_json_and_csv(running: Service):
    url = f"http://127.0.0.1:{running.port}"
    query = "select r, b - r as took from events where r < '2023-06-02 08:51:56.010' order by r"

    def printed(*words: str) -> str:
        done = run("sql", query, "--url", url, *words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    first = str(moment(FIRST))
    assert first in printed()
    assert printed("--csv").splitlines()[:2] == ["r,took", f"{first},0:00:00.010000"]
    assert [json.loads(line)["r"] for line in printed("--json").splitlines()] == [
        str(moment(each[0])) for each in SETS if each[0] < FIRST + 10
    ]
    explained = printed("--explain").splitlines()
    assert explained[-1].startswith(f"GET /events/get-sets?startTime={-(2**63)}&endTime={FIRST + 10}: ")
    done = run("sql", "from nothing", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith("sql: the query: Catalog Error")


class Columns:
    """What a table needs of a query."""

    def schema(self, table: Table) -> pa.Schema:
        return pa.schema([pa.field(name, pa.int64(), nullable=name != "r") for name in "rgb"])


(EVENTS_TABLE,) = tables([{"name": "events", "view": "sets", "timeUnit": "ms"}]).values()
KINDS = pa.timestamp("us")
BOUNDS = st.integers(-5_000, 40_000)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 0) -> ds.Expression:
    if depth < 3 and draw(st.booleans()):
        one, other = draw(conditions(depth + 1)), draw(conditions(depth + 1))
        return draw(st.sampled_from([one & other, one | other, ~one]))
    field, bound = ds.field(draw(st.sampled_from("rgb"))), pa.scalar(draw(BOUNDS), KINDS)
    some = pa.array(draw(st.lists(BOUNDS, min_size=1, max_size=3)), KINDS)
    return draw(
        st.sampled_from(
            [field.is_null(), field < bound, field <= bound, field > bound, field >= bound, field == bound, field.isin(some)]
        )
    )


ROWS = [
    (r, g, b) for r in range(0, 36, 5) for g in (*range(r, 36, 3), None) for b in (*range(r if g is None else g, 36, 4), None)
]
ALL = pa.table(
    {
        name: pa.array([None if each is None else 1_000 * each for each in column], KINDS)
        for name, column in zip("rgb", zip(*ROWS, strict=True), strict=True)
    }
)


@given(conditions())
def test_a_request_has_every_row_that_meets_the_conditions(condition: ds.Expression):
    own = StreamTable(EVENTS_TABLE, Columns())  # type: ignore[arg-type]
    numbered = ds.dataset(ALL.append_column("row", pa.array(range(len(ROWS)))))
    meets = set(numbered.to_table(filter=condition).column("row").to_pylist())
    wanted: set[int] = set()
    for parameters in own._requests(condition):
        start, end = int(str(parameters["startTime"])), int(str(parameters["endTime"]))
        wanted |= {number for number, row in enumerate(ROWS) if start <= row[0] < end}
    assert meets <= wanted
