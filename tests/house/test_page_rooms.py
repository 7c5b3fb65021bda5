"""The rooms of the live page: which folder of scripts may import which, read from the source of every file."""

import gzip
import re
from pathlib import Path, PurePosixPath

import pytest

from scripts.checkout import ROOT

STATIC = ROOT / "gateway" / "page" / "static"
SCRIPTS = {path.relative_to(STATIC).as_posix(): path for path in sorted(STATIC.rglob("*.js")) if path.parent.name != "vendor"}
BEGINNINGS = {"main.js", "docs/docs.js", "words.js"}
"""The scripts that pages name: the live page, /docs, and the page of words."""

ROOMS: dict[str, tuple[str, ...]] = {
    "lib": (),
    "docs": ("lib",),
    "data": ("lib",),
    "parts": ("lib",),
    "charts": ("lib", "data"),
    "range": ("lib", "data", "parts"),
    "views": ("lib", "parts", "charts"),
    "cards": ("lib", "data", "parts", "charts"),
    "pages": ("lib", "data", "parts", "charts", "range", "views", "cards"),
    ".": ("lib", "data", "pages"),
}
"""Each folder, and what it may import beside itself."""

_IMPORT = re.compile(r"^(?:import\b[^;]*?|export\b[^;]*?\bfrom )\"([^\"]+)\";", re.MULTILINE)
MOST_PACKED = 200_000


def imports(name: str) -> set[str]:
    """Return what a script imports, as paths below `static`."""
    here = PurePosixPath(name).parent
    found: set[str] = set()
    for target in _IMPORT.findall(SCRIPTS[name].read_text()):
        assert target.startswith("."), f"{name} imports {target}, which is no file of the page"
        parts: list[str] = []
        for part in (here / target).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        found.add("/".join(parts))
    return found


def reached_from(name: str) -> set[str]:
    """Return a script and all that it imports, directly or through others."""
    found, left = {name}, [name]
    while left:
        more = imports(left.pop()) - found
        found |= more
        left += more
    return found


def room_of(name: str) -> str:
    """Return the folder of a script."""
    return str(PurePosixPath(name).parent)


def allowed(name: str, imported: str) -> bool:
    """Whether one script may import another."""
    return room_of(imported) in {room_of(name), *ROOMS[room_of(name)]}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_only_what_its_room_may(name: str):
    assert room_of(name) in ROOMS
    for imported in imports(name):
        assert imported in SCRIPTS, f"{name} imports {imported}, which does not exist"
        assert allowed(name, imported), f"{name} must not import {imported}"


def test_every_permission_is_used():
    used = {(room_of(name), room_of(imported)) for name in SCRIPTS for imported in imports(name)}
    assert {(room, other) for room, others in ROOMS.items() for other in others} <= used


def test_no_two_rooms_import_each_other():
    places = list(ROOMS)
    for room, others in ROOMS.items():
        assert all(places.index(other) < places.index(room) for other in others), "rooms stand from the inside out"


def test_a_forbidden_import_is_refused():
    assert not allowed("lib/exact.js", "data/state.js")
    assert not allowed("charts/bars.js", "views/funnel.js")
    assert allowed("main.js", "lib/feed.js")


def test_no_folder_of_the_page_has_more_than_a_dozen_files():
    for folder in {STATIC, *(path for path in STATIC.rglob("*") if path.is_dir())}:
        files = [path for path in folder.iterdir() if path.is_file()]
        assert len(files) <= 12, f"{folder.relative_to(ROOT)} has {len(files)} files: it wants rooms"


def test_no_script_is_left_out_and_all_load_at_once():
    reached = {name: reached_from(name) for name in BEGINNINGS}
    assert set().union(*reached.values()) == set(SCRIPTS)
    page = (STATIC / "live.html").read_text()
    preloaded = re.findall(r'rel="modulepreload" href="/static/([^"]+)"', page)
    assert preloaded == sorted(reached["main.js"] - {"main.js"}), "a script that is not preloaded loads after its importer"


def test_every_file_that_the_page_names_exists():
    for page in STATIC.glob("*.html"):
        for target in re.findall(r'(?:href|src)="/static/([^"]+)"', page.read_text()):
            assert (STATIC / target).is_file(), f"{page.name} names {target}"


def test_the_page_weighs_at_most_200_kb_compressed():
    page = STATIC / "live.html"
    named: list[Path] = [page, *(STATIC / each for each in re.findall(r'(?:href|src)="/static/([^"]+)"', page.read_text()))]
    packed = {path: len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in named}
    assert sum(packed.values()) <= MOST_PACKED, packed
