"""Reads the settings: file, then environment, then command line. Reports all problems at once, each with its place.

Raises only SettingsError, and never prints a secret.
"""

import difflib
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from config.fields import HIDDEN, secret
from config.settings import OUR_KAFKA, Settings
from config.streams import STREAMS, view_of
from config.yaml_text import BROKEN, fault, line_of, parsed

DEFAULT = Path(__file__).with_name("default.yaml")
PREFIX = "FIRNLINE_"
_WHOLE = {f"{PREFIX}DATA_DIR"}
_PORT = re.compile(r"(?:\w+://)?(?:\[[^\]]*\]|[^:\[\]/]+):([^:]*)")
"""The port in the address of a broker. An address without one has 9092."""
_LAST_PORT = 65_535
_ADDRESSES = ("bootstrap.servers", "metadata.broker.list")

Path_ = tuple[str | int, ...]


class SettingsError(ValueError):
    """The configuration cannot be used. `problems` has one line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(("the configuration cannot be used:", *(f"  {problem}" for problem in problems))))
        self.problems = list(problems)


@dataclass(slots=True)
class _Given:
    """The values that were set so far, as a tree, and the place of each by its path."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path_, str] = field(default_factory=dict)

    def put(self, path: Path_, value: Any, place: str) -> None:
        """Set the value at `path`, in place of an earlier one. Raises ValueError if a part of the path is a plain value."""
        level = self.values
        for depth, key in enumerate(path[:-1], 1):
            if str(key) not in level:
                self.places[path[:depth]] = place
            following = level.setdefault(str(key), {})
            if not isinstance(following, dict):
                raise ValueError(f"{_dotted(path)}: expected a setting, got a path through {key!r}, which is a value")  # noqa: TRY004
            level = following
        for below in [each for each in self.places if each[: len(path)] == path]:
            del self.places[below]
        level[str(path[-1])] = _plain(value, path, lambda _line: place, self.places)
        self.places[path] = place

    def place(self, path: Path_) -> str:
        """Return the place where `path`, or the nearest section around it, was set."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "")


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings, and the place where each was set."""

    settings: Settings
    given: _Given

    def place(self, path: Sequence[str]) -> str | None:
        """Return the place where `path` was set, such as `x.yaml:3`; None if it has its default."""
        level: Any = self.given.values
        for key in path:
            if not isinstance(level, dict) or key not in level:
                return None
            level = level[key]
        return self.given.place(tuple(path))


Refused = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Returns why librdkafka refuses settings, by name; a reason about several of them has the name ""."""


def load(
    path: Path | None, overrides: Sequence[str], environ: Mapping[str, str], *, refused: Refused | None = None
) -> Settings:
    """Read the settings from `path`, or the default file, with the environment and then `overrides` over it.

    An override is `streams.events.max_sets=1000`. A variable is `FIRNLINE_HTTP__PORT`: two underscores separate the levels, and
    below `KAFKA` one underscore stands for a dot. `FIRNLINE_DATA_DIR` has one level. With `refused`, also reports the settings
    that librdkafka refuses. Raises SettingsError.
    """
    return read(path, overrides, environ, refused=refused).settings


def chosen(settings: Settings, only: Sequence[str]) -> Settings:
    """Return the settings with the streams named in `only` alone, or unchanged if `only` is empty.

    Raises ValueError if there is no stream of that name.
    """
    for name in only:
        if name not in settings.streams:
            raise ValueError(f"--only: expected one of {', '.join(settings.streams)}, got {name}")
    kept = {name: stream for name, stream in settings.streams.items() if not only or name in only}
    return settings.model_copy(update={"streams": kept})


def read(
    path: Path | None, overrides: Sequence[str], environ: Mapping[str, str], *, refused: Refused | None = None
) -> "Reading":
    """Read the settings as `load` does, with the place of each. Raises SettingsError."""
    given = _Given()
    problems = _read_file(path or DEFAULT, given)
    unread = bool(problems)
    in_file = set(_streams(given))
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX) and ("__" in name or name in _WHOLE):
            problems += _put(given, _of_environment(name), text, f"environment {name}")
    for override in overrides:
        key, equals, text = override.partition("=")
        if equals and key.strip():
            problems += _put(given, _of_override(key.strip()), text, f"--set {key.strip()}")
        else:
            problems.append(f"--set {HIDDEN if secret(override) else override}: expected KEY=VALUE, got no value")
    problems += _unknown_streams(given, in_file)
    problems += _wrong_addresses(given)
    if refused is not None:
        problems += _refused_by_library(given, refused)
    try:
        settings = Settings.model_validate(given.values)
    except ValidationError as error:
        # A Kafka setting has one error for each type that is allowed: dict.fromkeys keeps one line.
        # If the file could not be read, a missing value may be in it.
        details = [each for each in error.errors(include_url=False) if not (unread and each["type"] == "missing")]
        problems += dict.fromkeys(_problem(detail, given) for detail in [*details, *_behind_wrong_views(details)])
    if problems:
        raise SettingsError(problems)
    return Reading(settings, given)


def _read_file(path: Path, given: _Given) -> list[str]:
    """Read the file into `given`; returns its problems."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return [f"{path}: expected a file to read, got: {error.strerror}"]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return [f"{path}:{line}: expected UTF-8, got byte {error.object[error.start]:#04x} at position {error.start}"]
    repeated: list[YAMLError] = []
    try:
        document = parsed(text, repeated)
    except (YAMLError, *BROKEN) as error:
        repeated.append(error)  # type: ignore[arg-type]  # it is reported alike
        document = None
    problems = [f"{path}:{line_of(error, text)}: expected YAML, got: {fault(error)}" for error in repeated]
    if problems and not isinstance(document, CommentedMap):
        return problems
    if document is None:
        return [f"{path}:1: expected settings, got an empty file"]
    if not isinstance(document, CommentedMap):
        return [f"{path}:1: expected settings by name, got a {_kind(document)}"]
    given.places[()] = f"{path}:1"
    try:
        given.values = _plain(document, (), lambda line: f"{path}:{line}", given.places)
    except RecursionError:
        return [f"{path}:1: expected YAML, got a value that contains itself"]
    return problems


def _plain(node: Any, path: Path_, place: Callable[[int], str], places: dict[Path_, str]) -> Any:
    """Convert a loaded document to plain mappings and lists, and note places; `place` makes a place of a line number."""
    if isinstance(node, CommentedMap):
        plain = {}
        for key, value in node.items():
            own = (*path, str(key))
            # A key from a YAML merge has no line.
            if key in (node.lc.data or {}):
                places[own] = place(node.lc.key(key)[0] + 1)
            plain[str(key)] = _plain(value, own, place, places)
        return plain
    if isinstance(node, list):
        return [_plain(value, (*path, index), place, places) for index, value in enumerate(node)]
    return node


def _put(given: _Given, path: Path_, text: str, place: str) -> list[str]:
    """Set one value from the environment or command line, read as YAML; returns its problems.

    A Kafka setting stays text, because librdkafka takes text for everything, and a password may look like a number.
    """
    try:
        plain = path[0] == "kafka" and len(path) > 1
        value = parsed(text) if text.strip() and not plain else text
    except (YAMLError, *BROKEN):
        return [f"{place}: expected a YAML value, got {_shown(path, text)}"]
    try:
        given.put(path, value, place)
    except RecursionError:
        return [f"{place}: expected a YAML value, got one that contains itself"]
    except ValueError as error:
        return [f"{place}: {error}"]
    return []


def _of_environment(name: str) -> Path_:
    head, *rest = name.removeprefix(PREFIX).lower().split("__")
    return (head, ".".join(rest).replace("_", ".")) if head == "kafka" else (head, *rest)


def _of_override(key: str) -> Path_:
    head, _, rest = key.partition(".")
    return (head, rest) if head == "kafka" and rest else tuple(key.split("."))


# What the models do not find -----------------------------------------------------------------------------------------


def _streams(given: _Given) -> dict[str, Any]:
    streams = given.values.get("streams")
    return streams if isinstance(streams, dict) else {}


def _unknown_streams(given: _Given, in_file: Container[str]) -> list[str]:
    """Report streams that only overrides name, without a view and a source: their names are misspelt."""
    problems = []
    names = [name for name in _streams(given) if name in in_file]
    for name, stanza in _streams(given).items():
        if names and name not in in_file and isinstance(stanza, dict) and not stanza.keys() & {"view", "source"}:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
            problems.append(f"{given.place(('streams', name))}: streams.{name}: unknown stream, {hint}")
    return problems


def _wrong_addresses(given: _Given) -> list[str]:
    """Report addresses of brokers without a valid port: librdkafka takes 99999 as 34463, and `abc` as 0."""
    kafka = given.values.get("kafka")
    problems = []
    for name, addresses in kafka.items() if isinstance(kafka, dict) else ():
        for address in str(addresses).split(",") if name in _ADDRESSES else ():
            port = _PORT.fullmatch(address.strip())
            if port and not (port[1].isascii() and port[1].isdigit() and 1 <= int(port[1][:6]) <= _LAST_PORT):
                place = given.place(("kafka", name))
                problems.append(f"{place}: kafka.{name}: expected a port from 1 to {_LAST_PORT}, got {address.strip()}")
    return problems


def _refused_by_library(given: _Given, refused: Refused) -> list[str]:
    """Report the settings that librdkafka refuses. A reason about several settings has the places of all."""
    kafka = given.values.get("kafka")
    plain = (
        {name: value for name, value in kafka.items() if isinstance(value, str | int | float) and name not in OUR_KAFKA}
        if isinstance(kafka, dict)
        else {}
    )
    problems = []
    for name, reason in refused(plain).items():
        path: Path_ = ("kafka", name) if name else ("kafka",)
        about: list[Path_] = [path] if name else [("kafka", each) for each in plain if each not in _ADDRESSES] or [path]
        place = ", ".join(dict.fromkeys(filter(None, map(given.place, about))))
        text = "a value that it does not take" if secret(name) and '"' in reason else reason
        problems.append(f"{place}{': ' if place else ''}{_dotted(path)}: librdkafka refuses it: {text}")
    return problems


def _behind_wrong_views(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Return the unknown keys in the stanzas whose view is unknown, by the view that is most alike, or by all views."""
    found: list[ErrorDetails] = []
    for detail in details:
        if detail["type"] != "union_tag_invalid":
            continue
        path, stanza = detail["loc"], detail["input"]
        near = difflib.get_close_matches(view_of(stanza), STREAMS, n=1) or list(STREAMS)
        unknown = [_unknown_keys(view, stanza) for view in near]
        common = set.intersection(*({each["loc"] for each in own} for own in unknown))
        found += [{**each, "loc": (*path, *each["loc"])} for each in unknown[0] if each["loc"] in common]
    return found


def _unknown_keys(view: str, stanza: Mapping[str, Any]) -> list[ErrorDetails]:
    try:
        STREAMS[view].model_validate({**stanza, "view": view})
    except ValidationError as error:
        return [each for each in error.errors(include_url=False) if each["type"] == "extra_forbidden"]
    return []


# The wording of problems ---------------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails, given: _Given) -> str:
    """Write one problem: place, path, the expected value and the given one."""
    path = _untagged(tuple(part for part in detail["loc"] if not str(part).startswith("[")))
    if detail["type"] == "union_tag_invalid":
        path, detail = (*path, "view"), {**detail, "input": view_of(detail["input"])}
    place = given.place(path)
    lead = f"{place}: " if place else ""
    if path[:1] == ("kafka",) and len(path) > 1:
        key = re.split(r"[:=\s]", str(path[1]))[0]  # without a space after its colon, the key contains the value
        return f"{lead}kafka.{key}: expected text, a number, true or false, got {_shown(path, detail['input'])}"
    if detail["type"] == "extra_forbidden":
        return f"{lead}{_dotted(path[:-1])}{'.' if path[:-1] else ''}{path[-1]}: unknown key, {_hint(path, given)}"
    if detail["type"] == "missing":
        return f"{lead}{_dotted(path)}: expected a value, got nothing"
    return f"{lead}{_dotted(path)}: expected {_expected(detail)}, got {_shown(path, detail['input'])}"


def _untagged(path: Path_) -> Path_:
    """Return the path as a user writes it: pydantic inserts the view after a stream's name."""
    return (*path[:2], *path[3:]) if path[:1] == ("streams",) and len(path) > 2 and path[2] in STREAMS else path


def _expected(detail: ErrorDetails) -> str:
    """Return what pydantic expected, in plain words."""
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            expected: str = context["expected"]
            return expected.replace("'", "")
        case "union_tag_invalid":
            return "one of " + ", ".join(STREAMS)
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return "an integer"
        case "greater_than_equal":
            return f"{context['ge']} or more"
        case "less_than_equal":
            return f"{context['le']} or less"
        case "string_pattern_mismatch":
            return f"a name like {context['pattern']}"
        case "too_short":
            return f"at least {context['min_length']}"
        case "too_long":
            return f"at most {context['max_length']}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "settings by name"
        case _:
            return re.sub(r"^Input should be (a valid )?", "", detail["msg"])


def _hint(path: Path_, given: _Given) -> str:
    """Suggest the key that is most alike, or list all keys."""
    model: Any = Settings
    around = path[:-1]
    if path[0] == "streams" and len(path) > 2:
        view = view_of(given.values["streams"][path[1]])
        near = difflib.get_close_matches(view, STREAMS, n=1) or list(STREAMS)
        model, around = STREAMS[near[0]], path[2:-1]
    for name in around:
        model = _model_of(model.model_fields[str(name)].annotation)
    names = sorted(model.model_fields)
    near = difflib.get_close_matches(str(path[-1]), names, n=1)
    return f"did you mean {near[0]}?" if near else "there are: " + ", ".join(names)


def _model_of(annotation: Any) -> Any:
    """Return the model in the type of a setting, which may be optional."""
    if isinstance(annotation, type):
        return annotation
    return next(filter(None, map(_model_of, get_args(annotation))), None)


def _dotted(path: Path_) -> str:
    return ".".join(map(str, path))


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "single value"


def _shown(path: Path_, value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    if secret(text) or (path[:1] == ("kafka",) and secret(_dotted(path))):
        return HIDDEN
    return text if len(text) <= 80 else text[:80] + "…"  # one line
