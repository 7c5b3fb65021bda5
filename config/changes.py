"""The differences between two readings of the settings, and when each difference can take effect.

Pure. Used by the reload, which refuses a change that needs a restart, and by `firnline config explain`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from config.fields import HIDDEN, Budget, secret
from config.records import SCHEMA_SETTINGS
from config.settings import Http, Settings
from config.streams import DEFAULT_VIEW, STREAMS, Source, view_of


class Applies(StrEnum):
    """When a changed setting takes effect."""

    AT_ONCE = "at a reload, at once"
    NEXT = "at a reload, for the next collector"
    RESTART = "at a restart"
    ANEW = "at a restart, which begins a new data folder"


_AT_ONCE = {"memory.budget", "memory.spill_budget", "log.level", "streams.*.max_aged", "streams.*.max_age_ms"} | {
    f"http.{name}" for name in Http.model_fields if name not in {"host", "port", "trusted_proxy"}
}
_INPUTS = tuple(name for name in Source.model_fields if name not in {"start", "partitions", "on_damage"})
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Change:
    """A changed setting: its key, its old and new value without secrets, and when the change takes effect."""

    key: str
    old: Any
    new: Any
    applies: Applies

    @property
    def reloadable(self) -> bool:
        """Whether a reload can apply the change."""
        return self.applies in {Applies.AT_ONCE, Applies.NEXT}

    def __str__(self) -> str:
        """Write the change in one line."""
        return f"{self.key}: {_text(self.old)} → {_text(self.new)}"


def applies(path: tuple[str, ...], view: str = DEFAULT_VIEW) -> Applies:
    """Return when a change of the setting at `path` takes effect. Below `streams.NAME` it depends on the stream's `view`.

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
        if own[0] in STREAMS[view].bounds:
            return Applies.NEXT
        if own[0] == "record" and own[-1] in SCHEMA_SETTINGS:
            return Applies.RESTART
        if own[0] in {"view", *STREAMS[view].meant} or (own[0] == "source" and own[-1] in {"source", *_INPUTS}):
            return Applies.ANEW
    return Applies.RESTART


def changes(old: Settings, new: Settings) -> list[Change]:
    """Return every setting that differs, without secrets."""
    was, now = dict(leaves(old)), dict(leaves(new))
    gone = {name for name in (*old.streams, *new.streams) if (name in old.streams) != (name in new.streams)}
    found = [Change(f"streams.{name}", _stream(old, name), _stream(new, name), Applies.RESTART) for name in dict.fromkeys(gone)]
    for path in dict.fromkeys((*was, *now)):
        if path[0] == "streams" and path[1] in gone:
            continue
        before, after = was.get(path, ABSENT), now.get(path, ABSENT)
        if before != after:
            view = view_of(new.streams[path[1]]) if path[0] == "streams" else DEFAULT_VIEW
            found.append(Change(".".join(path), shown(path, before), shown(path, after), applies(path, view)))
    return found


def leaves(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every setting with its path. Values may be secret: print them only through `shown`."""
    yield from _leaves((), settings)


def shown(path: tuple[str, ...], value: Any) -> Any:
    """Return a value as a user writes it, or stars if it is secret."""
    if path[0] == "kafka" and len(path) > 1 and secret(path[1]):
        return HIDDEN
    return value if value is None or isinstance(value, bool | int | float | str) else _listed(value)


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, BaseModel) and not isinstance(value, Budget):
        for name in type(value).model_fields:
            yield from _leaves((*path, name), getattr(value, name))
    elif isinstance(value, dict) and len(path) == 1:  # streams, and the settings of kafka; any other mapping is one value
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
