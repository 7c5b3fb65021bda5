"""The log on standard error: one event a line, as JSON or for people, from the service and its libraries.

Configured by the composition root, at the start and when the level changes. Events of a stream have no line; requests have one
only at the level debug. Fields that are named like a secret are hidden.
"""

import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from threading import Lock
from types import TracebackType
from typing import Any

from config.fields import HIDDEN, secret
from config.settings import Log

Facts = dict[str, Any]
Raised = tuple[type[BaseException], BaseException, TracebackType | None]

_LIBRARIES = {"debug": logging.INFO, "info": logging.WARNING}
"""The level for libraries, by our own level; they write too many lines at ours."""

_LEVEL_WIDTH = 9
_EVENT_WIDTH = 30
_QUOTED = set(" \t=\r\n\"'")
_RED, _YELLOW, _GREEN, _BOLD = "\033[31m", "\033[33m", "\033[32m", "\033[1m"
_COLORS = {
    "end": "\033[0m",
    "bold": _BOLD,
    "time": "\033[2m",
    "critical": _RED + _BOLD,
    "error": _RED + _BOLD,
    "warning": _YELLOW + _BOLD,
    "info": _GREEN + _BOLD,
    "debug": _GREEN + _BOLD,
    "logger": "\033[34m",
    "name": "\033[36m",
    "value": "\033[35m",
}
_PLAIN = dict.fromkeys(_COLORS, "")


class EventLog:
    """The log of the service itself. Any thread may write. Cost of a line below the level: 0.3 us."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.render: Callable[[Facts], str] = as_json
        self._lock = Lock()

    def debug(self, event: str, **facts: Any) -> None:
        """Write an event for developers, with its facts."""
        self._write(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Any) -> None:
        """Write an event that needs no action."""
        self._write(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Write an event that a person should look at."""
        self._write(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Write a failure. A fact `exc_info` is an exception, or True for the one that is handled now."""
        self._write(logging.ERROR, event, facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Write a failure with the exception that is handled now."""
        self._write(logging.ERROR, event, {"exc_info": True, **facts})

    def _write(self, level: int, event: str, facts: Facts) -> None:
        if level >= self.level:
            line = self.render(complete(logging.getLevelName(level).lower(), {**facts, "event": event}))
            with self._lock:
                print(line, file=sys.stderr, flush=True)


class _OfLibraries(logging.Formatter):
    """Writes the records of libraries as lines of the same form, with the name of the logger."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts: Facts = {"event": record.getMessage()}
        if record.exc_info:
            facts["exc_info"] = record.exc_info
        if record.stack_info:
            facts["stack_info"] = record.stack_info
        return log.render(complete(record.levelname.lower(), {**facts, "logger": record.name}))


def configure_log(settings: Log) -> None:
    """Configure the log of the process, in place of an earlier configuration."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    terminal = sys.stderr.isatty()
    people = settings.format == "console" or (settings.format == "auto" and terminal)
    log.level = level
    log.render = (lambda facts: as_text(facts, colors=terminal)) if people else as_json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OfLibraries())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LIBRARIES.get(settings.level, level))


def complete(level: str, facts: Facts) -> Facts:
    """Return the fields of a line: time, level and event first, then the other facts, without secrets."""
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    first = {"timestamp": at, "level": level, "event": facts["event"]}
    return {**first, **{key: value for key, value in hide_secrets(facts).items() if key not in first}}


def as_json(facts: Facts) -> str:
    """Return a line of JSON. An exception is a text with its traceback."""
    exc_info = raised(facts.pop("exc_info", None))
    if exc_info is not None:
        facts["exception"] = "".join(traceback.format_exception(*exc_info)).removesuffix("\n")
    return json.dumps(facts, default=str)


def as_text(facts: Facts, *, colors: bool) -> str:
    """Return a line for people, with an exception below it. The facts are in the order of their names.

    >>> as_text({"timestamp": "now", "level": "info", "event": "read", "stream": "a b", "count": 3}, colors=False)
    "now [info     ] read                           count=3 stream='a b'"
    """
    style = _COLORS if colors else _PLAIN
    exception = facts.pop("exception", None)
    exc_info = raised(facts.pop("exc_info", None))
    level = facts.pop("level")
    parts = [
        f"{style['time']}{facts.pop('timestamp')}{style['end']}",
        f"[{style.get(level, '')}{level:<{_LEVEL_WIDTH}}{style['end']}]",
        f"{style['bold']}{facts.pop('event'):<{_EVENT_WIDTH}}{style['end']}",
    ]
    if "logger" in facts:
        parts.append(f"[{style['end']}{style['bold']}{style['logger']}{facts.pop('logger')}{style['end']}]{style['end']}")
    parts += [
        f"{style['name']}{name}{style['end']}={style['value']}{_shown(value)}{style['end']}"
        for name, value in sorted(facts.items())
    ]
    line = " ".join(parts).rstrip(" ")
    if exc_info is not None:
        return f"{line}\n{_with_variables(exc_info, colors=colors)}"
    return line if exception is None else f"{line}\n{exception}"


def _shown(value: object) -> str:
    """Return a value as it is, or as Python writes it if it has spaces or quotes."""
    return value if isinstance(value, str) and not _QUOTED & set(value) else repr(value)


def _with_variables(exc_info: Raised, *, colors: bool) -> str:
    """Return a traceback with its code and local variables. Imports rich, which a service without failures does not need."""
    from rich.console import Console  # noqa: PLC0415
    from rich.traceback import Traceback  # noqa: PLC0415

    text = StringIO()
    trace = Traceback.from_exception(*exc_info, show_locals=True, word_wrap=True)
    Console(file=text, color_system="truecolor" if colors else None).print(trace)
    return text.getvalue()


def raised(given: object) -> Raised | None:
    """Return an exception with its type and traceback; None if `given` is no exception, and none is handled now."""
    match given:
        case BaseException():
            return type(given), given, given.__traceback__
        case (type(), BaseException() as error, None | TracebackType() as trace):
            return type(error), error, trace
    kind, value, trace = sys.exc_info() if given else (None, None, None)
    return None if kind is None or value is None else (kind, value, trace)


def hide_secrets(facts: Facts) -> Facts:
    """Replace the values of fields that are named like a secret by stars, at any depth of dicts.

    >>> hide_secrets({"event": "connected", "kafka": {"sasl.password": "hunter2", "group.id": "g"}})
    {'event': 'connected', 'kafka': {'sasl.password': '***', 'group.id': 'g'}}
    """
    return {key: HIDDEN if _is_secret(key) else _without(value) for key, value in facts.items()}


def _without(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: HIDDEN if _is_secret(str(key)) else _without(each) for key, each in value.items()}


def _is_secret(name: str) -> bool:
    return name != "key" and secret(name)  # `key` names a setting


log = EventLog()
"""The one log of the process."""
