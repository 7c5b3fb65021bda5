"""Arbitrary bytes from the disk, over HTTP or in a record lead to a state, an answer or a refusal, and never to a crash."""

import asyncio
import contextlib
import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gateway
from actors.columns import snapshot
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.sinks.posting import KafkaWriter
from actors.sinks.writer import Writer
from actors.timeline.batch import Batch
from actors.timeline.span import EVER
from actors.views.kinds import VIEWS
from gateway.app import create_app
from gateway.stream import Served
from gateway.wire.limits import Allowance
from tests.actors.test_golden import GOLDEN, view_of
from tests.support.allowed import allowance
from tests.support.keeping import FOLDER, keeping
from tests.support.listed import listed
from tests.support.logged_disk import LoggedDisk, Touched
from tests.support.polled import polled
from tests.support.rendered import rendered
from tests.support.samples import SAMPLES
from tests.support.trees import file_of, spoilt

# What lies on the disk -----------------------------------------------------------------------------------------------


def outside(touched: Touched) -> list[tuple[str, Path]]:
    """Return the touched paths outside of the folder."""
    about = {("sync_folder", FOLDER.parent), ("names", FOLDER), ("make_folder", FOLDER), ("sync_folder", FOLDER)}
    return [(what, path) for what, path in touched.all - about if path.parent != FOLDER or path.name in {"", ".", ".."}]


ARABIC = "\u0660" * 9 + "\u0661"
"""Ten characters that `str.isdigit` takes for digits."""

NUMBERS = st.integers(0, 12).map(lambda number: f"{number:010}")
NAMES = (
    st.builds("{}-{}.firn{}".format, st.sampled_from(["checkpoint", "generation"]), NUMBERS, st.sampled_from(["", "", ".tmp"]))
    | st.builds("checkpoint-{}.firn".format, st.sampled_from(["9999999999", ARABIC, "-000000001", "00000000001"]))
    | st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=9).filter(
        lambda name: name not in {".", ".."}
    )
)
JUNK = st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"FIRNLINE" + data + b"FIRNLINE")


@given(st.dictionaries(NAMES, JUNK, max_size=6), st.none() | st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_folder_of_arbitrary_files_gives_no_checkpoint_and_foreign_files_stay(files: dict[str, bytes], committed: int | None):
    disk = LoggedDisk.of({FOLDER / name: data for name, data in files.items()}, {FOLDER})
    disk.before = touched = Touched()
    with keeping(disk, VIEWS["top"]()) as keeper:
        loaded = keeper.load(committed)
        assert (loaded.checkpoint_id, loaded.state, loaded.aged) == (0, None, ())
        for _ in range(2):
            assert keeper.save({"live": None, "aged": []}, frozenset()).checkpoint_id
        assert len(keeper.store.checkpoints()) == 2
        assert all("come twice" in each for each in keeper.troubles)
        ours = {"checkpoint", "generation"}
        others = {path: data for path, data in disk.contents().items() if path.name.partition("-")[0] not in ours}
        assert not outside(touched)
        assert others == {FOLDER / name: data for name, data in files.items() if name.partition("-")[0] not in ours}


WAYS_OUT = [
    "/etc/passwd",
    "../events/generation-0000000001.firn",
    "../../generation-0000000001.firn",
    "generation-0000000001.firn/..",
    "generation-0000000001.firn\n",
    "generation-0000000001.firn\0",
    "./generation-0000000001.firn",
    f"generation-{ARABIC}.firn",
    "generation-0000000001.firn.tmp",
    "checkpoint-0000000002.firn",
    "",
    ".",
    "..",
]


@given(st.lists(st.sampled_from(WAYS_OUT) | st.text(max_size=12), max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_file_name_in_a_checkpoint_leads_out_of_the_folder(names: list[str]):
    live = VIEWS["top"]().open(None).state()
    aged = [[number, name, 0, 9, 1, 100, bool(number % 2)] for number, name in enumerate(names)]
    secret = {Path("/etc/passwd"): b"root", FOLDER.parent / "generation-0000000001.firn": b"x"}
    files = {**secret, FOLDER / "checkpoint-0000000002.firn": bytes(file_of({"live": live, "aged": aged}, "checkpoint"))}
    disk = LoggedDisk.of(files, {FOLDER, Path("/etc")})
    disk.before = touched = Touched()
    with keeping(disk, VIEWS["top"]()) as keeper:
        loaded = keeper.load()
        assert loaded.checkpoint_id in {0, 2}
        assert all(each.frozen is None for each in loaded.aged)
        assert keeper.save({"live": None, "aged": []}, frozenset(names)).checkpoint_id
    assert not outside(touched)
    assert secret.items() <= disk.contents().items()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("kind", ["checkpoint", "generation"])
def test_a_changed_state_with_a_right_checksum_is_refused_or_loaded(name: str, kind: str):
    chance = random.Random(f"{name} {kind}")
    files = {FOLDER / path.name: path.read_bytes() for path in (GOLDEN / name).iterdir()}
    paths = sorted(path for path in files if path.name.startswith(kind))
    for _ in range(60 if paths else 0):
        path = paths[-1] if kind == "checkpoint" else chance.choice(paths)
        other = spoilt(snapshot.read(kind, files[path]), chance)
        disk = LoggedDisk.of({**files, path: bytes(file_of(other, kind))}, {FOLDER})
        disk.before = touched = Touched()
        with keeping(disk, view_of(name)) as keeper:
            loaded = keeper.load()
            assert loaded.checkpoint_id > 0, "the other checkpoint is good"
            assert keeper.save({"live": None, "aged": []}, frozenset()).checkpoint_id
        assert not outside(touched)


# What comes over HTTP ------------------------------------------------------------------------------------------------


class Http:
    """The application over real streams, called as a server calls it."""

    def __init__(self, app: Any, limits: Allowance) -> None:
        self.app = app
        self.limits = limits
        self.loop = asyncio.new_event_loop()

    def request(self, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
        """Return status, headers and body. Raises the application's exceptions, which a server reports as 500.

        No stream reads the record that a DELETE writes, so a DELETE waits until its deadline, which is near.
        """
        usual = self.limits.now
        if method == "DELETE":
            self.limits.now = replace(usual, deadline_s=0.05)
        try:
            return self.loop.run_until_complete(self._request(method, path, query, headers, body))
        finally:
            self.limits.now = usual

    async def _request(self, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "root_path": "",
            "query_string": query,
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        sent: list[Any] = []
        parts = [body[: len(body) // 2], body[len(body) // 2 :]]

        async def receive() -> Any:
            if parts:
                return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
            await asyncio.sleep(3_600)  # the client stays
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


@pytest.fixture(scope="module")
def http(embedded: str) -> Iterator[Http]:
    with contextlib.ExitStack() as around:
        served, guardian = [], None
        system = System(Dispatcher())
        around.callback(system.dispatcher.close)
        topic = f"m-{uuid.uuid4().hex}"
        writer = Writer.start(
            system,
            stream="top",
            connect=lambda: KafkaWriter({"bootstrap.servers": embedded}, topic, partitions=4, timeout_s=5.0),
        )
        around.callback(writer.stop)
        for name in VIEWS:
            source = SAMPLES[name].records(random.Random(1))
            values = [b"no event", *(value for _ in range(9) for value in next(source))]
            own = around.enter_context(listed(view_of(name), values))
            own.settled()
            guardian = own.running.guardian
            served.append(
                Served(
                    name,
                    name,
                    own.running.running.manager,
                    writer=writer if name == "top" else None,
                    steps=("R", "G", "B") if name == "sets" else (),
                )
            )
        limits = allowance(deadline_s=5.0, max_queries=8, max_body_bytes=1_000)
        made = Http(create_app(served, guardian, limits), limits)
        yield made
        made.loop.close()


PATHS = [
    b"/",
    b"/livez",
    b"/readyz",
    b"/dead-letters",
    b"/events/CountByEventType",
    b"/events/CountWords",
    b"/words/CountByEventType",
    b"/words/CountWords",
    b"/sets/get-sets",
    b"/segments",
    b"/segments/pending",
    b"/segments/1",
    b"/segments/99999999999999999999",
    b"/segments/" + b"9" * 5_000,
    b"/top",
    b"/uniques",
    b"/static/",
    b"/static/../app.py",
    b"/static/%2e%2e/app.py",
    b"/static/%00",
    *(b"/" + name.encode() + end for name in VIEWS for end in (b"/get-stats", b"/rejects")),
]
KEYS = [
    *("startTime", "endTime", "limit", "cursor", "coverage", "after", "line", "granularity", "start", "end"),
    *("last", "detail", "StartTime", "", "é", "limit[]"),
]
WORDS = [
    *(
        "0",
        "1",
        "-1",
        "+1",
        "7",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1e3",
        "0x10",
        "\uff11",
        "²",
    ),
    *("9" * 20, "9" * 5_000, "nan", "inf", "1.5", "-0.0", "999999999999999.999999999", "true", "", " ", "null", "\0", "�"),
    *("minute", "hour", "day", "week", "month", "year", "2016-07-11T13:00:00Z", "2016-07-11", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59-23:59", "2016-W28-1", "1.2.3", "1-1-1", "1,1,1", "1.1.1.0", "AAAA", "%", "%zz", "..", "/etc/passwd"),
]
PAIRS = st.tuples(
    st.sampled_from(KEYS) | st.text(max_size=5), st.sampled_from(WORDS) | st.integers().map(str) | st.text(max_size=9)
)
QUERIES = st.lists(PAIRS, max_size=4).map(
    lambda pairs: b"&".join(
        quote_from_bytes(key.encode("utf-8", "surrogatepass")).encode()
        + b"="
        + quote_from_bytes(value.encode("utf-8", "surrogatepass")).encode()
        for key, value in pairs
    )
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map(str.encode)
ANY_PATH = st.binary(max_size=12).map(lambda path: b"/" + quote_from_bytes(path).encode())
HEADERS = st.lists(
    st.sampled_from(
        [
            (b"accept", b"application/x-ndjson"),
            (b"accept", b"\xff"),
            (b"accept", b"text/html"),
            (b"content-type", b"application/json"),
            (b"content-type", b"text/plain; charset=nope"),
            (b"content-length", b"99999"),
            (b"content-length", b"-1"),
            (b"range", b"bytes=0-1"),
            (b"range", b"bytes=9-1,-"),
            (b"if-none-match", b"*"),
            (b"last-event-id", b"x"),
        ]
    ),
    max_size=3,
    unique_by=lambda header: header[0],
)
MISSING = (Path(gateway.__path__[0]) / "page" / "static" / "missing.html").read_bytes()
BODIES = st.binary(max_size=40) | st.sampled_from(
    [
        b'{"items":["a_1"]}',
        b'{"items":["a_1","\\ud800_1"]}',
        b'{"items":"a_1"}',
        b'{"items":[1]}',
        b'{"items":[]}',
        b"[" * 900,
        b'{"items":[' + b"[" * 900,
        b'{"items":["' + b"x" * 2_000 + b'_1"]}',
        b"\xff\xfe",
        b"null",
    ]
)


@given(
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"]),
    st.tuples(st.sampled_from(PATHS) | ANY_PATH, QUERIES),
    HEADERS,
    BODIES,
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_request_is_answered_or_refused_with_an_error_of_one_shape(
    http: Http, method: str, target: tuple[bytes, bytes], headers: list[tuple[bytes, bytes]], body: bytes
):
    path, query = target
    status, returned, answer = http.request(method, path, query, headers, body)
    assert status < 500 or status in {503, 504}, answer
    if status == 404 and returned[b"content-type"].startswith(b"text/html"):  # a page for browsers, which quotes nothing
        assert (b"accept", b"text/html") in headers
        assert method == "HEAD" or answer == MISSING
    elif status >= 400 and method != "HEAD" and path != b"/readyz":
        assert returned[b"content-type"] == b"application/json"
        problem = json.loads(answer)
        assert set(problem) == {"error"}
        assert set(problem["error"]) == {"status", "where", "expected", "got", "request"}
        assert problem["error"]["status"] == status
        assert len(answer) < 8_000


# What comes in a record ----------------------------------------------------------------------------------------------


def some_records(name: str) -> list[bytes]:
    source = SAMPLES[name].records(random.Random(name))
    return [value for _ in range(4) for value in next(source)][:40]


def changed(value: bytes, seed: int) -> bytes:
    """Return a record with some bytes changed, lost, doubled or cut off."""
    chance, data = random.Random(seed), bytearray(value)
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0 if place < len(data):
                data[place] = chance.choice([0, 0x22, 0x2D, 0x39, 0x5C, 0x5F, 0x7F, 0xC3, 0xFF, chance.randrange(256)])
            case 1:
                del data[place : place + 3]
            case 2:
                data[place:place] = data[:place][-20:] * chance.choice([1, 20])
            case _:
                del data[chance.randrange(len(data) + 1) :]
    return bytes(data)


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_every_record_is_an_event_or_refused(name: str, data: st.DataObject):
    samples = some_records(name)
    near = st.builds(changed, st.sampled_from(samples), st.integers(0, 2**32))
    values = data.draw(st.lists(st.none() | st.binary(max_size=40) | near | st.sampled_from(samples), max_size=30))
    view = view_of(name)
    times, batch, accepted, refusals = view.decode(polled(values))
    refused = [place for place, _ in refusals]
    assert sorted(set(refused)) == refused
    left = [] if accepted is None else [place for place, good in enumerate(accepted) if not good]
    if "record" in SAMPLES[name].options:  # a record of another name is of no interest
        others = [place for place in left if place not in refused]
        assert all(isinstance(json.loads(values[place] or b"")["type"], str) for place in others)
        left = [place for place in left if place in refused]
    else:
        others = []
    assert left == refused
    assert times.size + len(refusals) + len(others) == len(values)
    live = view.open(None)
    lost = live.add(batch.ordered() if isinstance(batch, Batch) else batch, None) if times.size else {}
    assert live.meta().events + sum(lost.values()) == times.size
    for arguments in SAMPLES[name].arguments:
        shown = b"".join(rendered(view, view.merge([live.read(EVER, arguments)]), EVER, arguments, "json", {}))
        json.loads(shown)
    assert snapshot.read("live", bytes(file_of(live.state(), "live"))) is not None
