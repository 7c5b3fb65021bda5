"""The manager of a matcher: if memory is short, its oldest generations go to the shelves, and none is dropped for that.

A generation that is still on its way to their topic counts as gone, as one that is being written to disk does. It is dropped
only if something hinders it, as in a process without shelves.
"""

from dataclasses import replace
from typing import cast

from typing_extensions import override

from actors.cluster.past import Manager as ShardManager
from actors.cluster.shelves.messages import OfMatcher, Shelved
from actors.timeline.retention import STUB_BYTES


class Manager(ShardManager):
    """Manages the generations of a matcher, whose view knows which ones the shelves can have. Metrics know it by this name."""

    @override
    def _prune(self) -> None:
        """Apply the limits. The oldest generations are coarsened first, which gives them to the shelves."""
        shelf, memory, shelved = self._shelf, self._memory, cast("OfMatcher", self._view).shelved
        while shelf.aged and (file := shelf.aged[0].name) is not None and shelved.gone(file):
            self._note_dropped(shelf.drop_oldest(), "retention")
        other_bytes, drops = memory.other_bytes, False
        if other_bytes + shelf.nbytes > memory.limits.budget_bytes:
            coming, drops = self._on_their_way(shelved)
            other_bytes -= coming
        for dropped, reason in shelf.prune(memory.limits, other_bytes, self._watermark, drops=drops):
            self._note_dropped(dropped, reason)

    def _on_their_way(self, shelved: Shelved) -> tuple[int, bool]:
        """Note which generations can be given away. Cost: O(aged).

        Returns the bytes of those that soon can be, and whether something hinders others. To drop one that is given away frees
        nothing, so generations are dropped only then.
        """
        coming, hindered = 0, False
        for aged in self._shelf.aged:
            if aged.meta.coarse_bytes or aged.meta.nbytes <= STUB_BYTES:
                continue
            if aged.name is not None and shelved.has(aged.name):
                aged.meta = replace(aged.meta, coarse_bytes=aged.meta.nbytes - STUB_BYTES)
            elif aged.coming if aged.name is None else shelved.comes(aged.name):
                coming += aged.meta.nbytes
            else:
                hindered = True
        return coming, hindered
