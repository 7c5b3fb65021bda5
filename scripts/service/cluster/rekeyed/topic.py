"""A topic by key itself: a partition for each shard, with the retention of the topic where its records come from."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # exported

from actors.kafka_topic import client_settings, ensure_topic, metadata_of
from config.streams import Stream
from scripts.service.cluster.topics import ensure_own
from scripts.service.keeping import digest_of

_TIMEOUT_S = 10.0
_AGAIN_S = 0.1
_MORE_BYTES = 1 << 20
"""What a block takes beside one record: half a megabyte of others, and how far the partitions are."""

_LONGEST = 1_000_000_000
"""The largest `message.max.bytes` of librdkafka."""


def topic_of(cluster: str, stream: str, stanza: Stream) -> str:
    """Return the name of the topic of a stream. Other settings that change the meaning of its records have another topic."""
    return f"firnline-{cluster}-by-key-{stream}-{digest_of(stanza)}"


def ensure_by_key(settings: Mapping[str, Any], topic: str, shards: int, source: str, partitions: int | None) -> int:
    """Create `topic` if it is absent; return the bytes of its longest record.

    Its retention is that of the topic `source`, which is created too if it is absent and has a number of `partitions`.
    Raises OSError if that cannot be done now, or if the topic has another number of partitions.
    """
    admin = AdminClient(client_settings(settings))
    try:
        if partitions is not None:
            ensure_topic(settings, source, partitions)
        found = _partitions(admin, topic) or ensure_own(settings, topic, shards, _like(admin, source, shards))
        if found != shards:
            raise OSError(f"topic {topic}: expected {shards} partitions, one for each shard, got {found}: delete the topic")
        own = _configuration(admin, topic)
        return min(_LONGEST, int(own["max.message.bytes"].value))
    except KafkaException as error:
        raise OSError(f"topic {topic}: {error.args[0].str()}") from error


def _like(admin: AdminClient, source: str, shards: int) -> dict[str, str]:
    """Return the configuration of a topic by key of `source`."""
    if not (numbers := _partitions(admin, source)):
        raise OSError(f"there is no topic {source}")
    own = _configuration(admin, source)
    total = int(own["retention.bytes"].value)
    return {
        "cleanup.policy": "delete",
        "retention.ms": own["retention.ms"].value if "delete" in own["cleanup.policy"].value else "-1",
        "retention.bytes": str(total if total < 0 else -(-total * numbers // shards)),
        "max.message.bytes": str(int(own["max.message.bytes"].value) + _MORE_BYTES),
    }


def _partitions(admin: AdminClient, topic: str) -> int:
    """Return the number of partitions of a topic; 0 if it is absent."""
    return len(metadata_of(admin, topic, _TIMEOUT_S).topics[topic].partitions)


def _configuration(admin: AdminClient, topic: str) -> dict[str, Any]:
    """Return a topic's configuration. A broker may not have heard of a new topic yet."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            found: dict[str, Any] = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)[resource].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_S)
        else:
            return found
