"""The log on standard error: one event a line, as JSON or for people, from the service and its libraries.

Configured by the composition root, at the start and when the level changes. Events of a stream have no line; requests have one
only at the level debug. Fields that are named like a secret are hidden.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from config.fields import HIDDEN, secret
from config.settings import Log

_LIBRARIES = {"debug": logging.INFO, "info": logging.WARNING}
"""The level for libraries, by our own level; they write too many lines at ours."""


def configure_log(settings: Log) -> None:
    """Configure the log of the process, in place of an earlier configuration. Cost of a line below the level: 5 us at most."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    for_people = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    rendered: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if for_people
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
    root.setLevel(_LIBRARIES.get(settings.level, level))


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace the values of fields that are named like a secret by stars, at any depth of dicts.

    >>> hide_secrets(None, "info", {"event": "connected", "kafka": {"sasl.password": "hunter2", "group.id": "g"}})
    {'event': 'connected', 'kafka': {'sasl.password': '***', 'group.id': 'g'}}
    """
    return {key: HIDDEN if _is_secret(key) else _without(value) for key, value in event.items()}


def in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put time, level and event first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _without(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: HIDDEN if _is_secret(str(key)) else _without(each) for key, each in value.items()}


def _is_secret(name: str) -> bool:
    return name != "key" and secret(name)  # `key` names a setting
