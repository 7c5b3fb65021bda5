"""Whether no key of a funnel lies in two shards: some partitioner of Kafka's clients says where each key is.

A partitioner that is right for every record of every shard makes the shard a function of the key, so no key is in two. Each
shard tests all partitioners on all records, and the join takes those that are right in all shards. Nothing is assumed of the
producers; if none is left, answers are refused.
"""

from collections.abc import Sequence
from typing import NamedTuple

from actors.columns.fields import integer, listed
from actors.columns.partitioners import PARTITIONERS
from actors.columns.snapshot import State
from actors.columns.text import Text
from actors.columns.times import Times
from actors.records.roles import NUMERIC

ALL = (1 << len(PARTITIONERS)) - 1

_NAMES = ", ".join(name for name, _ in PARTITIONERS)


class Fit(NamedTuple):
    """Which partitioners say for all records of a shard that their keys belong there: a bit each in `mask`.

    The shard of a key is its number modulo `modulus` modulo the shards. `modulus` is 0 without records. It is the number of
    partitions, or that of the shards if it divides that of the partitions, because the shard is the same then. So the number
    of partitions may change from one multiple of the shards to another one. `why` tells of the record that left no partitioner.
    """

    modulus: int = 0
    mask: int = ALL
    why: str = ""

    @staticmethod
    def of_state(state: State) -> "Fit":
        """Restore from a `state`."""
        modulus, mask, why = listed(state)
        return Fit(integer(modulus, 0), integer(mask, 0, ALL), str(why))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return tuple(self)

    def with_records(self, other: "Fit") -> "Fit":
        """Return what fits the records of both."""
        if not self.modulus or not other.modulus:
            return self if self.modulus else other
        if self.modulus != other.modulus:
            return Fit(
                self.modulus,
                0,
                "the topic has got more partitions, and not always a multiple of the shards, so keys have moved",
            )
        return Fit(self.modulus, self.mask & other.mask, self.why or other.why)


NO_RECORDS = Fit()


def modulus_of(partitions: int, shards: int) -> int:
    """Return the modulus of a topic with this number of partitions.

    >>> modulus_of(6, 3), modulus_of(12, 3), modulus_of(7, 3)
    (3, 3, 7)
    """
    return partitions if partitions % shards else shards


def mask_of(keys: Text, modulus: int, shard: int, shards: int, mask: int) -> int:
    """Return those bits of `mask` whose partitioner says for all `keys` that they belong to `shard`.

    A key that is a number counts by its digits. Cost: 40 to 150 ns a key for each bit, in general for one.
    """
    if not keys.lengths.size or not mask:
        return mask
    bare = _without_marks(keys)
    for place, (_, numbers) in enumerate(PARTITIONERS):
        if mask & 1 << place and not (numbers(bare) % modulus % shards == shard).all():
            mask &= ~(1 << place)
    return mask


def homes(keys: Text, shards: int) -> Times:
    """Return the shard of each key in a topic by key. A key that is a number counts by its digits. Cost: 40 to 150 ns a key."""
    _, numbers = PARTITIONERS[0]
    found: Times = numbers(_without_marks(keys)) % shards
    return found


def refusal_of(fits: Sequence[Fit]) -> str | None:
    """Return why the parts of shards cannot be joined; None if they can."""
    whole = Fit()
    for fit in fits:
        whole = whole.with_records(fit)
    if whole.mask:
        return None
    why = whole.why or f"the shards have keys by several partitioners of {_NAMES}"
    told = f"the records are not partitioned by the key of the funnel, so no shard has whole sequences: {why}"
    return f"{told}; with by_key: true in the stream's settings the shards forward each record to the shard of its key"


def reason_of(partition: int, offset: int) -> str:
    """Return the reason of a record that left no partitioner."""
    return f"with the record at partition {partition}, offset {offset}, none of {_NAMES} says where all keys are"


def _without_marks(keys: Text) -> Text:
    marked = (keys.lengths > 0) & (keys.blob[keys.starts] == NUMERIC[0])
    if not marked.any():
        return keys
    return Text(keys.blob, keys.starts + marked, keys.lengths - marked)
