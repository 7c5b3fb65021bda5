"""The topics of a cluster itself: each is created by the process that needs it first, and read as far as is committed."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.kafka_topic import client_settings, longest_record, metadata_of

COMPACTED = {"cleanup.policy": "compact"}
"""The configuration of a topic that keeps the last record of each key."""

READS = {
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
    "queued.max.messages.kbytes": 16 << 10,
    "check.crcs": True,
    "log_level": 0,
}
"""The settings of a consumer that reads the pieces of files, and needs to know where a partition ends."""

_TIMEOUT_S = 10.0
_AGAIN_S = 0.1
_PIECE_BYTES = 512 << 10
_KEY_BYTES = 256


def ensure_own(settings: Mapping[str, Any], topic: str, partitions: int, configuration: Mapping[str, str]) -> int:
    """Create a topic with a `configuration` unless it exists: an existing one keeps its own.

    Returns the number of its partitions, which it had before perhaps. Raises OSError if Kafka is away, or refuses it.
    """
    admin = AdminClient(client_settings(settings))
    wanted = NewTopic(topic, partitions, config=dict(configuration))
    try:
        admin.create_topics([wanted], request_timeout=_TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise OSError(f"topic {topic}: {error.args[0].str()}") from None
    deadline = time.monotonic() + _TIMEOUT_S
    while True:  # a topic that was just created has no partitions for a moment
        try:
            found = len(metadata_of(admin, topic, _TIMEOUT_S).topics[topic].partitions)
        except KafkaException as error:
            raise OSError(f"topic {topic}: {error.args[0].str()}") from None
        if found or time.monotonic() > deadline:
            return found
        time.sleep(_AGAIN_S)


def piece_bytes(settings: Mapping[str, Any], topic: str) -> int:
    """Return the bytes of the longest piece of a file that a topic takes as a record, with its key. Raises OSError."""
    try:
        longest = longest_record(settings, topic)
    except PermissionError:  # the cluster works without the right to describe the topic's configuration
        return _PIECE_BYTES
    return min(_PIECE_BYTES, longest - _KEY_BYTES)
