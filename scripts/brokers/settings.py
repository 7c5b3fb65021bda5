"""The settings that librdkafka refuses: unknown names, wrong values, and combinations. Opens no connection."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

_SERVERS = {"bootstrap.servers", "metadata.broker.list"}
_NO_SUCH = "No such configuration property"
_TOGETHER = "Failed to create"

ALL = ""
"""The name under which `refused` has the reason that is about several settings together."""


def refused(settings: Mapping[str, Any], *, writes: bool = False) -> dict[str, str]:
    """Return why librdkafka refuses each of these settings, by its name. With `writes`, also as settings of a producer.

    Addresses of brokers are not looked up. Cost: some milliseconds; for refused settings, as much for each setting.
    """
    given = {name: value for name, value in settings.items() if name not in _SERVERS}
    together = _reason(given, writes=writes)
    if together is None:
        return {}
    alone = {name: _reason({name: value}, writes=writes) for name, value in given.items()}
    found = {name: reason for name, reason in alone.items() if reason is not None and not reason.startswith(_TOGETHER)}
    return found or {ALL: together.partition(": ")[2] or together}


def _reason(settings: Mapping[str, Any], *, writes: bool) -> str | None:
    """Return why librdkafka refuses these settings together; None if it takes them."""
    try:
        Consumer({"group.id": "check", **settings, "log_level": 0}).close()
        if writes:
            Producer({"enable.idempotence": True, **settings, "log_level": 0})
    except KafkaException as error:
        reason = str(error.args[0].str()).strip()
        return "there is no such setting" if reason.startswith(_NO_SUCH) else reason
    return None
