"""Parts of answers of `sets` as they go from one process of a cluster to another. See `actors.cluster.parcels`.

One shard matches all events, and the others hold its older generations. So the matcher alone is asked first. Its part may have
slips: each stands for a generation that it has given to a shelf, and is replaced by what the shelf has, see `shelves`.
"""

from actors.views.sets.parcel.shelves import away, fetching, filled, shelf_of, spans_of, taken, wider
from actors.views.sets.parcel.slips import matcher
from actors.views.sets.parcel.wire import ARGUMENTS, asks, joined, packed, unpacked

__all__ = [
    "ARGUMENTS",
    "asks",
    "away",
    "fetching",
    "filled",
    "joined",
    "matcher",
    "packed",
    "shelf_of",
    "spans_of",
    "taken",
    "unpacked",
    "wider",
]
