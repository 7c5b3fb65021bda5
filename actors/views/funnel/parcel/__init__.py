"""Parts of answers of `funnel` as they go from one process of a cluster to another. See `actors.cluster.parcels`.

A shard has whole sequences if no key lies in two shards, which is checked, see `fit`. Whether a sequence is open is decided at
the join, by the time that all shards have passed.
"""

from actors.views.funnel.parcel.joining import ARGUMENTS, first, further, joined, packed, refusal, steady, unpacked
from actors.views.funnel.parcel.shard import homes, of_shard

__all__ = ["ARGUMENTS", "first", "further", "homes", "joined", "of_shard", "packed", "refusal", "steady", "unpacked"]
