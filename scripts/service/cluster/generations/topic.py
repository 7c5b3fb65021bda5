"""The topic of a stream's generations: a partition for each shard. That of shard 0 lists what is in the others."""

from collections.abc import Mapping
from typing import Any

from scripts.service.cluster.topics import ensure_own, piece_bytes

_SEGMENT_BYTES = 64 << 20
_MOST_SEGMENT_MS = 86_400_000
_LEAST_SEGMENT_MS = 60_000
_SEGMENTS = 8
"""Kafka deletes whole segments, so what is deleted is older than the setting by up to an eighth of it."""


def topic_of(cluster: str, stream: str) -> str:
    """Return the name of the topic of a stream."""
    return f"firnline-{cluster}-generations-{stream}"


def ensure_generations(settings: Mapping[str, Any], topic: str, shards: int, keeps_ms: int | None) -> int:
    """Create the topic if it is absent; it keeps records for `keeps_ms`, None: for ever. An existing one keeps its settings.

    Returns the bytes of the longest piece of a generation that it takes as a record. Raises ValueError if it has other shards,
    OSError if Kafka is away.
    """
    segment_ms = _MOST_SEGMENT_MS if keeps_ms is None else keeps_ms // _SEGMENTS
    configuration = {
        "cleanup.policy": "delete",
        "retention.ms": str(-1 if keeps_ms is None else keeps_ms),
        "retention.bytes": "-1",
        "segment.bytes": str(_SEGMENT_BYTES),
        "segment.ms": str(min(_MOST_SEGMENT_MS, max(_LEAST_SEGMENT_MS, segment_ms))),
    }
    found = ensure_own(settings, topic, shards, configuration)
    if found != shards:
        raise ValueError(f"cluster.shards: expected {shards} partitions of topic {topic}, got {found}")
    return piece_bytes(settings, topic)
