"""`firnline init`: from the newest records of a topic to a configuration that reads them, on a real broker and alone."""

import json
import os
import random
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from hypothesis import given, settings
from hypothesis import strategies as st

from config.load import load
from config.streams import STREAMS
from scripts.cli import topic_records
from scripts.cli.configuration.tried import tried
from scripts.cli.init.members import Member, members_of
from scripts.cli.init.proposal import propose, view_for
from scripts.cli.init.roles import guesses, order_of, unit_of
from scripts.cli.init.writing import yaml_of
from scripts.cli.topic_records import Given
from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.conftest import Send
from tests.support.command_line import run
from tests.support.service import free_port, service
from tests.support.waiting import PATIENCE_S

START = 1_795_773_600_000


def records_of(pattern: str, count: int = 600) -> list[Given]:
    (chunk,) = chunks(pattern, Spec(count, START, 3, 0, 20, 5, 5, 0.001))
    rows = zip(chunk.values, chunk.partitions, strict=True)
    return [Given(f"{partition}/{number}", value, None, START + number) for number, (value, partition) in enumerate(rows)]


def state(broker: str) -> tuple[set[str], set[str]]:
    """Return the topics and the groups of the cluster, except those of other tests that run now."""
    admin = AdminClient({"bootstrap.servers": broker})
    groups = {each.group_id for each in admin.list_consumer_groups().result().valid}
    return set(admin.list_topics(timeout=PATIENCE_S).topics), {group for group in groups if not group.startswith("t-")}


@pytest.mark.parametrize(
    ("pattern", "view"),
    [
        ("orders", "sets"),
        ("clicks", "uniques"),
        ("shuffled", "sets"),
        ("top", "top"),
        ("segments", "segments"),
        ("uniques", "uniques"),
        ("words", "words"),
    ],
)
def test_records_of_each_pattern_are_read_by_the_view_that_fits_them(pattern: str, view: str, tmp_path: Path):
    records = records_of(pattern)
    assert view_for(records) == view
    proposal = propose("t", view, records)
    text = yaml_of("s", {"bootstrap.servers": "127.0.0.1:9092"}, proposal, len(records), "run")
    (tmp_path / "s.yaml").write_text(text)
    stream = load(tmp_path / "s.yaml", [], {}).streams["s"]
    events = sum(each.read == "event" for each in tried(stream, records))
    assert events == proposal.events
    assert events > 0.8 * len(records)  # the orders have refunds, which are no step
    assert len([line for line in text.splitlines() if line.strip()]) <= 20


def test_a_funnel_of_orders_has_the_key_that_joins_their_steps(tmp_path: Path):
    records = records_of("orders")
    proposal = propose("orders", "funnel", records)
    assert (proposal.stanza["record"]["key"], proposal.stanza["within"]) == ("/id", "1h")
    assert proposal.events == propose("orders", "sets", records).events
    (tmp_path / "s.yaml").write_text(yaml_of("s", {"bootstrap.servers": "127.0.0.1:9092"}, proposal, len(records), "run"))
    assert load(tmp_path / "s.yaml", [], {}).streams["s"].step_names == ("order-created", "payment-ok", "parcel-out")


def test_the_order_of_steps_is_that_of_what_happens_to_one_thing():
    proposal = propose("orders", "sets", records_of("orders"))
    assert proposal.stanza["steps"] == ["order-created", "payment-ok", "parcel-out"]
    assert proposal.stanza["record"]["time"] == {"field": "/meta/ts", "unit": "rfc3339"}
    assert "as /id shows" in proposal.remarks["steps"]
    assert "refund 103" in proposal.remarks["steps"]
    assert propose("t", "sets", records_of("shuffled")).stanza["steps"] == ["R", "G", "B"]


@pytest.mark.parametrize(("unit", "per_s"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@given(at=st.integers(min_value=700_000_000, max_value=4_000_000_000), more=st.integers(0, 999))
def test_the_unit_of_a_number_follows_from_its_size(unit: str, per_s: int, at: int, more: int):
    assert unit_of(Member("/t", ("t",), {0: at * per_s + more * per_s // 1000}), 1) == unit


@pytest.mark.parametrize(
    ("role", "document", "pointer"),
    [
        ("time", {"expires_at": START + 1, "createdAt": START, "updated": START}, "/createdAt"),
        ("time", {"n": 5, "when": "2026-11-27T10:00:00.1+01:00"}, "/when"),
        ("user", {"id": "e1", "user": {"id": "u1"}}, "/user/id"),
        ("id", {"id": 7, "at": START}, "/id"),
        ("value", {"at": START, "score": 3, "level": 2}, "/score"),
        ("text", {"kind": "a", "message": "it is late"}, "/message"),
        ("data", {"tags": ["a"], "data": [1, 2]}, "/data"),
    ],
)
def test_a_role_goes_to_the_member_whose_values_and_name_fit(role: str, document: dict[str, Any], pointer: str):
    found = guesses(role, members_of([json.dumps(document).encode()] * 4), 4)
    assert found[0].member.pointer == pointer


def test_a_text_that_never_meets_the_other_steps_is_left_out():
    paths = {f"o{number}": ["made", "paid", "sent"] if number % 5 else ["made", "refunded"] for number in range(40)}
    rows = [(order, step, place) for order, path in paths.items() for place, step in enumerate(path)]
    step = Member("/step", ("step",), {number: row[1] for number, row in enumerate(rows)})
    order = Member("/order", ("order",), {number: row[0] for number, row in enumerate(rows)})
    found = order_of(step, {number: float(row[2]) for number, row in enumerate(rows)}, [order])
    assert (found.texts, found.by) == (("made", "paid", "sent"), "/order")


@given(stations=st.integers(2, 8), machines=st.integers(9, 40), begin=st.integers(0, 7), swapped=st.booleans())
def test_a_step_is_the_member_with_few_texts_in_the_order_that_things_show(
    stations: int, machines: int, begin: int, swapped: bool
):
    """Records of a plant, from any moment on: machines stand before or behind stations in a record."""
    documents = []
    for number in range(begin, begin + 720):
        own = {"machine": f"m{number * 41 % machines}", "station": f"s{number % stations}"}
        names = dict(reversed(own.items())) if swapped else own
        documents.append({**names, "at": START + number, "part": number // stations})
    records = [Given(f"0/{number}", json.dumps(each).encode(), None, START) for number, each in enumerate(documents)]
    found = propose("plant", "sets", records)
    assert found.stanza["record"]["step"] == {"field": "/station"}
    assert found.stanza["steps"] == [f"s{place}" for place in range(stations)]
    assert "as /part shows" in found.remarks["steps"]
    assert found.remarks["record.format"].startswith("not read: ")
    assert not found.doubts


def test_an_order_that_things_do_not_agree_on_is_a_doubt_and_so_is_a_ninth_step():
    chance = random.Random(3)
    documents = [
        {"machine": f"m{chance.randrange(9)}", "station": chance.choice(["cut", "weld", "paint"]), "at": START + number}
        for number in range(999)
    ]
    records = [Given(f"0/{number}", json.dumps(each).encode(), None, START) for number, each in enumerate(documents)]
    found = propose("floor", "sets", records)
    assert found.stanza["record"]["step"] == {"field": "/station"}
    assert "check it" in found.remarks["steps"]
    assert ["is not known" in doubt for doubt in found.doubts] == [True]
    typed = propose("floor", "sets", records, arrange=lambda _: ["cut", "weld", "paint"])
    assert "in the order that you gave" in typed.remarks["steps"] or typed.stanza["steps"] == found.stanza["steps"]
    many = propose("floor", "sets", records, choose=lambda role, guesses: guesses[-1] if role == "step" else guesses[0])
    assert len(many.stanza["steps"]) == 8
    assert any("left out of the steps, because 8 is the most: m" in doubt for doubt in many.doubts)


NAMES = st.text(max_size=6) | st.sampled_from(["type", "ts", "user", "id", "value", "text", "batch", "segment", "data", "a/b~"])
LEAVES = (
    st.integers(-(2**70), 2**70)
    | st.integers(START, START + 10)
    | st.text(max_size=5)
    | st.sampled_from(["yes", "null", "paid", "sent", "2026-11-27", "é\u2028x", "#a", "1", "", "a_b"])
    | st.booleans()
    | st.none()
    | st.floats()
    | st.lists(st.integers(0, 9), max_size=3)
)
DOCUMENTS = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES, max_size=3), max_size=8)


@settings(deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=6), st.integers(1, 4), st.sampled_from(sorted(STREAMS)))
def test_a_configuration_reads_what_was_proposed_or_there_is_one_reason(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Any], times: int, view: str
):
    records = [
        Given(f"0/{number}", json.dumps(each).encode(errors="replace"), None, START)
        for number, each in enumerate(documents * times)
    ]
    try:
        proposal = propose("t", view, records)
        text = yaml_of("s", {"bootstrap.servers": "h:1", "sasl.password": "hush"}, proposal, len(records), "run")
    except ValueError as error:
        assert str(error)
        return
    assert "hush" not in text
    path = tmp_path_factory.mktemp("c") / "s.yaml"
    path.write_text(text, encoding="utf-8")
    stream = load(path, ["kafka.sasl.password=x"], {}).streams["s"]
    assert sum(each.read == "event" for each in tried(stream, records)) == proposal.events > 0


def test_a_topic_of_json_is_served_by_the_file_and_init_changes_nothing_in_kafka(
    broker: str, topic: str, send: Send, tmp_path: Path
):
    sent = records_of("orders", 900)
    send(broker, topic, [each.value or b"" for each in sent], [int(each.place[0]) for each in sent])
    before = state(broker)
    file = tmp_path / "orders.yaml"
    done = run("init", "--bootstrap", broker, "--topic", topic, "--view", "sets", "--yes", "--to", str(file))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"of the newest {len(sent)} records are events of sets" in done.stderr
    assert f" serve --config {file}" in done.stderr
    assert "not sure: left out of the steps: refund " in done.stderr
    assert "/get-sets?startTime=-1h&endTime=now&limit=3" in done.stderr
    assert sorted(tmp_path.iterdir()) == [file]
    after = state(broker)
    assert "firnline-config-try" not in after[1]
    assert {name for name in after[0] - before[0] if topic in name} == set()
    (name,) = load(file, [], {}).streams
    kinds = [json.loads(each.value or b"")["type"] for each in sent]
    with service(None, None, stream=name, also=["--config", str(file)]) as running:
        stats = running.settled(len(sent), name)
        assert stats["events"] == len(sent) - kinds.count("refund")
        answer = running.get(f"/{name}/get-sets?startTime=0&endTime=9999999999999")
    assert len(answer["sets"]) > 0.9 * kinds.count("parcel_out")
    for each in answer["sets"]:
        times = [each[step]["timestamp"] for step in ("order-created", "payment-ok", "parcel-out")]
        assert times == sorted(times)


def test_only_the_newest_records_count(broker: str, topic: str, send: Send, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scripts.cli.init.command.RECORDS", 30)
    monkeypatch.setattr("scripts.cli.init.command._A_PARTITION", 20)
    send(broker, topic, [b"an old line"] * 90, [number % 3 for number in range(90)])
    values = [b'{"who":"u%d","seen":"2026-11-27T10:00:00Z"}' % number for number in range(60)]
    send(broker, topic, values, [number % 3 for number in range(60)])
    done = run("init", "--bootstrap", broker, "--topic", topic, "--view", "uniques", "--yes", "--to", "-")
    assert done.returncode == 0, done.stderr
    assert "user: /who" in done.stdout
    assert "30 of the newest 30 records are events" in done.stderr


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([b"\0\0\0\0\1\2"] * 3 + [b"{}"], "3 records with a schema id, 1 JSON objects: docs/schemas.md has"),
        ([b"[1, 2]", b"7", b'"x"', b"null"], "4 JSON values that are no objects: write the stanza `record` by docs/records.md"),
        ([b"hello", b"world", b"\xff", b'{"a": 1}'], "2 lines of text, 1 other bytes, 1 JSON objects"),
    ],
)
def test_records_that_no_stanza_is_proposed_for_are_counted_by_what_they_are(values: list[bytes], found: str):
    records = [Given(f"0/{number}", value) for number, value in enumerate(values)]
    for view in STREAMS:
        with pytest.raises(ValueError, match=re.escape(f"as at least half of the newest 4, got {found}")):
            propose("t", view, records)


def test_the_only_record_of_a_topic_is_named_so():
    proposal = propose("t", "uniques", [Given("0/0", b'{"ts": 1795773600000, "id": 7}')])
    assert "from the only record of t at b" in yaml_of("s", {"bootstrap.servers": "b"}, proposal, 1, "run")


def test_what_cannot_be_proposed_is_one_line_and_no_file(
    broker: str, topic: str, send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(*words: str, bootstrap: str = broker, of: str = topic, to: str = "new.yaml") -> str:
        done = run("init", "--bootstrap", bootstrap, "--topic", of, "--yes", "--to", str(tmp_path / to), *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        return done.stderr

    absent = f"t-{uuid.uuid4().hex}"
    assert f"init: topic {absent} at {broker}: it does not exist; " in refused(of=absent)
    assert "did you mean" in refused(of=topic[:-1])
    assert absent not in state(broker)[0]
    assert "it has no records yet" in refused()
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(topic, key=b"k", value=None)
    producer.flush(20)
    assert "it has tombstones only" in refused()
    producer.produce(topic, key=b"k", value=b"")
    producer.flush(20)
    assert "it has tombstones and empty records only" in refused()
    send(broker, topic, [b"\0\0\0\0\7\x02abc"] * 10, [0] * 10)
    for view in STREAMS:
        assert "got 10 records with a schema id: docs/schemas.md has the stanza" in refused("--view", view)
    send(broker, topic, [b'{"a": "x", "b": 1}'] * 200, [0] * 200)
    assert "no member can be the step of sets" in refused("--view", "sets")
    assert "Members: /a, /b" in refused("--view", "sets")
    with monkeypatch.context() as patch:
        patch.setattr(topic_records, "_TIMEOUT_S", 0.5)
        away = refused(bootstrap=f"127.0.0.1:{(port := free_port())}")
        assert f"127.0.0.1:{port}" in away
        assert away.endswith(": start the broker, or correct its address or kafka.security.protocol\n")
    assert "expected a port from 1 to 65535, got 127.0.0.1:99999" in refused(bootstrap="127.0.0.1:99999")
    assert "--view: expected one of sets, " in refused("--view", "set")
    assert "--set: expected a setting of Kafka's client" in refused("--set", "http.port=1")
    assert "kafka.nonsense" in refused("--set", "kafka.nonsense=1")
    (tmp_path / "old.yaml").write_text("mine")
    assert "it exists already" in refused(to="old.yaml")
    assert (tmp_path / "old.yaml").read_text() == "mine"
    assert "No such file or directory" in refused("--view", "top", to="no/folder.yaml")
    assert [each.name for each in tmp_path.iterdir()] == ["old.yaml"]
    done = run("init", "--bootstrap", broker, "--yes")
    assert (done.returncode, done.stderr) == (1, "init: --topic: expected a value, because --yes asks nothing\n")


def test_what_no_option_gives_is_asked(broker: str, topic: str, send: Send, tmp_path: Path):
    values = [
        json.dumps({"at": START + number, "kind": ("seen", "bought", "left")[number % 3], "by": f"u{number // 3}"}).encode()
        for number in range(90)
    ]
    send(broker, topic, values, [0] * 90)
    (tmp_path / "old.yaml").write_text("{}")
    answers = [broker, topic, "set", "sets", "", "/kinds", "kind", "bought,seen,x", "left,bought", "old.yaml", "mine.yaml"]
    words = [sys.executable, "-m", "scripts.cli", "init"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        words,
        input="\n".join(answers) + "\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environ,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (stream,) = load(tmp_path / "mine.yaml", [], {}).streams.values()
    assert stream.step_names == ("left", "bought")
    written = (tmp_path / "mine.yaml").read_text()
    assert "# in the order that you gave. Seen: " in written
    assert "# not read: /by" in written
    assert "expected one of /kind" in done.stderr
    assert "Steps in order of time (" in done.stderr
    assert "bought 30" in done.stderr
    assert "old.yaml: it exists already" in done.stderr
    assert "not sure: left out of the steps: seen 30" in done.stderr
    (tmp_path / "old.yaml").unlink()
    assert topic in done.stderr.split("Topic (")[1]
    assert "expected one of sets, " in done.stderr
    (tmp_path / "mine.yaml").unlink()
    short = subprocess.run(
        words, input=f"{broker}\n", capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60, check=False
    )
    assert (short.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "init: --topic: expected an answer, got the end of the input; with --yes nothing is asked" in short.stderr
