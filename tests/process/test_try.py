"""`firnline config try`: the first records as the configuration reads them, from a file and from a real topic."""

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from scripts.cli import topic_records
from tests.conftest import Send
from tests.support.command_line import run
from tests.support.service import free_port
from tests.support.waiting import PATIENCE_S

CONFIG = """
streams:
  orders:
    view: sets
    source: {topic: TOPIC}
    steps: [created, paid]
    record:
      format: json
      time: {field: /meta/ts, unit: rfc3339}
      step: {field: /type, names: {created: [order_created]}}
"""
LINES = [
    b'{"type":"order_created","meta":{"ts":"2026-11-27T10:00:00.1239Z"}}',
    b'{"type":"paid","meta":{"ts":"2026-11-27T11:30:00+01:00"}}',
    b'{"type":"refund","meta":7}',
    b'{"type":"paid","meta":{"ts":1795773600}}',
    b'{"type":"paid"',
    b"\x1b[2J",
]
REASON = "/meta/ts: expected a time by RFC 3339, got a number"


def configuration(folder: Path, topic: str = "t") -> str:
    (folder / "orders.yaml").write_text(CONFIG.replace("TOPIC", topic))
    return str(folder / "orders.yaml")


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_shown_as_it_is_read(tmp_path: Path, packed: bool):
    content = b"\n".join(LINES) + b"\n"
    (tmp_path / "lines").write_bytes(gzip.compress(content) if packed else content)
    words = ("config", "try", "--config", configuration(tmp_path), "--from", f"{tmp_path}/lines")
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 records: 2 events, 1 other, 3 refused" in done.stdout
    assert 'texts that are no step, so the record is no event: "refund" 1' in done.stdout
    assert "none of these records" not in done.stdout, "each step has a record, if only a refused one"
    assert '"order_created" = created' in done.stdout
    assert REASON in done.stdout
    assert "\x1b[2J" not in done.stdout
    found: list[dict[str, Any]] = json.loads(run(*words, "--json").stdout)
    assert [each["read"] for each in found] == ["event", "event", "other", "refused", "refused", "refused"]
    assert [each["moment"] for each in found[:3]] == ["2026-11-27T10:00:00.123Z", "2026-11-27T10:30:00.000Z", None]
    assert [each["reason"] for each in found] == [None, None, None, REASON, "not_json", "not_text"]
    assert found[3]["values"] == {"step": '"paid"', "time": "1795773600"}
    assert [each["step"] for each in found] == ["created", "paid", None, "paid", None, None]
    assert found[0]["time"] == 1_795_773_600_123


def test_the_first_records_of_a_topic_are_shown_and_nothing_is_left_in_kafka(
    broker: str, topic: str, send: Send, tmp_path: Path
):
    values = [json.dumps({"type": "paid", "meta": {"ts": f"2026-11-27T10:00:{number:02}Z"}}).encode() for number in range(40)]
    send(broker, topic, values, [number % 2 for number in range(40)])
    admin = AdminClient({"bootstrap.servers": broker})

    def groups() -> set[str]:
        return {each.group_id for each in admin.list_consumer_groups().result().valid}

    words = ("--bootstrap", broker, "--json")
    found: list[dict[str, Any]] = json.loads(run("config", "try", "--config", configuration(tmp_path, topic), *words).stdout)
    assert len(found) == 20
    for partition in ("0", "1"):
        own = [each["place"] for each in found if each["place"].startswith(f"{partition}/")]
        assert own == [f"{partition}/{offset}" for offset in range(len(own))]
    absent = f"t-{uuid.uuid4().hex}"
    done = run("config", "try", "--config", configuration(tmp_path, absent), *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"config try: topic {absent}: it does not exist\n")
    assert absent not in admin.list_topics(timeout=PATIENCE_S).topics
    assert "firnline-config-try" not in groups()


def test_every_view_shows_its_own_format(tmp_path: Path):
    lines = {
        "events": b"R_1685695916000",
        "dataset": b"a_1",
        "segments": b'{"batch_id":1,"segment_id":0,"data":[1]}',
        "uniques": b'{"ts":1468244384,"uid":"u"}',
        "words": b'{"event_type":"a","data":"b","timestamp":1513765893}',
    }
    for stream, line in lines.items():
        (tmp_path / "lines").write_bytes(line + b"\nnothing\n")
        (event, refused) = json.loads(run("config", "try", "--stream", stream, "--from", f"{tmp_path}/lines", "--json").stdout)
        assert (event["read"], event["values"], refused["read"]) == ("event", {}, "refused")
        assert line.decode()[:9] in run("config", "try", "--stream", stream, "--from", f"{tmp_path}/lines").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "/nothing"], "config try: /nothing: expected a file of lines, got: No such file or directory\n"),
        (["--from", "/"], "config try: /: expected a file of lines, got: Is a directory\n"),
        (["--set", "streams.orders.source={stdin: true}"], "config try: --from: expected a file of lines, because"),
        (["--set", "streams.orders.record.time=x"], "config: the configuration cannot be used:"),
        (["--stream", "other", "--from", "/nothing"], "expected one of orders, got other"),
        (["--bootstrap", f"127.0.0.1:{free_port()}"], "config try: topic t: "),
    ],
)
def test_what_cannot_be_read_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str):
    monkeypatch.setattr(topic_records, "_TIMEOUT_S", 1.0)
    done = run("config", "try", "--config", configuration(tmp_path), *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "there are no records yet"), (b"x\n", "no record is an event"), (b"\x1f\x8bxxxx", "got:")]
)
def test_a_file_without_an_event_is_a_failure(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "lines").write_bytes(content)
    done = run("config", "try", "--config", configuration(tmp_path), "--from", f"{tmp_path}/lines")
    assert done.returncode == 1
    assert said in done.stderr
