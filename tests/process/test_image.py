"""The call of the image for words alone, which the documentation shows: the same environment and arguments without Docker."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from typing import NamedTuple

import pytest

from config.load import load
from scripts.brokers.process import free_port
from scripts.checkout import ROOT
from tests.support.service import service
from tests.support.waiting import until


class Call(NamedTuple):
    """A `docker run`: where it publishes the port, its environment, and the arguments of the service."""

    published: str
    environ: dict[str, str]
    words: list[str]


def call() -> Call:
    page = (ROOT / "docs" / "views" / "words.md").read_text().replace("\\\n", " ")
    given = shlex.split(next(line for line in page.splitlines() if line.startswith("docker run ")))
    values: dict[str, list[str]] = {"-p": [], "-e": []}
    for option, value in pairwise(given):
        values.get(option, []).append(value)
    environ = dict(each.split("=", 1) for each in values["-e"])
    return Call(*values["-p"], environ, given[given.index("firnline") + 1 :])


def health_check() -> list[str]:
    command = re.search(r"^HEALTHCHECK.*\\\n  CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert command is not None
    first, *words = json.loads(command[1])
    assert first == "python"
    return [sys.executable, *words]


def healthy(port: str | None) -> bool:
    environ = {name: value for name, value in os.environ.items() if name != "FIRNLINE_HTTP__PORT"}
    environ |= {} if port is None else {"FIRNLINE_HTTP__PORT": port}
    return subprocess.run(health_check(), env=environ, capture_output=True, timeout=20, check=False).returncode == 0


def test_the_call_publishes_on_loopback_alone_the_port_that_the_service_listens_at():
    address, outside, inside = call().published.split(":")
    settings = load(ROOT / call().words[1], [], call().environ)
    assert address == "127.0.0.1"
    assert outside == inside == str(settings.http.port) == call().environ["FIRNLINE_HTTP__PORT"]
    assert (settings.http.host, settings.http.trusted_proxy) == ("0.0.0.0", True)  # noqa: S104  # the container's own
    assert list(settings.streams) == ["words"]


def test_the_service_of_the_call_counts_words_without_a_token_and_is_healthy():
    environ = {name: value for name, value in call().environ.items() if name != "FIRNLINE_HTTP__PORT"}
    with service(None, None, stream="words", also=call().words, cwd=ROOT, **environ) as running:
        until(lambda: running.get("/events/CountWords"))
        assert running.request("/static/index.html")[0] == 200
        assert healthy(str(running.port))
    assert not healthy(str(running.port))


def test_the_health_check_asks_port_8080_by_default(monkeypatch: pytest.MonkeyPatch):
    asked = "import urllib.request; urllib.request.urlopen = lambda url, timeout: print(url); "
    for environ, port in (({}, 8080), ({"FIRNLINE_HTTP__PORT": str(free_port())}, None)):
        monkeypatch.delenv("FIRNLINE_HTTP__PORT", raising=False)
        *words, code = health_check()
        done = subprocess.run([*words, asked + code], env={**os.environ, **environ}, capture_output=True, text=True, check=True)
        assert done.stdout == f"http://127.0.0.1:{port or environ['FIRNLINE_HTTP__PORT']}/livez\n"
