"""The asynchronous client against the real service and against servers that misbehave; and rows with datetimes."""

import asyncio
import inspect
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import firnline
from firnline import AsyncClient, Client, FirnlineError, RefusedError, UnreachableError
from firnline.moments import Times
from tests.support.service import Service, free_port, service

START = 1_795_773_600_000
SETS = [(START + 700 * number, START + 700 * number + 10, START + 700 * number + 10 + number) for number in range(1_500)]
Asked = Callable[[AsyncClient], Awaitable[Any]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service with 1,500 sets, answers of at most 700 rows, and a funnel of the same events."""
    path, orders = tmp_path_factory.mktemp("in") / "events", tmp_path_factory.mktemp("in") / "orders"
    events = sorted((time, step) for each in SETS for time, step in zip(each, "RGB", strict=True))
    path.write_text("".join(f"{step}_{time}\n" for time, step in events))
    lines = [
        {"id": str(number), "type": kind, "meta": {"ts": f"2026-11-27T10:00:{number:02}.{place}00Z"}}
        for number in range(9)
        for place, kind in enumerate(("order_created", "payment_ok", "parcel_out")[: 1 + number % 3])
    ]
    orders.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [f"streams.events.source={{file: {path}}}", f"streams.funnel.source={{file: {orders}}}", "http.max_rows=700"]
    with service(None, None, *words, also=["--only", "events", "--only", "funnel"]) as served:
        served.settled(len(events))
        served.settled(len(lines), "funnel")
        yield served


def both(running: Service, asked: Callable[[Any], Any], again: Asked, **how: Any) -> tuple[Any, Any]:
    """Return what a client and an asynchronous one find."""
    url = f"http://127.0.0.1:{running.port}"

    async def found() -> Any:
        async with AsyncClient(url, **how) as client:
            return await again(client)

    return asked(Client(url, **how)), asyncio.run(found())


async def listed(rows: Any) -> list[Any]:
    return [each async for each in rows]


@pytest.mark.parametrize("times", ["number", "datetime"])
def test_both_clients_find_the_same_rows(running: Service, times: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("firnline.rows.PAGE", 450)
    for ask in (
        lambda client: client.sets(),
        lambda client: client.sets(START + 7_000, "2026-11-27T10:01:00Z", limit=30),
        lambda client: client.explain("R", START),
        lambda client: client.summary(by="1m"),
        lambda client: client.summary(stream="funnel"),
        lambda client: client.funnel(by="hour"),
        lambda client: client.sequences(limit=4),
        lambda client: client.story("5"),
    ):
        rows, again = both(
            running, lambda client, ask=ask: list(ask(client)), lambda client, ask=ask: listed(ask(client)), times=times
        )
        assert rows == again != []
        table, again = both(
            running, lambda client, ask=ask: ask(client).arrow(), lambda client, ask=ask: ask(client).arrow(), times=times
        )
        assert table.equals(again)
        assert table.schema.metadata == again.schema.metadata
        assert table.num_rows == len(rows)


def test_datetimes_are_the_moments_of_the_numbers(running: Service):
    client = Client(f"http://127.0.0.1:{running.port}")
    numbers, dated = list(client.sets()), list(client.sets().datetimes())
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert dated == [{step: epoch + timedelta(milliseconds=time) for step, time in each.items()} for each in numbers]
    assert client.sets().datetimes().arrow().to_pylist() == dated
    (row, *_) = client.summary(by="1m", stream="funnel").datetimes()
    assert (row["start"], row["end"]) == (datetime(2026, 11, 27, 10, 0, tzinfo=UTC), datetime(2026, 11, 27, 10, 1, tzinfo=UTC))
    (sequence,) = client.sequences(key="1").datetimes()
    assert sequence["steps"] == {
        "created": datetime(2026, 11, 27, 10, 0, 1, tzinfo=UTC),
        "paid": datetime(2026, 11, 27, 10, 0, 1, 100_000, tzinfo=UTC),
        "shipped": None,
    }
    assert "2026-11-27 10:00:00+00:00" in repr(client.sets().datetimes())


@pytest.mark.parametrize(("value", "unit", "wanted"), [(7, "batch", 7), (None, "ms", None), ("a", "ms", "a")])
def test_what_is_no_time_stays_as_it_is(value: Any, unit: str, wanted: Any):
    assert Times(None).dated({"x": value}, unit) == {"x": wanted}


def test_a_time_beyond_all_datetimes_is_one_error():
    with pytest.raises(FirnlineError, match="in no year from 1 to 9999"):
        Times(None).dated({"x": 2**62}, "s")
    assert Times(None).dated({"x": -1}, "ns") == {"x": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)}


def test_numbers_copies_and_json_are_the_same(running: Service):
    assert both(running, lambda client: len(client.sets()), lambda client: client.sets().count()) == (1_500, 1_500)
    assert both(running, lambda client: len(client.sets(limit=3)), lambda client: client.sets(limit=3).count()) == (3, 3)
    one, other = both(running, lambda client: client.streams(), lambda client: client.streams())
    assert [each["name"] for each in one["streams"]] == [each["name"] for each in other["streams"]] == ["events", "funnel"]
    copies = both(running, lambda client: client.sets().url(), lambda client: client.sets().url())
    one, other = (running.request(each.removeprefix(f"http://127.0.0.1:{running.port}"))[2] for each in copies)
    assert one == other
    assert len(one.splitlines()) == 701
    one, other = both(running, lambda client: client.get("/livez"), lambda client: client.get("/livez"))
    assert one == other == {"live": True}
    frames = both(running, lambda client: client.sets(limit=3).to_polars(), lambda client: client.sets(limit=3).to_polars())
    assert frames[0].equals(frames[1])


def test_many_requests_wait_at_once_over_one_client(running: Service):
    async def asked() -> list[list[Any]]:
        async with AsyncClient(f"http://127.0.0.1:{running.port}") as client:
            return await asyncio.gather(*(listed(client.sets(START + 700 * k, START + 700 * (k + 3))) for k in range(40)))

    found = asyncio.run(asked())
    assert [[each["r"] for each in rows] for rows in found] == [[START + 700 * (k + j) for j in range(3)] for k in range(40)]


def test_errors_are_those_of_the_client(running: Service):
    def error(ask: Asked, url: str) -> Exception:
        async def asked() -> None:
            async with AsyncClient(url, tries=1) as client:
                await ask(client)

        with pytest.raises((FirnlineError, ValueError)) as caught:
            asyncio.run(asked())
        return caught.value

    here = f"http://127.0.0.1:{running.port}"
    refused = error(lambda client: listed(client.sets(5, 1)), here)
    assert isinstance(refused, RefusedError)
    assert (refused.status, refused.where) == (400, "query endTime")
    gone = error(lambda client: listed(client.sets()), f"http://127.0.0.1:{free_port()}")
    assert isinstance(gone, UnreachableError)
    assert str(gone).endswith("is the service running?")
    assert isinstance(error(lambda client: client.streams(), "ftp://x"), ValueError)


@asynccontextmanager
async def serving(answers: list[bytes]) -> AsyncIterator[tuple[AsyncClient, list[str]]]:
    """Yield a client of a server that gives these raw responses, one a request, and the requests that came."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.path)
            self.wfile.write(answers.pop(0))
            self.close_connection = True

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        async with AsyncClient(f"http://127.0.0.1:{server.server_port}") as client:
            yield client, came
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()


BUSY = b"HTTP/1.1 503 busy\r\nRetry-After: 0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
GOOD = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 14\r\n\r\n{"count":"ok"}'
CUT = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n'


def test_a_busy_service_is_asked_again_and_a_post_is_not():
    async def asked() -> None:
        async with serving([BUSY, BUSY, GOOD, BUSY]) as (client, came):
            assert await client.get("/x") == {"count": "ok"}
            assert came == ["/x"] * 3
            with pytest.raises(RefusedError) as caught:
                await client.post(["a_1"])
            assert (caught.value.status, len(came)) == (503, 4)

    asyncio.run(asked())


def test_a_request_on_a_connection_that_is_closed_meanwhile_is_sent_again_and_a_post_is_not():
    async def asked() -> None:
        async with serving([b"", GOOD, b""]) as (client, came):
            assert await client.get("/x") == {"count": "ok"}
            assert came == ["/x"] * 2
            with pytest.raises(UnreachableError):
                await client.post(["a_1"])
            assert len(came) == 3

    asyncio.run(asked())


def test_an_answer_that_breaks_off_is_an_error():
    async def asked() -> None:
        async with serving([CUT]) as (client, _):
            with pytest.raises(UnreachableError):
                await listed(client.words())

    asyncio.run(asked())


def test_the_asynchronous_client_has_every_function_but_sql():
    of = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    missing = of - {name for name in dir(AsyncClient) if not name.startswith("_")}
    assert missing == {"sql", "get_of", "state_of"}
    assert AsyncClient.sets.__doc__ == Client.sets.__doc__
    assert list(inspect.signature(AsyncClient.words).parameters) == list(inspect.signature(Client.words).parameters)
    wanted = list(inspect.signature(AsyncClient).parameters)
    assert wanted == [name for name in inspect.signature(Client).parameters if name != "transport"]


def test_dir_lists_what_is_imported_at_its_first_use():
    assert {"AsyncClient", "sets", "summary", "__version__"} & set(dir(firnline)) >= {"AsyncClient", "sets", "summary"}
    code = "import firnline, sys; assert 'sets' in dir(firnline); print('httpx' in sys.modules, 'msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_httpx_the_error_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(FirnlineError, match=r"pip install httpx"):
        AsyncClient()
