"""The commands of README and docs run, and print what stands there. `tests/support/pages.py` says how to write a page."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.checkout import ROOT
from tests.support.pages import NAMES, PAGES, Fence, Step, fences, is_session, steps
from tests.support.service import service
from tests.support.waiting import PATIENCE_S

COLUMNS = 120

_QUESTION = re.compile(r"^(curl (?!.* -X )|firnline query |python scripts/query\.py )")


def pattern(output: str) -> re.Pattern[str]:
    """Return what an output must match, with the notation of this file."""
    joined = output.replace("\\\n", "")
    lines = [re.escape(line.rstrip()).replace("…", ".*") for line in joined.split("\n")]
    whole = "\n".join("(?:.*\n)*.*" if line == ".*" else line for line in lines)
    return re.compile(whole)


def plain(output: str) -> str:
    """Return an output without blanks at the ends of its lines, which editors take away from a page."""
    return "\n".join(line.rstrip() for line in output.strip("\n").split("\n"))


def test_the_notation():
    assert pattern("a … c\n…\nz").fullmatch("a b c\n1\n2\nz")
    assert pattern("ab\\\ncd").fullmatch("abcd")
    assert not pattern("a.c").fullmatch("abc")
    given = Fence("", ("$ a \\", "  b", "one", "two", "$ c"), 1)
    assert [(step.command, step.output) for step in steps(given)] == [("a \\\n  b", "one\ntwo"), ("c", "")]


@contextmanager
def checkout(folder: Path) -> Iterator[dict[str, str]]:
    """Make a folder that looks like the checkout, with `python` and `firnline` on the path. Yields the environment."""
    for name in ("actors", "config", "docs", "firnline", "gateway", "scripts", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / "bin"
    programs.mkdir()
    for name, words in (("python", ""), ("firnline", " -m scripts.cli")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (programs / name).chmod(0o755)
    yield {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FIRNLINE_RUN_DIR": str(folder / "run"),
        "COLUMNS": str(COLUMNS),
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


def run(step: Step, port: int, folder: Path, environ: dict[str, str]) -> str:
    """Run a command; returns why its output is not the one of the page, or nothing."""
    command = step.command.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    deadline = time.monotonic() + (PATIENCE_S if _QUESTION.match(step.command) else 0.0)
    while True:
        done = subprocess.run(  # noqa: S602  # commands of our own pages
            command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        printed = plain(
            done.stdout.replace(f"127.0.0.1:{port}", "127.0.0.1:8080").replace(f"{folder}/", "").replace(f"{ROOT}/", "")
        )
        if pattern(step.output).fullmatch(printed):
            return ""
        if time.monotonic() > deadline:
            return f"line {step.at}: $ {step.command}\n{printed}\n{done.stderr[-2000:]}\n--- and the page has\n{step.output}"
        time.sleep(0.2)


def python_session(fence: Fence, name: str, folder: Path, environ: dict[str, str]) -> str:
    """Run a Python session; returns what went wrong, or nothing."""
    text = "\n".join(fence.lines).replace("…", "...") + "\n"
    script = folder / "session.txt"
    script.write_text(text)
    flags = "doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE"
    code = f"import doctest, sys; sys.exit(doctest.testfile({str(script)!r}, False, optionflags={flags})[0])"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        if not done.returncode or time.monotonic() > deadline:
            return "" if not done.returncode else f"{name}:{fence.at}:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        time.sleep(0.5)


def runs(page: Path) -> list[Fence]:
    """Return the fences of a page that are run."""
    return [fence for fence in fences(page) if is_session(fence) or fence.info == "pycon"]


@contextmanager
def asked_by(sessions: list[Fence], folder: Path, environ: dict[str, str]) -> Iterator[int]:
    """Run the service if these sessions ask it. Yields its port."""
    lines = [line for fence in sessions for line in fence.lines]
    if not any(word in line for line in lines for word in ("127.0.0.1:8080", "firnline query", "import firnline", "embedded")):
        yield 8080
        return
    streams = [word for name in ("dataset", "segments", "uniques", "words", "funnel") for word in ("--only", name)]
    with service(None, None, also=streams, cwd=folder, **environ) as running:
        yield running.port


@pytest.mark.parametrize("name", [name for name, page in zip(NAMES, PAGES, strict=True) if runs(page)])
def test_every_command_prints_what_the_page_shows(name: str, tmp_path: Path):
    sessions, wrong = runs(ROOT / name), []
    with checkout(tmp_path) as added:
        environ = {**os.environ, **added}
        with asked_by(sessions, tmp_path, environ) as port:
            environ["FIRNLINE_URL"] = f"http://127.0.0.1:{port}"
            for fence in sessions:
                if fence.info == "pycon":
                    wrong.append(python_session(fence, name, tmp_path, environ))
                else:
                    wrong += [run(step, port, tmp_path, environ) for step in steps(fence)]
    assert not any(wrong), "\n\n".join(filter(None, wrong))


def test_the_site_builds_without_a_warning_and_loads_nothing_from_other_hosts(tmp_path: Path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="?([^" >]+)', text)
        loaded += re.findall(r'<link[^>]* rel="?(?:stylesheet|preload|preconnect)"?[^>]* href="?([^" >]+)', text)
        loaded += re.findall(r'<link[^>]* href="?([^" >]+)[^>]* rel="?(?:stylesheet|preload|preconnect)', text)
        assert loaded, page
        assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))], page
        assert 'class="mermaid"' not in text, f"{page}: the theme would load a script to draw this"
