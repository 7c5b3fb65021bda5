"""The layers of the house: which room may import which, read from the source of every file; and the doctests run."""

import ast
import doctest
import functools
import importlib
import sys
from pathlib import Path

import pytest

from actors.views.kinds import VIEWS
from scripts.checkout import ROOT

OURS = ("actors", "config", "firnline", "gateway", "scripts")
FILES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
NAMES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}

WORDS = (
    "actors.protocol",
    "actors.replies",
    "actors.messages",
    "actors.standing",
    "actors.columns",
    "actors.timeline",
    "actors.views.view",
)
"""What every actor and its parts may import: messages, and the values in them."""

ROOMS: dict[str, tuple[str, ...]] = {
    # The engine, from the inside out.
    "actors.columns": (),
    "actors.timeline": ("actors.columns",),
    "actors.views.view": ("actors.columns", "actors.timeline"),
    "actors.figures": ("actors.columns", "actors.timeline", "actors.views.view"),
    "actors.records": ("actors.columns", "actors.timeline", "actors.views.view"),
    "actors.views.funnel": ("actors.columns", "actors.figures", "actors.records", "actors.timeline", "actors.views.view"),
    "actors.views.segments": ("actors.columns", "actors.figures", "actors.records", "actors.timeline", "actors.views.view"),
    "actors.views.sets": ("actors.columns", "actors.figures", "actors.records", "actors.timeline", "actors.views.view"),
    "actors.views.top": ("actors.columns", "actors.figures", "actors.records", "actors.timeline", "actors.views.view"),
    "actors.views.uniques": ("actors.columns", "actors.figures", "actors.records", "actors.timeline", "actors.views.view"),
    "actors.views.words": ("actors.columns", "actors.figures", "actors.records", "actors.timeline", "actors.views.view"),
    "actors.views.kinds": ("actors.views.view",),  # it imports the package of a view by the view's name, when it is needed
    "actors.protocol": (),
    "actors.replies": ("actors.protocol", "actors.timeline", "actors.views.view"),
    "actors.standing": (),
    "actors.messages": (
        "actors.protocol",
        "actors.replies",
        "actors.standing",
        "actors.columns",
        "actors.timeline",
        "actors.views.view",
    ),
    "actors.runtime": ("actors.protocol", "actors.replies", "actors.messages"),
    "actors.kafka_trouble": (),
    "actors.kafka_topic": ("actors.kafka_trouble",),
    "actors.durability": (*WORDS, "actors.runtime"),
    "actors.sources": ("actors.columns", "actors.replies", "actors.views.view", "actors.kafka_topic", "actors.kafka_trouble"),
    "actors.registry": (
        "actors.columns",
        "actors.records",
        "actors.replies",
        "actors.sources.polled",
        "actors.sources.source",
        "actors.views.view",
    ),
    "actors.sinks": (
        *WORDS,
        "actors.runtime",
        "actors.kafka_topic",
        "actors.kafka_trouble",
        "actors.durability.disk",
        "actors.durability.lock",
    ),
    "actors.reading": (*WORDS, "actors.runtime", "actors.collecting.tally", "actors.sources.polled"),
    "actors.collecting": (*WORDS, "actors.runtime"),
    "actors.front_end": (
        *WORDS,
        "actors.runtime",
        "actors.reading",
        "actors.sources.polled",
        "actors.sources.source",
    ),
    "actors.set_collector": (*WORDS, "actors.runtime"),
    "actors.manager": (*WORDS, "actors.runtime", "actors.collecting", "actors.set_collector"),
    "actors.stream": (
        *WORDS,
        "actors.runtime",
        "actors.durability",
        "actors.sources.source",
        "actors.sinks",
        "actors.reading.pace",
        "actors.collecting.brake",
        "actors.front_end",
        "actors.manager",
    ),
    "actors.cluster": (
        *WORDS,
        "actors.runtime",
        "actors.manager",
        "actors.reading.pace",
        "actors.sources.kafka",
        "actors.sources.polled",
        "actors.sources.source",
    ),
    # The gateway sees requests, replies, spans, and of the views the contract and the lines of GATEWAY_AND_VIEWS.
    "gateway": (
        "gateway",
        "actors.protocol",
        "actors.replies",
        "actors.timeline.calendar",
        "actors.timeline.grid",
        "actors.timeline.span",
        "actors.timeline.unit",
        "actors.columns.times",
        "actors.columns.record_text",
        "actors.views.view",
        "actors.views.kinds",
    ),
    "gateway.cluster": ("gateway", "actors.cluster", "actors.protocol", "actors.views.view"),
    "config": (),
    "firnline": (),
    "scripts.checkout": (),
    "scripts.brokers": ("scripts.checkout",),
    "scripts.produce": ("scripts.brokers",),
    "scripts.service": ("scripts.brokers", "scripts.checkout", "actors", "config", "gateway"),
    "scripts.cli": (
        "scripts.brokers",
        "scripts.checkout",
        "scripts.service",
        "actors.columns.values",
        "actors.kafka_topic",
        "actors.reading.pace",
        "actors.records.encoding",
        "actors.records.members",
        "actors.sources.kafka",
        "actors.sources.polled",
        "config",
        "firnline",
    ),
    "scripts.lab": ("scripts.brokers", "scripts.checkout", "scripts.produce", "scripts.lab", "actors", "gateway"),
    "scripts": ("scripts",),  # the commands themselves
}
"""Each room, and what it may import beside itself. A name covers all that is below it; the longest name that fits decides."""

GATEWAY_AND_VIEWS = {f"gateway.routes.{view}": {f"actors.views.{view}.arguments"} for view in VIEWS}
"""What the routes of a view may import of it: the arguments of its queries."""

ONLY_IN = {
    "pykka": ("actors.protocol", "actors.runtime.actor", "actors.runtime.mailbox"),
    "confluent_kafka": ("actors.kafka_topic", "actors.kafka_trouble", "actors.sources", "actors.sinks", "scripts"),
    "starlette": ("gateway",),
    "datasketches": ("actors.views.uniques.sketch",),
    "pcodec": ("actors.columns.sealed",),
    "fastavro": ("actors.records.schemas.avro", "scripts.lab.measure.rivals"),
    "ray": ("scripts.cli.on_ray.launch",),
    "google": ("actors.records.schemas.protobuf", "scripts.lab.encoded", "scripts.lab.measure.rivals"),
}
PURE = (
    "actors.columns",
    "actors.timeline",
    "actors.records",
    "actors.views",
    "actors.protocol",
    "actors.replies",
    "actors.messages",
    "actors.standing",
    "actors.reading.cutting",
    "actors.reading.intake",
    "actors.reading.outbox",
    "actors.reading.pace",
    "actors.reading.pause",
    "actors.reading.poison",
    "actors.collecting.brake",
    "actors.collecting.checkpoint",
    "actors.collecting.collector",
    "actors.collecting.ledger",
    "actors.collecting.memory",
    "actors.collecting.phase",
    "actors.collecting.tally",
    "actors.cluster.joining",
    "actors.cluster.messages",
    "actors.cluster.parcels",
    "actors.cluster.rekeyed.blocks",
    "actors.cluster.rekeyed.dealing",
)
"""Modules that only decide: clock, memory, disk and Kafka are arguments."""

IMPURE = ("asyncio", "logging", "os", "random", "socket", "subprocess", "threading", "time")
LIBRARIES = {
    "actors.columns": {"msgspec", "numpy", "pcodec"},
    "actors.timeline": {"numpy"},
    "actors.records": {"msgspec", "numpy", "fastavro", "google"},
    "actors.views": {"numpy", "msgspec", "datasketches", "typing_extensions"},
}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> set[str]:
    """Return every module that a file imports, with `from a import b` as `a.b` if that is a module of ours."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide the layer"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                found.add(whole if whole in NAMES else str(node.module))
    return found


def below(name: str, *places: str) -> bool:
    """Whether a module is one of these places, or lies in one."""
    return any(name == place or name.startswith(place + ".") for place in places)


def room_of(name: str) -> str:
    """Return the room of a module: the longest name in ROOMS that fits."""
    fitting = [room for room in ROOMS if below(name, room)]
    return max(fitting, key=len, default="")


def allowed(name: str, imported: str) -> bool:
    """Whether the module `name` may import the module `imported`."""
    room = room_of(name)
    return below(imported, room, *ROOMS[room]) or imported in GATEWAY_AND_VIEWS.get(name, ())


def ours(path: Path) -> set[str]:
    """Return what a file imports of this project."""
    return {imported for imported in imports(path) if imported.split(".")[0] in OURS}


def test_every_file_belongs_to_a_room():
    packages = {"actors", "actors.views"}
    assert not [name for name in NAMES if not room_of(name) and name not in packages]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_imports_only_what_its_room_may(name: str):
    for imported in ours(NAMES[name]):
        assert allowed(name, imported), f"{name} must not import {imported}"


def test_every_permission_is_used():
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name, path in NAMES.items():
        if room_of(name):
            used[room_of(name)] |= ours(path)
    for room, places in ROOMS.items():
        needed = places if places is not WORDS else ()
        for place in set(needed) - set(WORDS):
            assert any(below(imported, place) for imported in used[room]), f"{room} imports nothing of {place}: forbid it"
    for name, places in GATEWAY_AND_VIEWS.items():
        assert places <= ours(NAMES[name]), f"{name} no longer imports {places - ours(NAMES[name])}: forbid it"


def test_no_two_rooms_import_each_other():
    arrows = {
        (room_of(name), room_of(imported))
        for name, path in NAMES.items()
        for imported in ours(path)
        if room_of(name) != room_of(imported)
    }
    assert not {(one, other) for one, other in arrows if (other, one) in arrows}


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_library_is_used_where_it_belongs(package: str):
    users = {name for name, path in NAMES.items() if any(below(imported, package) for imported in imports(path))}
    assert not {name for name in users if not below(name, *ONLY_IN[package])}
    assert not [place for place in ONLY_IN[package] if not any(below(name, place) for name in users)], "a stale permission"


@pytest.mark.parametrize("name", [name for name in NAMES if below(name, *PURE)])
def test_a_pure_file_has_no_clock_no_disk_and_few_libraries(name: str):
    used = imports(NAMES[name])
    assert not [imported for imported in used if below(imported, *IMPURE)]
    for room, libraries in LIBRARIES.items():
        if below(name, room):
            assert {imported.split(".")[0] for imported in used} - set(OURS) - sys.stdlib_module_names <= libraries


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("actors.collecting.tally", "actors.durability.keeper"),
        ("actors.reading.pace", "actors.front_end"),
        ("actors.views.top.slices", "actors.views.sets.slices"),
        ("actors.timeline.span", "actors.views.view"),
        ("actors.sources.lines", "actors.sinks.sink"),
        ("gateway.app", "actors.manager"),
        ("gateway.routes.words", "actors.views.words.table"),
        ("firnline.client", "scripts.cli.main"),
        ("config.load", "actors.replies"),
        ("scripts.produce.patterns", "actors.timeline.span"),
    ],
)
def test_a_forbidden_import_is_refused(name: str, imported: str):
    assert name in NAMES
    assert not allowed(name, imported)


def test_no_file_unpickles_or_evaluates():
    for path in FILES:
        names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "pickle"}, path
        assert not imports(path) & {"pickle", "marshal", "shelve"}, path


def test_no_folder_of_the_product_has_more_than_a_dozen_files():
    for folder in {path.parent for path in FILES}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= 12, f"{folder.relative_to(ROOT)} has {len(files)} files: it wants rooms"


def test_the_examples_in_docstrings_are_true():
    tried = 0
    for name, path in NAMES.items():
        module = importlib.import_module(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["doctest"])
            result = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})
        assert not result.failed, path
        tried += result.attempted
    assert tried >= 10
