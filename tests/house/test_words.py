"""The prose of the house: phrases that CONTRIBUTING.md bans do not stand in docstrings, comments and documents.

The list is read from CONTRIBUTING.md.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.checkout import ROOT

PRODUCT = ("actors", "config", "firnline", "gateway", "scripts")
TESTS = tuple(f"tests/{room}" for room in ("actors", "columns", "gateway", "lab", "simulation", "support", "timeline", "views"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def banned() -> list[str]:
    """Return the phrases that CONTRIBUTING.md lists."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = text.partition("tests/house/test_words.py` searches")[2].partition("```text\n")[2].partition("```")[0]
    return [phrase for phrase in re.split(r"\s*[·\n]\s*", block) if phrase]


_EITHER_CASE = [f"[{each[0]}{each[0].upper()}]{each[1:]}" for each in banned()]  # `None` is a value, "none" is a word
PHRASES = re.compile("|".join(rf"\b{each}\b" for each in _EITHER_CASE).replace(" ", r"\s+"))


def room_of(path: Path) -> str:
    """Return the folder of a file."""
    return str(path.parent.relative_to(ROOT))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and strings of a file with their lines; docstrings and messages are strings."""
    source = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def found(path: Path) -> list[str]:
    """Return the banned phrases of a Python file."""
    return [
        f"{path.relative_to(ROOT)}:{line + text.count(chr(10), 0, match.start())}: {match[0]!r}"
        for line, text in texts(path)
        for match in PHRASES.finditer(text)
    ]


ROOMS: dict[str, list[Path]] = {}
for _path in sorted(each for package in (*PRODUCT, *TESTS) for each in (ROOT / package).rglob("*.py")):
    ROOMS.setdefault(room_of(_path), []).append(_path)


def test_banned_phrases_are_found_across_line_ends():
    assert {"is none", "nobody", "who asks"} <= set(banned())
    assert PHRASES.search("What\n    is none of it")
    assert not PHRASES.search("This none is noneoftheless")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_in_plain_words(room: str):
    wrong = [place for path in ROOMS[room] for place in found(path)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_is_in_plain_words(path: Path):
    text = path.read_text()
    wrong = [f"{path.name}:{1 + text.count(chr(10), 0, match.start())}: {match[0]!r}" for match in PHRASES.finditer(text)]
    assert not wrong, "\n" + "\n".join(wrong)
