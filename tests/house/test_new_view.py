"""A view is named in its package, the registry, its stanza and its routes, and docs/adding-a-view.md is true."""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from actors.views.kinds import VIEWS
from config.streams import STREAMS
from scripts.brokers.process import free_port
from scripts.checkout import ROOT
from tests.support.waiting import until

SERVICE = ("actors", "config", "gateway", "scripts/service")
PAGE = ROOT / "docs" / "adding-a-view.md"


@functools.cache
def names(path: Path) -> set[str]:
    """Return the views that a file names: by a text that is the name, or by an import from the view's package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Constant(value=str(text)):
                found.add(text)
            case ast.ImportFrom(module=str(module)) if module.startswith("actors.views."):
                found.add(module.split(".")[2])
    return found & set(VIEWS)


def test_every_view_has_a_stanza_and_a_file_of_routes():
    assert list(STREAMS) == list(VIEWS)
    assert all((ROOT / "gateway" / "routes" / f"{view}.py").exists() for view in VIEWS)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_named_in_four_places_alone(view: str):
    package = ROOT / "actors" / "views"
    places = {package / "kinds.py", ROOT / "config" / "streams.py", ROOT / "gateway" / "routes" / f"{view}.py"}
    files = [path for room in SERVICE for path in (ROOT / room).rglob("*.py")]
    outside = {path for path in files if path.parent != package / view and package / view not in path.parents}
    assert {path for path in outside if view in names(path)} <= places


def blocks() -> list[str]:
    """Return the code of the example, in order."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def add_the_example(root: Path) -> None:
    """Add the view of the page to a copy of the service."""
    init, arguments, view, line, stanza, routes = blocks()
    package = root / "actors" / "views" / "sizes"
    package.mkdir()
    for path, text in (("__init__", init), ("arguments", arguments), ("view", view)):
        (package / f"{path}.py").write_text(text)
    (root / "gateway" / "routes" / "sizes.py").write_text(routes)
    registry = root / "actors" / "views" / "kinds.py"
    registry.write_text(registry.read_text().replace("\n}\n", f"\n{line}}}\n"))
    stanzas = root / "config" / "streams.py"
    stanzas.write_text(stanzas.read_text().replace("\n\nSTREAMS", f"\n\n{stanza}\n\nSTREAMS"))


def test_the_example_of_the_page_is_a_view_that_works(tmp_path: Path):
    root = tmp_path / "checkout"
    for folder in ("actors", "config", "firnline", "gateway", "scripts"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    add_the_example(root)
    (tmp_path / "words.txt").write_text("abc\nabcd\nabcd\n")
    config = tmp_path / "sizes.yaml"
    port = free_port()
    config.write_text(
        f"data_dir: {tmp_path / 'data'}\nhttp: {{port: {port}}}\n"
        f"streams: {{lengths: {{view: sizes, source: {{file: {tmp_path / 'words.txt'}}}}}}}\n"
    )
    serve = [sys.executable, str(root / "scripts" / "serve.py"), "--config", str(config)]
    with subprocess.Popen(serve, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL, cwd=root) as process:
        try:

            def get(path: str) -> bytes:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
                    body: bytes = response.read()
                return body

            def answered() -> bytes | None:
                try:
                    found = get("/lengths")
                except OSError:
                    assert process.poll() is None, "the service ended"
                    return None
                return found if b'"records":3' in found else None

            found = until(answered)
            assert found.decode() in PAGE.read_text()
            stats = json.loads(get("/lengths/get-stats"))
            assert stats["total"] == {"records": 3, "bytes": 11}
            assert "SizesStats" in json.loads(get("/openapi.json"))["components"]["schemas"]
            assert get("/lengths?format=csv") == b"records,bytes\r\n3,11\r\n"
            assert b"sizes" in get("/streams")
        finally:
            process.terminate()
