"""The house keeps its layers: who may import whom, read from the source; and the examples in the docstrings run."""

import ast
import doctest
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path for part in ("actors", "gateway", "config", "firnline", "scripts") for path in (ROOT / part).rglob("*.py"))
OURS = {"actors", "gateway", "config", "firnline", "scripts"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide the layer"
            found.add(str(node.module))
    return found


def below(name: str, *allowed: str) -> bool:
    return any(name == each or name.startswith(each + ".") for each in allowed)


ALLOWED = {
    "actors/timeline": ("actors.timeline",),
    "actors/views": ("actors.timeline", "actors.views"),
    "actors": ("actors",),
    "gateway": ("gateway", "actors.messages", "actors.views", "actors.timeline"),
    "config": ("config",),
    "firnline/commands": tuple(OURS),
    "firnline": ("firnline",),
    "scripts": tuple(OURS),
}
ONLY_IN = {
    "pykka": ("actors/runtime/actor.py", "actors/runtime/mailbox.py", "actors/messages.py"),
    "confluent_kafka": (
        "actors/kafka_",
        "actors/sources/source.py",
        "actors/kafka_topic.py",
        "actors/sinks/transaction.py",
        "actors/sinks/dead_letters.py",
        "scripts/",
    ),
    "starlette": ("gateway/",),
    "datasketches": ("actors/views/uniques/sketch.py",),
    "pcodec": ("actors/columns/sealed.py",),
}
IMPURE = ("time", "threading", "random", "os", "socket", "asyncio", "logging", "structlog")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_stands_above_it(path: Path):
    name = str(path.relative_to(ROOT))
    layer = next(layer for layer in ALLOWED if name.startswith(layer + "/"))
    for imported in imports(path):
        if imported.split(".")[0] in OURS:
            assert below(imported, *ALLOWED[layer]), f"{name} must not import {imported}"
        for package, places in ONLY_IN.items():
            if below(imported, package):
                assert name.startswith(places), f"{name} must not import {imported}"
        if layer in {"actors/timeline", "actors/views"}:
            assert not below(imported, *IMPURE), f"{name} is pure, and imports {imported}"


def test_no_file_unpickles_or_evaluates():
    for path in FILES:
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "pickle"}, path
        assert not imports(path) & {"pickle", "marshal", "shelve"}, path


def test_the_examples_in_docstrings_are_true():
    tried = 0
    for path in FILES:
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["doctest"])
            result = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})
        assert not result.failed, path
        tried += result.attempted
    assert tried >= 10


LIBRARIES = {
    "actors/timeline": {"msgspec", "numpy", "pcodec"},
    "actors/views": {"numpy", "msgspec", "datasketches"},
}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.relative_to(ROOT).parts[1] in {"timeline", "views"}], ids=lambda path: path.name
)
def test_a_pure_file_uses_few_libraries(path: Path):
    layer = "/".join(path.relative_to(ROOT).parts[:2])
    used = {name.split(".")[0] for name in imports(path)} - OURS - sys.stdlib_module_names
    assert used <= LIBRARIES[layer], f"{path}: {used - LIBRARIES[layer]}"
