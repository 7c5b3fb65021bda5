"""The checkpoint topic itself: a partition for each shard, compacted, made by the first process of the cluster."""

from collections.abc import Mapping
from typing import Any

from scripts.service.cluster.topics import COMPACTED, ensure_own, piece_bytes

_CONFIGURATION = {
    **COMPACTED,
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
    found = ensure_own(settings, topic, shards, _CONFIGURATION)
    if found != shards:
        raise ValueError(f"cluster.checkpoints: expected {shards} partitions of topic {topic}, got {found}")
    return piece_bytes(settings, topic)
