"""What a newcomer meets: streams with names of his own, without records, without answers, and questions to the wrong one."""

import asyncio
import contextlib
import csv
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

import firnline
from config.load import load
from config.settings import Checkpoints
from firnline import AsyncClient, Client, FirnlineError, RefusedError
from firnline.origin import Origin
from scripts.service.keeping import Keeping
from tests.conftest import Send, create_topic
from tests.support.command_line import run
from tests.support.service import Service, service

START, GAP_MS = 1_795_773_600_000, 9_000
FORM: dict[str, Any] = {"format": "json", "time": {"field": "/at", "unit": "ms"}}
STEPS: dict[str, Any] = {"steps": ["cut", "wled"], "record": {**FORM, "step": {"field": "/station"}}}
VIEWS: dict[str, dict[str, Any]] = {
    "sets": STEPS,
    "top": {"record": {"format": "json", "id": "/part", "value": "/at"}},
    "segments": {"segments": 2},
    "uniques": {"record": {**FORM, "user": "/part"}},
    "words": {"record": {**FORM, "type": "/station", "text": "/text"}},
    "funnel": {**STEPS, "within": "1h", "record": {**STEPS["record"], "key": "/part"}},
}
COMMANDS = {
    "sets": ("sets", "explain cut now", "summary"),
    "top": ("top", "summary"),
    "segments": ("segments", "segments --pending", "summary"),
    "uniques": ("uniques", "summary"),
    "words": ("words", "words --types", "words --last 5", "summary"),
    "funnel": ("funnel", "funnel --state open", "funnel --missing wled", "funnel --key p7", "summary"),
}
ANY = ("stats", "rejects")


def config(folder: Path, topics: dict[str, str], views: dict[str, str]) -> Path:
    """Write a configuration with a stream of each name: its topic and its view."""
    streams = {name: {"view": view, "source": {"topic": topics[name]}, **VIEWS[view]} for name, view in views.items()}
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"data_dir": str(folder / "data"), "streams": streams}))
    return path


def only(streams: Iterable[str]) -> list[str]:
    return [word for stream in streams for word in ("--only", stream)]


@pytest.fixture(scope="module")
def running(broker: str, send: Send, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service with two streams of each view: `new-VIEW` without records, `odd-VIEW` with records and few answers."""
    views = {f"{kind}-{view}": view for view in VIEWS for kind in ("new", "odd")}
    empty, full, batches = (create_topic(broker) for _ in range(3))
    topics = {name: empty if name.startswith("new") else batches if views[name] == "segments" else full for name in views}
    values = [
        json.dumps(
            {"at": START + GAP_MS * number, "station": ("cut", "weld")[number % 2], "part": f"p{number % 30}", "text": "a b"}
        ).encode()
        for number in range(40)
    ]
    send(broker, full, values, [0] * len(values))
    send(broker, batches, [b'{"batch_id": 1, "segment_id": 0, "data": [1]}'], [0])
    path = config(tmp_path_factory.mktemp("mine"), topics, views)
    with service(broker, None, stream="odd-sets", also=["--config", str(path), *only(views)]) as found:
        for view in VIEWS:
            found.settled(1 if view == "segments" else 40, f"odd-{view}")
        yield found


@pytest.fixture
def url(running: Service) -> str:
    return f"http://127.0.0.1:{running.port}"


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["new", "odd"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_command_answers_for_a_stream_without_records_and_without_answers(url: str, view: str, kind: str):
    for command in (*COMMANDS[view], *ANY):
        for more in ([], ["--json"]):
            done = run("query", *command.split(), "--stream", f"{kind}-{view}", "--url", url, *more)
            assert (done.returncode, done.stderr) == (0, ""), (command, done.stderr)
            assert done.stdout.strip(), command
            if more:
                json.loads(done.stdout)
            elif kind == "new" and command not in {"stats", "explain cut now"} and not command.startswith("funnel"):
                assert done.stdout.count("\n") == 1, "one line says what is missing"
                assert "no event was read from topic" in done.stdout, command


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["new", "odd"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_answer_comes_as_csv_with_times_by_rfc_3339(url: str, view: str, kind: str):
    for command in COMMANDS[view]:
        done = run("query", *command.split(), "--stream", f"{kind}-{view}", "--url", url, "--csv")
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(done.stdout.splitlines()))
        assert bool(rows) is not bool(done.stderr), "without rows a line says what is missing"
        assert done.stderr.count("\n") <= 1
        for row in rows:
            assert None not in row.values(), "as many cells as names"
            for name in {"start", "end", "time", "cut", "wled"} & set(row) if view != "segments" else ():
                assert not row[name] or datetime.fromisoformat(row[name]).tzinfo == UTC, (command, row)


@pytest.mark.broker
@pytest.mark.parametrize("words", [("uniques", "--stream", "odd-uniques"), ("funnel", "--stream", "odd-funnel", "--key", "p8")])
def test_csv_has_the_newest_rows_as_the_table_has(url: str, words: tuple[str, ...]):
    def printed(limit: int) -> list[str]:
        return run("query", *words, "--url", url, "--csv", "--limit", str(limit)).stdout.splitlines()

    head, *every = printed(1_000)
    assert len(every) > 1
    assert printed(1) == [head, every[-1]]


@pytest.mark.parametrize("view", VIEWS)
def test_json_and_csv_together_are_wrong_use_whether_a_service_runs_or_not(view: str):
    for forms in (("--csv", "--json"), ("--json", "--csv")):
        both = run("query", *COMMANDS[view][0].split(), "--url", "http://127.0.0.1:9", *forms)
        assert (both.returncode, both.stdout) == (2, "")
        assert "expected one of --json and --csv" in both.stderr


@pytest.mark.broker
def test_a_stream_that_refuses_all_records_says_so_in_each_command(broker: str, send: Send, topic: str, tmp_path: Path):
    send(broker, topic, [b'{"station": "cut"}'] * 30 + [b"hello"] * 3 + [b'{"at": 1, "station": "paint"}'] * 2, [0] * 35)
    views = {name: name for name in VIEWS}
    path = config(tmp_path, dict.fromkeys(views, topic), views)
    with service(broker, None, stream="sets", also=["--config", str(path), *only(views)]) as running:
        for view in VIEWS:
            stats = running.settled(35, view)
            assert stats["events"] == 0, view
            done = run("query", "summary", "--stream", view, "--url", f"http://127.0.0.1:{running.port}")
            assert done.stdout.startswith(f"{view}: nothing yet: none of 35 records of topic {topic} is an event: ")
            assert f"{sum(stats['rejects'].values())} were refused, most often " in done.stdout
            assert bool(stats["other"]) == ("have no step of the configuration" in done.stdout)
        asked = run("query", "sets", "--stream", "sets", "--url", f"http://127.0.0.1:{running.port}", "--csv")
        assert (asked.returncode, asked.stdout) == (0, "")
        assert asked.stderr.startswith("query: sets: nothing yet: none of 35 records")


@pytest.mark.broker
def test_sets_that_wait_for_a_step_that_never_comes_name_it(running: Service, url: str):
    for command in ("sets", "summary"):
        told = run("query", command, "--stream", "odd-sets", "--url", url).stdout
        assert "odd-sets: nothing yet: 20 events wait for a match, none of step wled" in told
    total = running.get("/odd-sets/get-stats")["total"]
    assert total["waitingByStep"] == {"cut": 20, "wled": 0}
    assert total["outOfOrderMessagesCount"] == 20


@pytest.mark.broker
@pytest.mark.parametrize("view", VIEWS)
def test_a_question_that_can_mean_two_streams_or_none_names_those_that_there_are(url: str, view: str):
    for command in COMMANDS[view]:
        done = run("query", *command.split(), "--url", url)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"new-{view} ({view})" in done.stderr
        near = run("query", *command.split(), "--url", url, "--stream", f"odd-{view}s")
        assert near.stderr == f"query: stream: expected odd-{view}, perhaps, got odd-{view}s\n"
        if command != "summary":
            other = next(each for each in VIEWS if each != view)
            wrong = run("query", *command.split(), "--url", url, "--stream", f"new-{other}")
            assert f"stream: expected a stream of the view {view}; the service has " in wrong.stderr


def answers(client: Client) -> dict[str, firnline.Rows[Any]]:
    return {
        "sets": client.sets(),
        "explain": client.explain("cut", START),
        "top": client.top(),
        "segments": client.segments(),
        "uniques": client.uniques(),
        "words": client.words(),
        "funnel": client.funnel(),
        "sequences": client.sequences(),
        "story": client.story("p7"),
    }


@pytest.mark.broker
def test_the_only_stream_of_a_view_is_asked_whatever_its_name(broker: str, send: Send, tmp_path: Path):
    """One stream of each view, none with the usual name: all functions, rows in all forms, both clients."""
    views = {f"my-{view}": view for view in VIEWS}
    empty, full = create_topic(broker), create_topic(broker)
    topics = {name: full if name == "my-sets" else empty for name in views}
    values = [json.dumps({"at": START + place, "station": step}).encode() for place, step in enumerate(["cut", "wled"] * 5)]
    send(broker, full, values, [0] * len(values))
    path = config(tmp_path, topics, views)
    with service(broker, None, stream="my-sets", also=["--config", str(path), *only(views)]) as found:
        found.settled(10, "my-sets")
        url = f"http://127.0.0.1:{found.port}"
        for name, rows in answers(Client(url)).items():
            assert [list(rows), rows.arrow().num_rows] == [list(rows), len(list(rows))], name
        client = Client(url, times="datetime")
        assert len(client.sets()) == 5
        assert client.sets(limit=1).to_polars().columns == ["cut", "wled"]
        assert str(next(iter(Client(url, times="datetime").sets()))["cut"]) == "2026-11-27 10:00:00+00:00"
        assert "Sets of /my-sets/get-sets" in repr(client.sets())
        assert "/answers/" in Client(url).sets().url()
        for ask in (client.summary, client.stats, client.rejects):
            with pytest.raises(RefusedError, match=r"stream: expected a stream; the service has my-sets \(sets\), "):
                list(ask())
        with pytest.raises(RefusedError, match="stream: expected a stream of the view top; the service has"):
            list(client.top(stream="my-sets"))
        for write in (lambda: client.post(["a_1"]), client.clear):
            with pytest.raises(RefusedError, match="got dataset"):  # a write goes to no stream that was not named
                write()

        async def in_a_loop() -> tuple[int, list[Any], str]:
            async with AsyncClient(url) as other, AsyncClient(url, times="datetime") as dated:
                first = [each async for each in dated.sets(limit=1)]
                with pytest.raises(RefusedError, match="the service has my-sets"):
                    await other.stats()
                return await other.sets().count(), first, await other.sets().url()

        count, first, copy = asyncio.run(in_a_loop())
        assert (count, str(first[0]["wled"])) == (5, "2026-11-27 10:00:00.001000+00:00")
        assert "/answers/" in copy
        lines = run("query", "sets", "--url", url, "--limit", "2", "--csv").stdout
        first = "2026-11-27T10:00:00.000Z,2026-11-27T10:00:00.001Z"
        assert lines == f"cut,wled\n{first}\n2026-11-27T10:00:00.002Z,2026-11-27T10:00:00.003Z\n"
        for view, commands in COMMANDS.items():
            for command in commands[:1]:
                assert run("query", *command.split(), "--url", url).returncode == 0, view
        for query, said in (
            ("select * from events", 'Table with name events does not exist; the tables are "my-'),
            ("select count(*) from my-sets", 'syntax error at or near "-"; quote the name: "my-sets"'),
        ):
            with pytest.raises(FirnlineError, match="the query: ") as told:
                list(Client(url).sql(query))
            assert said in str(told.value)


def test_the_client_has_a_version():
    with contextlib.suppress(PackageNotFoundError):
        assert firnline.__version__ == version("firnline")
        return
    assert firnline.__version__ == "checkout"


def test_a_stream_is_meant_by_its_name_or_because_it_is_the_only_one():
    def among(of: Origin, *streams: tuple[str, str]) -> str:
        return of.among([{"name": name, "view": view} for name, view in streams]).stream

    usual = Origin.of(None, "events", "sets")
    assert among(usual, ("events", "sets"), ("b", "sets")) == "events"
    assert among(usual, ("b", "sets"), ("c", "top")) == "b"
    assert among(usual, ("events", "words"), ("b", "sets")) == "b"
    for of, streams in ((usual, [("b", "sets"), ("c", "sets")]), (usual, []), (Origin("x", "sets"), [("b", "sets")])):
        with pytest.raises(RefusedError):
            among(of, *streams)
    assert usual.renamed("/events/keys/events", Origin("b")) == "/b/keys/events"
    assert usual.renamed("/eventsx", Origin("b")) == "/eventsx"


def test_changed_settings_are_reported_at_their_first_start_alone(tmp_path: Path):
    keeping = Keeping(Checkpoints(), tmp_path)

    def start(steps: str) -> list[Path]:
        stanza = load(None, [f"streams={{s: {{source: {{topic: t}}, steps: [{steps}]}}}}"], {}).streams["s"]
        store = keeping.store_of("s", stanza)
        forsaken = keeping.forsaken("s", store)
        store.folder.mkdir(exist_ok=True)  # as its first checkpoint does
        return forsaken

    assert [len(start(steps)) for steps in ("A, B", "A, C", "A, C", "A, B")] == [0, 1, 0, 0]
