"""A new lease has the files of the last one, and a process that still writes by the last one changes nothing of it."""

import os
from pathlib import Path

import pytest

from scripts.service.cluster.folders import folder_of


def put(folder: Path, name: str, text: str) -> None:
    """Write a file as the store does: under another name first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new.tmp").write_text(text)
    (folder / "new.tmp").replace(folder / name)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.firn")}


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_a_lease_begins_with_the_files_of_the_last_one_alone(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch):
    if not links:

        def refused(old: Path, new: Path) -> None:
            raise PermissionError(1, "this file system has no links", str(old))

        monkeypatch.setattr(os, "link", refused)
    one = folder_of(tmp_path, 4)
    assert files(one) == {}
    put(one / "words-1", "generation-0000000001.firn", "a")
    put(one / "words-1", "checkpoint-0000000002.firn", "b")
    two = folder_of(tmp_path, 12)
    assert files(two) == files(one)
    put(one / "words-1", "checkpoint-0000000002.firn", "another")  # by a process that was frozen
    (one / "words-1" / "generation-0000000001.firn").unlink()
    assert files(two)["words-1/checkpoint-0000000002.firn"] == "b"
    assert files(two)["words-1/generation-0000000001.firn"] == "a"
    three = folder_of(tmp_path, 13)
    assert files(three) == files(two)
    assert not one.exists()
    assert folder_of(tmp_path, 13) == three


def test_an_older_lease_takes_nothing_of_a_newer_one(tmp_path: Path):
    put(folder_of(tmp_path, 20), "checkpoint-0000000002.firn", "newer")
    assert files(folder_of(tmp_path, 7)) == {}
    assert files(tmp_path / "lease-20") == {"checkpoint-0000000002.firn": "newer"}
