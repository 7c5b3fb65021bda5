"""No test of transactions runs on the embedded broker, because it gives readers the records of open and aborted ones."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.checkout import ROOT

_EMBEDDED = {"embedded", "mock_topic"}
_WORDS = ("transactional", "begin_transaction", "commit_transaction", "abort_transaction")


def offenders(text: str) -> Iterator[str]:
    """Yield the functions that take the embedded broker and use transactions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
            if taken & _EMBEDDED and any(word in (ast.get_source_segment(text, node) or "") for word in _WORDS):
                yield node.name


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_no_test_of_transactions_runs_on_the_embedded_broker(path: Path):
    assert not list(offenders(path.read_text()))


def test_the_rule_finds_such_a_test():
    text = 'def test_it(embedded, name):\n    Producer({"bootstrap.servers": embedded, "transactional.id": name})\n'
    assert list(offenders(text)) == ["test_it"]
