"""The view of a funnel in a shard of a cluster: that of one process, and it tests whether the keys belong to the shard."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

import numpy as np

from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.views.funnel.arguments import Asked
from actors.views.funnel.decode import Keyed
from actors.views.funnel.parcel import fit
from actors.views.funnel.parcel.fit import NO_RECORDS, Fit, mask_of, modulus_of, reason_of
from actors.views.funnel.slices import FrozenFunnel, FunnelCarry, LiveFunnel, Part
from actors.views.funnel.view import FunnelView
from actors.views.view import Decoded, Records, View


class Standing(NamedTuple):
    """What a join needs to know of a shard: the time that its live slice has passed, and what fits its records."""

    watermark: int = 0
    fit: Fit = NO_RECORDS


class Shares(tuple[Part, ...]):  # noqa: SLOT001  # a tuple cannot have slots
    """The partial answer of a shard. It is equal to its parts alone, whatever the shard's `standing` is.

    `at` is the time by which the shard has selected open sequences; None if the question had none.
    """

    standing: Standing
    at: int | None

    @classmethod
    def of(cls, parts: Iterable[Part], standing: Standing, at: int | None = None) -> Self:
        """Return the parts with a standing."""
        found = cls(parts)
        found.standing, found.at = standing, at
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Placed(Keyed):
    """Events, and which partitioners say that all of them belong to the shard."""

    fit: Fit = NO_RECORDS


@dataclass(slots=True)
class SharedCarry(FunnelCarry):
    """A carry that knows what fits all records so far."""

    fit: Fit = NO_RECORDS


class SharedLive(LiveFunnel):
    """A live slice of a shard. It and its successors keep what fits all records since the shard's first one."""

    def __init__(self, *, pattern: Sequence[int], within: int, max_sequences: int, carry: FunnelCarry | None = None) -> None:
        super().__init__(pattern=pattern, within=within, max_sequences=max_sequences, carry=carry)
        self._fit = carry.fit if isinstance(carry, SharedCarry) else NO_RECORDS

    @classmethod
    def of_state(cls, state: State, *, pattern: Sequence[int], within: int, max_sequences: int) -> Self:
        """See the base."""
        live = super().of_state(state, pattern=pattern, within=within, max_sequences=max_sequences)
        live._fit = Fit.of_state(state["fit"])  # noqa: SLF001  # same class
        return live

    def state(self) -> State:
        """See the base."""
        return {**cast("dict[str, State]", super().state()), "fit": self._fit.state()}

    def add(self, batch: Keyed, watermark: int | None) -> Mapping[str, int]:
        """See the base."""
        self._fit = self._fit.with_records(cast("Placed", batch).fit)
        return super().add(batch, watermark)

    def read(self, span: Any, arguments: Asked) -> Shares:
        """See the base."""
        return Shares.of(super().read(span, arguments), Standing(self._watermark, self._fit))

    def freeze(self) -> tuple[FrozenFunnel, FunnelCarry]:
        """See the base."""
        frozen, carry = super().freeze()
        return frozen, SharedCarry(carry.store, carry.watermark, carry.due, self._fit)


class SharedFunnelView(FunnelView):
    """A funnel in the shard `shard` of `shards`. `partitions` returns the number of partitions of the topic.

    `complain` gets the reason if keys do not belong to one shard alone. `decode` is called on one thread.
    """

    def __init__(
        self, view: FunnelView, *, shard: int, shards: int, partitions: Callable[[], int], complain: Callable[[str], object]
    ) -> None:
        vars(self).update(vars(view))  # it is this view, with more
        self._shard, self._shards = shard, shards
        self._partitions = partitions
        self._complain = complain
        self._last = NO_RECORDS

    def decode(self, records: Records) -> Decoded:
        """Decode a whole poll, and test the keys. Cost: as the base, and 40 to 150 ns an event."""
        decoded = super().decode(records)
        batch: Keyed = decoded.batch
        if not batch.count:
            return decoded._replace(batch=_placed(batch, NO_RECORDS))
        modulus = modulus_of(self._partitions(), self._shards)
        before = self._last.mask  # a partitioner that was wrong once needs no further test
        own = Fit(modulus, mask_of(batch.keys, modulus, self._shard, self._shards, before), self._last.why)
        if before and not own.mask:
            own = own._replace(why=self._reason(records, decoded, modulus, before))
        whole = self._last.with_records(own)
        if self._last.mask and not whole.mask:
            self._complain(f"answers of several shards are refused: {whole.why}")
        self._last = whole
        return decoded._replace(batch=_placed(batch, own))

    def open(self, carry: FunnelCarry | None) -> SharedLive:
        """See the base."""
        return SharedLive(pattern=self._pattern, within=self._within, max_sequences=self._max_sequences, carry=carry)

    def revive(self, state: State) -> SharedLive:
        """See the base."""
        return SharedLive.of_state(state, pattern=self._pattern, within=self._within, max_sequences=self._max_sequences)

    def merge(self, partials: Sequence[Any]) -> Shares:
        """Join partial answers of slices of this shard."""
        told = [each.standing for each in partials if isinstance(each, Shares)]
        return Shares.of((part for each in partials for part in each), told[-1] if told else Standing())

    def _reason(self, records: Records, decoded: Decoded, modulus: int, mask: int) -> str:
        """Find the record that leaves no partitioner, by halving the poll. Cost: as to test the poll twice."""
        keys = decoded.batch.keys
        low, high = 0, decoded.batch.count
        while high - low > 1:
            middle = (low + high) // 2
            rest = mask_of(keys.only(slice(low, middle)), modulus, self._shard, self._shards, mask)
            low, high, mask = (low, middle, mask) if not rest else (middle, high, rest)
        accepted = np.arange(len(records.values)) if decoded.accepted is None else np.flatnonzero(decoded.accepted)
        place = int(accepted[low])
        return reason_of(int(records.partitions[place]), int(records.offsets()[place]))


def of_shard(
    view: View, *, shard: int, shards: int, partitions: Callable[[], int], complain: Callable[[str], object]
) -> SharedFunnelView:
    """Return the view for a shard. See `SharedFunnelView`."""
    return SharedFunnelView(cast("FunnelView", view), shard=shard, shards=shards, partitions=partitions, complain=complain)


def homes(batch: Keyed, shards: int) -> Times:
    """Return the shard of each event in a topic by key: that of the first partitioner."""
    return fit.homes(batch.keys, shards)


def _placed(batch: Keyed, fit: Fit) -> Placed:
    return Placed(batch.keys, batch.hashes, batch.times, batch.steps, fit)
