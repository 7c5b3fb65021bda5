"""What a shard needs for a stream whose records come from a topic by key: the source, and the actor that forwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from actors.cluster.parcels import parcel_of
from actors.cluster.rekeyed.dealing import Dealer
from actors.cluster.rekeyed.forwarder import Forwarder, Forwarding
from actors.cluster.rekeyed.source import RekeyedSource
from actors.cluster.share import SharedSource
from actors.messages import Look, Recover
from actors.protocol import Address
from actors.runtime.actor import System, start
from actors.sources.kafka.extent import Extent
from config.cluster import Cluster
from config.records import KAFKA
from config.streams import Stream
from scripts.service.cluster.rekeyed.outlet import Outlet
from scripts.service.cluster.rekeyed.topic import ensure_by_key, topic_of
from scripts.service.plan import ahead_of, view_of
from scripts.service.schemas.found import encoding_of, schemas_of, with_schemas


@dataclass(frozen=True, slots=True)
class ByKey:
    """The topic by key of the stream `name` in one shard, while `claim` gives the membership of the lease group."""

    name: str
    stanza: Stream
    cluster: Cluster
    kafka: Mapping[str, Any]
    shard: int
    claim: Callable[[int], Any]
    complain: Callable[[str], None]
    status: Forwarding = field(default_factory=Forwarding)

    @property
    def topic(self) -> str:
        """The name of the topic by key."""
        return topic_of(self.cluster.name, self.name, self.stanza)

    def source(self, carrier: SharedSource) -> RekeyedSource:
        """Return the source of the shard, which reads the topic by key by `carrier`."""
        return RekeyedSource(
            carrier,
            Extent(self.kafka, str(self.stanza.source.topic), self.complain),
            self.status,
            shard=self.shard,
            shards=self.cluster.shards,
            complain=self.complain,
        )

    def forward(self, system: System, source: SharedSource) -> Address[Look | Recover]:
        """Start the actor that forwards the records of `source`, the partitions of the shard."""
        stanza, shards = self.stanza, self.cluster.shards
        topic, group = str(stanza.source.topic), f"firnline-{self.cluster.name}-leases"
        schemas = schemas_of(stanza.form, self.name, self.complain)
        view = view_of(stanza, encoding_of(schemas))
        ensure = partial(ensure_by_key, self.kafka, self.topic, shards, topic, stanza.source.partitions)
        return start(
            Forwarder,
            system,
            stream=f"{self.name}.{self.shard}",
            source=with_schemas(source, schemas, stanza.form),
            dealer=Dealer(
                topic,
                view,
                parcel_of(stanza.view).homes,
                shards=shards,
                ahead=ahead_of(stanza, once=False),
                labelled=getattr(stanza.form, "key", None) == KAFKA,
            ),
            outlet=Outlet(self.kafka, self.topic, group, self.shard, partial(self.claim, self.shard), ensure),
            status=self.status,
            complain=self.complain,
        )
