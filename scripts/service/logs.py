"""What is told on standard error: one event a line, as JSON or for people, from the service and the libraries alike.

Called by the composition root, at the start and when the level changes. Standard output is for results. No line an event of a
stream, and none a request, but at the level debug. What is named like a secret is not told.
"""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from config.settings import Log

_SECRET = re.compile(r"password|passwd|secret|token|authorization|credential", re.IGNORECASE)
_HIDDEN = "***"
_LIBRARIES = {"debug": logging.INFO, "info": logging.WARNING}
"""From which level on libraries are heard, by our own level; they say much at theirs."""


def tell_by(told: Log) -> None:
    """Have everything told as `told` says; replaces what was said before. Cost of a line that is not told: 5 us at most."""
    level = logging.getLevelNamesMapping()[told.level.upper()]
    people = told.format == "console" or (told.format == "auto" and sys.stderr.isatty())
    rendered: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if people
        else [structlog.processors.ExceptionRenderer(), structlog.processors.JSONRenderer(default=str)]
    )
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        in_order,
    ]
    structlog.configure(
        processors=[*common, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LIBRARIES.get(told.level, level))


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put stars in the place of what is named like a secret, at any depth of dicts.

    >>> hide_secrets(None, "info", {"event": "connected", "kafka": {"sasl.password": "hunter2", "group.id": "g"}})
    {'event': 'connected', 'kafka': {'sasl.password': '***', 'group.id': 'g'}}
    """
    return {key: _HIDDEN if _SECRET.search(key) else _without(value) for key, value in event.items()}


def in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put first when, how grave, and what."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _without(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _HIDDEN if _SECRET.search(str(key)) else _without(each) for key, each in value.items()}
