"""What differs between two readings of the settings, and when each difference can come into force.

Pure: used by the reload, which refuses a reading that needs a restart, and by `firnline config explain`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from config.settings import HIDDEN, STREAMS, Budget, Settings, secret, view_of


class Applies(StrEnum):
    """When a changed setting comes into force."""

    AT_ONCE = "at a reload, at once"
    NEXT = "at a reload, for the next collector"
    RESTART = "at a restart"
    ANEW = "at a restart, which begins a new data folder"


_AT_ONCE = {
    "memory.budget",
    "memory.spill_budget",
    "log.level",
    "streams.*.max_aged",
    "streams.*.max_age_ms",
    "http.deadline_ms",
    "http.max_queries",
    "http.max_rows",
    "http.max_body_bytes",
    "http.max_header_bytes",
    "http.max_connections",
    "http.max_watchers",
    "http.header_ms",
    "http.body_ms",
    "http.stall_ms",
    "http.keep_alive_ms",
    "http.hosts",
    "http.tokens",
}
_BOUNDS = ("max_sets", "max_batches", "max_cells", "max_hashes", "max_pairs")
"""At which size a collector retires. The active one keeps to its own."""

_SOURCES = ("topic", "file", "stdin", "command")
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Change:
    """A setting by its key, what it was and is, as people see it, and when that counts."""

    key: str
    old: Any
    new: Any
    applies: Applies

    @property
    def reloadable(self) -> bool:
        """Whether no restart is needed."""
        return self.applies in {Applies.AT_ONCE, Applies.NEXT}

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.key}: {_text(self.old)} → {_text(self.new)}"


def applies(path: tuple[str, ...], view: str = "sets") -> Applies:
    """Return when a change of the setting at `path` counts; below `streams.NAME` the stream's `view` matters.

    >>> applies(("streams", "events", "max_aged")).value
    'at a reload, at once'
    """
    starred = ("streams", "*", *path[2:]) if path[0] == "streams" else path
    if ".".join(starred) in _AT_ONCE:
        return Applies.AT_ONCE
    if path[0] == "data_dir":
        return Applies.ANEW
    if path[0] == "streams" and len(path) > 2:
        own = path[2:]
        if own[0] in _BOUNDS:
            return Applies.NEXT
        if own[0] in {"view", *STREAMS[view].meant} or (own[0] == "source" and own[-1] in {"source", *_SOURCES}):
            return Applies.ANEW
    return Applies.RESTART


def changes(old: Settings, new: Settings) -> list[Change]:
    """Return each setting that differs, by its key, with no secret in it."""
    was, now = dict(leaves(old)), dict(leaves(new))
    gone = {name for name in (*old.streams, *new.streams) if (name in old.streams) != (name in new.streams)}
    found = [Change(f"streams.{name}", _stream(old, name), _stream(new, name), Applies.RESTART) for name in dict.fromkeys(gone)]
    for path in dict.fromkeys((*was, *now)):
        if path[0] == "streams" and path[1] in gone:
            continue
        before, after = was.get(path, ABSENT), now.get(path, ABSENT)
        if before != after:
            view = view_of(new.streams[path[1]]) if path[0] == "streams" else "sets"
            found.append(Change(".".join(path), shown(path, before), shown(path, after), applies(path, view)))
    return found


def leaves(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each setting that holds a value, with its path. Secrets are among them: show them by `shown` alone."""
    yield from _leaves((), settings)


def shown(path: tuple[str, ...], value: Any) -> Any:
    """Return a value as people see it: as they would write it, and hidden where it is secret."""
    if path[0] == "kafka" and len(path) > 1 and secret(path[1]):
        return HIDDEN
    return value if value is None or isinstance(value, bool | int | float | str) else _listed(value)


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, BaseModel) and not isinstance(value, Budget):
        for name in type(value).model_fields:
            yield from _leaves((*path, name), getattr(value, name))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves((*path, key), each)
    else:
        yield path, value


def _listed(value: Any) -> Any:
    return [str(each) for each in value] if isinstance(value, list) else str(value)


def _stream(settings: Settings, name: str) -> str:
    return f"a stream of {settings.streams[name].view}" if name in settings.streams else ABSENT


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "[" + ", ".join(value) + "]" if isinstance(value, list) else str(value)
