"""The consumer group of a cluster: its lease topic, a member of it, and what lets a member commit.

The lease topic has one partition for each shard. Kafka's group protocol gives each process some of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scripts.service.cluster.topics import COMPACTED, ensure_own

_HEARTBEATS = 6
"""Heartbeats in a session. More would make no move shorter: librdkafka sends the next one when its thread wakes."""


@dataclass(frozen=True, slots=True)
class Group:
    """A cluster as Kafka knows it: the lease topic, the consumer group, its members' patience, and the name of this member."""

    topic: str
    shards: int
    session_ms: int
    member: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What lets this process commit for all shards: the epoch by which it has shard 0, and its membership of the group then.

    Kafka refuses a transaction with this membership as soon as another process may have the shard.
    """

    epoch: int
    membership: Any


def ensure_leases(settings: Mapping[str, Any], group: Group) -> None:
    """Create the lease topic if it is absent. Raises ValueError if it has other shards, OSError if Kafka is away."""
    found = ensure_own(settings, group.topic, group.shards, COMPACTED)
    if found != group.shards:
        raise ValueError(
            f"cluster.shards: expected {found}, the shards that the cluster began with (the partitions of topic"
            f" {group.topic}), got {group.shards}: another number needs another cluster.name, and reads everything again"
        )


def member_of(settings: Mapping[str, Any], group: Group) -> Consumer:
    """Return a client that can join the group."""
    own: dict[str, Any] = {
        "group.id": group.topic,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": group.session_ms,
        "heartbeat.interval.ms": max(1, group.session_ms // _HEARTBEATS),
        "max.poll.interval.ms": max(300_000, group.session_ms),
        "enable.auto.commit": False,
        "auto.offset.reset": "latest",
        "isolation.level": "read_committed",
        "log_level": 0,
    }
    if group.member is not None:
        own["group.instance.id"] = group.member
    return Consumer({**settings, **own})


def reader_of(settings: Mapping[str, Any], group: Group) -> Consumer:
    """Return a client that reads the lease topic from its beginning. It tells each time that it has read all of a partition."""
    own: dict[str, Any] = {
        "group.id": group.topic,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "log_level": 0,
    }
    reader = Consumer({**settings, **own})
    reader.assign([TopicPartition(group.topic, number, 0) for number in range(group.shards)])
    return reader


def membership_of(member: Consumer) -> Any:
    """Return the membership of a group, for a transaction. Raises KafkaException if the member has none, or has lost it.

    Kafka checks nothing in a transaction if the membership has neither name nor generation.
    """
    before = member.memberid()
    found = member.consumer_group_metadata()
    if not before or member.memberid() != before:
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "the membership of the group is lost"))
    return found
