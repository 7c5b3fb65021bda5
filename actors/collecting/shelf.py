"""The collectors of one round, the active one and the aged ones, with their bytes in memory and on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sortedcontainers import SortedDict

from actors.collecting.collector import Collector
from actors.columns.times import INT64_MAX
from actors.messages import Coarsen, Discard, Grown, ManagerMessage, Shed, Spill
from actors.protocol import CollectorId
from actors.runtime.actor import Actor
from actors.timeline.retention import STUB_BYTES, Holding, Limits, Verdict, decide
from actors.views.view import Meta


class Shelf:
    """The collectors of a round, as of their last reports. Belongs to `manager`, and runs on its thread.

    It uses the slices' descriptions (`Meta`) only, and carries out the decisions of `timeline.retention`.
    """

    def __init__(self, manager: Actor[ManagerMessage]) -> None:
        self._manager = manager
        self._aged: SortedDict = SortedDict()
        self._aged_bytes = 0
        self._shedding = False
        self._shed_at = 0
        self._spill_bytes: int | None = None
        self.active: Collector | None = None

    @property
    def aged(self) -> Sequence[Collector]:
        """The aged collectors, oldest first."""
        collectors: Sequence[Collector] = self._aged.values()
        return collectors

    @property
    def nbytes(self) -> int:
        """The bytes of memory of all slices."""
        return self._aged_bytes + (self.active.meta.nbytes if self.active is not None else 0)

    def knows(self, collector_id: CollectorId) -> bool:
        """Return whether a collector belongs to this round."""
        return collector_id in self._aged or (self.active is not None and self.active.collector_id == collector_id)

    def find(self, collector_id: CollectorId) -> Collector | None:
        """Return an aged collector of this round, or None."""
        found: Collector | None = self._aged.get(collector_id)
        return found

    def put(self, collector: Collector) -> None:
        """Add an aged collector. It must be the youngest."""
        self._aged[collector.collector_id] = collector
        self._aged_bytes += collector.meta.nbytes

    def retire(self, meta: Meta, successor: Collector) -> None:
        """Add the active collector to the aged ones, and make `successor` the active one."""
        assert self.active is not None, "only an active collector retires"
        self.active.meta = meta
        self.put(self.active)
        self.active = successor
        self._shedding = False

    def grown(self, message: Grown) -> None:
        """Note the new description of an aged collector's slice."""
        aged = self.find(message.collector_id)
        if aged is not None:
            self._aged_bytes += message.meta.nbytes - aged.meta.nbytes
            aged.meta = message.meta

    def shed(self) -> None:
        """Note that the active collector has handled `Shed`."""
        self._shedding = False

    def drop_oldest(self) -> Collector:
        """Drop the oldest generation, and return it."""
        _, oldest = self._aged.popitem(index=0)
        dropped: Collector = oldest
        self._aged_bytes -= dropped.meta.nbytes
        self._manager.send(dropped.address, Discard())
        return dropped

    def prune(
        self, limits: Limits, other_bytes: int, watermark: int | None, *, drops: bool = True
    ) -> Iterator[tuple[Collector, str]]:
        """Apply the limits; yield each dropped collector with the reason. Iterate to the end. Cost: O(aged) if over a limit.

        Unless it `drops`, no collector is dropped because memory is short.
        """
        # Only memory pressure fills the disk, so the disk limit is checked then, and after it was changed.
        over = other_bytes + self.nbytes > limits.budget_bytes or limits.spill_bytes != self._spill_bytes
        self._spill_bytes = limits.spill_bytes
        if not over and limits.max_aged is None and limits.max_age is None:
            return
        active = self.active.meta if self.active is not None else None
        verdict = decide(
            limits,
            [_holding(aged) for aged in self.aged],
            active_bytes=active.nbytes if active else 0,
            dead_bytes=active.dead_bytes if active else 0,
            other_bytes=other_bytes,
            watermark=watermark,
            drops=drops,
        )
        self._lighten(verdict)
        for reason in verdict.drop:
            yield self.drop_oldest(), reason
        # If the last Shed freed nothing, the next one waits until the bytes in use have changed.
        at = other_bytes + self.nbytes
        if verdict.shed_bytes and self.active is not None and not self._shedding and at != self._shed_at:
            self._shedding, self._shed_at = True, at
            self._manager.send(self.active.address, Shed(verdict.shed_bytes))

    def stop(self) -> None:
        """Stop every collector."""
        for collector in (*self.aged, *([self.active] if self.active is not None else [])):
            collector.address.stop(block=False)

    def _lighten(self, verdict: Verdict) -> None:
        """Have generations moved to disk, or made coarse.

        Their bytes are accounted as free at once, so that no generation is dropped meanwhile. Each collector reports its true
        size when it is done.
        """
        listed = self.aged
        for aged in [listed[index] for index in verdict.spill]:
            assert aged.name is not None, "only a slice in a file is spilled"
            self._aged_bytes -= aged.meta.nbytes - STUB_BYTES
            aged.meta = aged.meta.on_disk(STUB_BYTES, aged.file_bytes)
            self._manager.send(aged.address, Spill(aged.name))
        for aged in listed[: verdict.coarsen]:
            if aged.meta.coarse_bytes and not aged.spilled:
                self._aged_bytes -= aged.meta.coarse_bytes
                aged.meta = replace(aged.meta, nbytes=aged.meta.nbytes - aged.meta.coarse_bytes, coarse_bytes=0)
                aged.version, aged.name, aged.coming = aged.version + 1, None, True
                self._manager.send(aged.address, Coarsen())


def _holding(aged: Collector) -> Holding:
    return Holding(
        aged.meta.nbytes,
        aged.meta.span.end if aged.meta.span else INT64_MAX,
        aged.meta.coarse_bytes,
        aged.file_bytes if aged.name is not None else 0,
        coming=aged.coming,
        spilled=aged.spilled,
    )
