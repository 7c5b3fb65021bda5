"""README and docs: links and file names are right, and pages and lines are short enough to read.

`tests/support/pages.py` says how to write a page; `tests/process/test_docs.py` runs the commands.
"""

import re
from pathlib import Path

import pytest

from scripts.checkout import ROOT
from tests.support.pages import NAMES, PAGES, fences, prose

WIDTH = 120
README_LINES = 150

NOT_RUN = {
    "README.md": 2,
    "docs/cluster.md": 5,
    "docs/configuration.md": 2,
    "docs/durability.md": 1,
    "docs/python.md": 1,
    "docs/views/segments.md": 1,
    "docs/views/uniques.md": 1,
    "docs/views/words.md": 2,
}
"""How many fences of each page hold commands that no test can run: they start the service itself, need Docker or take hours."""

MADE_LATER = ("output/", "site/", ".firnline/", "actors/views/sizes/", "gateway/routes/sizes.py")
FOLDERS = ("actors", "config", "deploy", "docs", "firnline", "gateway", "scripts", "tests", ".ci", ".github")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*\w/?")


def test_only_the_listed_commands_are_not_run():
    found = {name: sum("no-test" in fence.info for fence in fences(ROOT / name)) for name in NAMES}
    assert {name: count for name, count in found.items() if count} == NOT_RUN


@pytest.mark.parametrize("name", NAMES)
def test_every_shell_fence_is_run_or_counted(name: str):
    for fence in fences(ROOT / name):
        if fence.info in {"sh", "bash", "console"}:
            assert any(line.startswith("$ ") for line in fence.lines), f"{name}:{fence.at}: `$ …`, or the kind `sh no-test`"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_short_enough_to_read(name: str):
    lines = (ROOT / name).read_text().splitlines()
    assert not [f"{name}:{number}" for number, line in enumerate(lines, 1) if len(line) > WIDTH]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub and the site make of the headings of a page."""
    headings = re.findall(r"^#+ (.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_has_a_target(name: str):
    page = ROOT / name
    for target in _LINK.findall(prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors(there), f"{name}: {target} has no such heading"
        inside = (ROOT / "docs") in page.parents
        assert not inside or (ROOT / "docs") in there.parents, f"{name}: the site has no {target}; name the file instead"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_a_page_names_exists(name: str):
    text = (ROOT / name).read_text()
    for found in re.findall(r"`([^`\n]+)`", text) + [line for fence in fences(ROOT / name) for line in fence.lines]:
        for path in _PATH.findall(found):
            before = found[: found.index(path)][-1:]
            if before and before not in " ('\"=[":
                continue  # part of a longer path, such as that of a URL
            if not path.startswith(MADE_LATER) and "NAME" not in path:
                assert list(ROOT.glob(path.rstrip("/"))), f"{name}: {path}"


def test_every_page_is_in_the_site():
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("nav:")[2])
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if (ROOT / "docs") in page.parents}
    assert sorted(named) == sorted(pages), "list each page below nav in mkdocs.yml"
