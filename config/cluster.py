"""What can be configured of a cluster: its name, its shards, and how its processes reach and trust each other."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from config.fields import Model, Whole


class Cluster(Model):
    """Several processes that read and answer the same streams together."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,62}$",
        description="The name of the cluster. Its lease topic and its consumer group are `firnline-NAME-leases`.",
    )
    shards: Whole = Field(
        ge=1, le=256, description="Shards. Shard i has the partitions p of each topic with p modulo `shards` = i."
    )
    member: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="A name of this process that no other one has. With it, a restart within `session_ms` moves no shard.",
    )
    address: str | None = Field(
        None,
        min_length=1,
        description="The host or address at which the others reach `http.port` of this process; null: `http.host`.",
    )
    secret: Path | None = Field(
        None,
        description="A file with the secret that all processes share; null: the environment variable FIRNLINE_CLUSTER_SECRET.",
    )
    checkpoints: Literal["folder", "topic"] = Field(
        "folder",
        description="Where a shard that moves finds its checkpoints: in a data_dir that all processes share, or in the topic"
        " `firnline-NAME-checkpoints`.",
    )
    generations_ms: Whole | None = Field(
        None,
        ge=60_000,
        description="Milliseconds for which the topics `firnline-NAME-generations-STREAM` keep older sets; null: for ever.",
    )
    session_ms: Whole = Field(
        6_000,
        ge=1_000,
        le=300_000,
        description="Milliseconds after which the shards of a silent process move. "
        "Kafka's `group.min.session.timeout.ms` (6,000) is the least that the broker allows.",
    )
