"""The log: one event a line, as JSON or as text, of the product and of libraries, without secrets."""

import json
import logging
import re
import subprocess
import sys
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Log
from scripts.service.logs import as_json, as_text, complete, configure_log, hide_secrets, log, raised
from scripts.service.parts import Complaints
from tests.support.service import ROOT, service

SAY = """
import logging, sys
from config.settings import Log
from scripts.service.logs import configure_log, log
configure_log(Log(format={form!r}, level={level!r}))
log.debug("little", number=1)
log.info("more", path="/x", kafka={{"sasl.password": "hunter2", "group.id": "g"}}, token="hunter2")
logging.getLogger("uvicorn.error").warning("from a %s", "library")
logging.getLogger("noise").info("hush")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
    logging.getLogger("library").exception("broken too")
print("results alone")
"""


def said(form: str, level: str = "info") -> str:
    done = subprocess.run(
        [sys.executable, "-c", SAY.format(form=form, level=level)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "results alone\n", "standard output is for results"
    assert "hunter2" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("form", ["json", "auto"])
def test_without_a_terminal_each_event_is_a_line_of_json(form: str):
    lines: list[dict[str, Any]] = [json.loads(line) for line in said(form).splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "more"),
        ("warning", "from a library"),
        ("error", "broken"),
        ("error", "broken too"),
    ]
    for line in lines:
        assert list(line)[:3] == ["timestamp", "level", "event"]
        assert line["timestamp"].endswith("Z")
        datetime.fromisoformat(line["timestamp"])
    assert lines[0]["kafka"] == {"sasl.password": "***", "group.id": "g"}
    assert lines[1]["logger"] == "uvicorn.error"
    assert all("ZeroDivisionError" in line["exception"] for line in lines[2:])


def test_on_a_terminal_each_event_is_text():
    text = said("console")
    assert re.search(r"^\d{4}-\d\d-\d\dT\S+Z \[info\s*\] more .*path=/x", text, re.MULTILINE)
    assert "ZeroDivisionError" in text


LINE = {"timestamp": "T", "level": "warning", "event": "waiting"}


@pytest.mark.parametrize(
    ("facts", "json_line", "text", "colored"),
    [
        (
            {"stream": "s", "reason": "a b", "count": 3, "gone": None},
            '{"timestamp": "T", "level": "warning", "event": "waiting", "stream": "s", "reason": "a b", "count": 3, "gone": null}',
            "T [warning  ] waiting                        count=3 gone=None reason='a b' stream=s",
            (
                "\x1b[2mT\x1b[0m [\x1b[33m\x1b[1mwarning  \x1b[0m] \x1b[1mwaiting                       \x1b[0m"
                " \x1b[36mcount\x1b[0m=\x1b[35m3\x1b[0m \x1b[36mgone\x1b[0m=\x1b[35mNone\x1b[0m"
                " \x1b[36mreason\x1b[0m=\x1b[35m'a b'\x1b[0m \x1b[36mstream\x1b[0m=\x1b[35ms\x1b[0m"
            ),
        ),
        (
            {"logger": "uvicorn.error", "path": Path("/x"), "text": "é"},
            '{"timestamp": "T", "level": "warning", "event": "waiting", "logger": "uvicorn.error", "path": "/x", "text": "\\u00e9"}',
            f"T [warning  ] waiting                        [uvicorn.error] path={Path('/x')!r} text=é",
            (
                "\x1b[2mT\x1b[0m [\x1b[33m\x1b[1mwarning  \x1b[0m] \x1b[1mwaiting                       \x1b[0m"
                " [\x1b[0m\x1b[1m\x1b[34muvicorn.error\x1b[0m]\x1b[0m"
                f" \x1b[36mpath\x1b[0m=\x1b[35m{Path('/x')!r}\x1b[0m \x1b[36mtext\x1b[0m=\x1b[35mé\x1b[0m"
            ),
        ),
        (
            {},
            '{"timestamp": "T", "level": "warning", "event": "waiting"}',
            "T [warning  ] waiting",
            "\x1b[2mT\x1b[0m [\x1b[33m\x1b[1mwarning  \x1b[0m] \x1b[1mwaiting                       \x1b[0m",
        ),
    ],
)
def test_lines_have_one_form_that_programs_and_people_rely_on(facts: dict[str, Any], json_line: str, text: str, colored: str):
    assert as_json({**LINE, **facts}) == json_line
    assert as_text({**LINE, **facts}, colors=False) == text
    assert as_text({**LINE, **facts}, colors=True) == colored


def test_an_exception_is_written_with_its_traceback():
    assert raised(True) is None, "none is handled"
    try:
        [].pop()
    except IndexError as error:
        found = traceback.format_exc().rstrip("\n")
        for given_as in (True, error, sys.exc_info()):
            facts = complete("error", {"event": "broken", "exc_info": given_as})
            assert json.loads(as_json(dict(facts)))["exception"] == found
            assert "IndexError: pop from empty list" in as_text(dict(facts), colors=False)


def test_facts_do_not_replace_time_and_level():
    line = complete("info", {"level": "none", "timestamp": 0, "event": "read"})
    assert line["level"] == "info"
    assert list(line) == ["timestamp", "level", "event"]
    datetime.fromisoformat(line["timestamp"])


def test_the_level_holds_at_once_for_every_part_that_logs(capsys: pytest.CaptureFixture[str]):
    say = log.debug  # a part keeps the function
    before = log.level
    try:
        for level in ("info", "debug", "info"):
            configure_log(Log(level=level, format="json"))
            say(level)
    finally:
        log.level = before
        logging.getLogger().handlers.clear()
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["debug"]


def test_events_below_the_level_are_not_logged():
    assert [json.loads(line)["event"] for line in said("json", "error").splitlines()] == ["broken", "broken too"]
    assert [json.loads(line)["event"] for line in said("json", "debug").splitlines()][:4] == [
        "little",
        "more",
        "from a library",
        "hush",
    ]


def test_requests_are_logged_only_at_debug_with_their_id_and_without_their_query(tmp_path: Path):
    (tmp_path / "lines").write_text('{"event_type":"foo","data":"lorem","timestamp":1468244384}\n' * 1_000)
    for level in ("debug", "info"):
        words = ("streams.words.source={file: lines}", f"log.level={level}", "data_dir=null")
        with service(None, None, *words, stream="words", cwd=tmp_path) as running:
            running.settled(1_000, "words")
            asked = "/events/CountWords?last=60&secret=s3cret"
            assert running.request(asked, Authorization="Bearer s3cret", **{"X-Request-Id": "mine-1"})[0] == 200
            code, printed = running.stop()
        assert code == 0
        lines = [json.loads(line) for line in printed.splitlines()]
        found = [line for line in lines if line["event"] == "request" and line["id"] == "mine-1"]
        assert "s3cret" not in printed
        if level == "info":
            assert not [line for line in lines if line["event"] == "request"]
            assert len(lines) < 20, "the log has no line for each record"
        else:
            assert [(line["method"], line["path"], line["status"]) for line in found] == [("GET", "/events/CountWords", 200)]


@given(st.dictionaries(st.sampled_from(["a", "password", "API_TOKEN", "sasl.password", "Authorization"]), st.text("xyz")))
def test_values_named_like_secrets_are_hidden_at_any_depth(facts: dict[str, str]):
    told = hide_secrets({"deep": {"deeper": facts}, **facts})
    for found in (told, told["deep"]["deeper"]):
        assert {key: value for key, value in found.items() if key == "a"} == {k: v for k, v in facts.items() if k == "a"}
        assert all(value == "***" for key, value in found.items() if key not in ("a", "deep"))


def test_a_problem_that_stays_is_logged_after_longer_and_longer_times(monkeypatch: pytest.MonkeyPatch):
    now, logged = 0.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    complain = Complaints("s", lambda *_, problem, **__: logged.append((now, problem)), lambda *_: None)
    while now < 7_200:
        complain("gone")
        now += 1.0
    assert [at for at, _ in logged] == [0, 30, 90, 210, 450, 930, 1_890, 3_810]
    now += 4_000  # meanwhile all is well
    complain("gone")
    assert logged[-1] == (now, "gone")
