"""The compacted topics of a cluster: each is created by the process that needs it first."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.kafka_topic import client_settings, metadata_of

_TIMEOUT_S = 10.0
_AGAIN_S = 0.1


def ensure_compacted(
    settings: Mapping[str, Any], topic: str, partitions: int, configuration: Mapping[str, str] | None = None
) -> int:
    """Create a topic unless it exists: compacted, or as its `configuration` says.

    Returns the number of its partitions, which it had before perhaps.

    Raises OSError if Kafka is away, or refuses it.
    """
    admin = AdminClient(client_settings(settings))
    wanted = NewTopic(topic, partitions, config={"cleanup.policy": "compact", **(configuration or {})})
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
