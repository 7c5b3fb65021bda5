"""The checkpoint topic itself: a partition for each shard, compacted, made by the first process of the cluster."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.kafka_topic import client_settings, longest_record, metadata_of

_TIMEOUT_S = 10.0
_PIECE_BYTES = 512 << 10
_KEY_BYTES = 256
_CONFIGURATION = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 << 20),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.3",
    "max.compaction.lag.ms": "1800000",
    "delete.retention.ms": "600000",
}
"""Compaction spares the segment that is written, so small segments bound what the topic holds beside the two checkpoints.

A reader that is slower than `delete.retention.ms` misses nothing: the manifest alone decides what it reads.
"""


def topic_of(cluster: str) -> str:
    """Return the name of the topic of a cluster."""
    return f"firnline-{cluster}-checkpoints"


def ensure_checkpoints(settings: Mapping[str, Any], topic: str, shards: int) -> int:
    """Create the topic if it is absent. Return the bytes of the longest piece of a file that it takes as a record.

    Raises ValueError if it has other shards, OSError if Kafka is away.
    """
    admin = AdminClient(client_settings(settings))
    try:
        admin.create_topics([NewTopic(topic, shards, config=_CONFIGURATION)], request_timeout=_TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise OSError(f"topic {topic}: {error.args[0].str()}") from None
        try:
            found = len(metadata_of(admin, topic, _TIMEOUT_S).topics[topic].partitions)
        except KafkaException as problem:
            raise OSError(f"topic {topic}: {problem.args[0].str()}") from None
        if found not in {0, shards}:  # 0: another process has just created it
            raise ValueError(f"cluster.checkpoints: expected {shards} partitions of topic {topic}, got {found}") from None
    try:
        longest = longest_record(settings, topic)
    except PermissionError:  # the cluster works without the right to describe the topic's configuration
        return _PIECE_BYTES
    return min(_PIECE_BYTES, longest - _KEY_BYTES)
