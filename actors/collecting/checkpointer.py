"""How a manager makes a checkpoint: asks for the parts, has the whole written, and lets its results be seen then."""

import itertools
from collections.abc import Callable
from dataclasses import replace

from actors.collecting.checkpoint import Assembly
from actors.collecting.collector import Collector
from actors.collecting.shelf import Shelf
from actors.columns.snapshot import State
from actors.messages import (
    Archive,
    Checkpoint,
    CheckpointPart,
    Commit,
    FrontEndMessage,
    KeeperMessage,
    Kept,
    Loaded,
    ManagerMessage,
    Prepare,
    Prepared,
    Proceed,
    PublisherMessage,
    Save,
    Saved,
    Snapped,
    Snapshot,
)
from actors.protocol import Address, AttemptId
from actors.replies import Durability
from actors.runtime.actor import Actor


class Assembler:
    """Makes the checkpoints of one stream for `manager`, which owns it, one at a time. Never waits.

    `frame` returns the manager's own part. The front end reads on as soon as the live slice has given its state; the next
    checkpoint is asked for when this one is over.
    """

    def __init__(
        self,
        manager: Actor[ManagerMessage],
        *,
        keeper: Address[KeeperMessage] | None,
        publisher: Address[PublisherMessage] | None,
        frame: Callable[[], State],
    ) -> None:
        self._manager = manager
        self._keeper = keeper
        self._publisher = publisher
        self._frame = frame
        self._attempts = itertools.count(1)
        self._assembly: Assembly | None = None
        self.durability = Durability()
        self.front_end: Address[FrontEndMessage] | None = None
        """Who waits for a checkpoint; the manager sets it once it is known."""

    def loaded(self, message: Loaded) -> None:
        """Note what was read at the start, and forget the checkpoint under way."""
        self._assembly = None
        self.durability = replace(
            self.durability, loading=None, recovered_from=message.checkpoint_id, lost=message.lost, problem=None
        )

    def loading(self, done: int, total: int) -> None:
        """Note how far the reading is."""
        self.durability = replace(self.durability, loading=(done, total))

    def take(self, part: CheckpointPart, shelf: Shelf) -> None:
        """Take a part, of the checkpoint under way or for a new one. The collectors are those on `shelf`."""
        assembly = self._assembly
        if isinstance(part, Checkpoint):
            self._begin(part.state, shelf.active)
        elif isinstance(part, Kept):
            self._kept(part, shelf)
        elif assembly is None or assembly.attempt_id != part.attempt_id:
            return  # of one that was given up
        elif part.problem is not None:
            self.give_up(part.problem)
        elif isinstance(part, Prepared):
            assembly.places = part.places
            self._save_if_complete()
        elif isinstance(part, Saved):
            self._saved(part)
        else:
            self._snapped(assembly, part, shelf)

    def dropped(self, collector: Collector) -> None:
        """Note that a collector is gone, which may never be written then."""
        if self._assembly is not None and collector in self._assembly.unwritten():
            self.give_up("a generation was dropped before it was written")

    def give_up(self, problem: str) -> None:
        """Forget the checkpoint under way; the one before stands."""
        self._assembly = None
        told = self.durability
        self.durability = replace(told, failed=told.failed + 1, failures=told.failures + 1, problem=problem)
        self._manager.send(self._publisher, Commit(None))
        self._manager.send(self.front_end, Proceed(saved=False))

    def _begin(self, state: State, active: Collector | None) -> None:
        """Ask the active collector and the sinks where they stand."""
        if active is None or self._keeper is None or self._assembly is not None:
            self._manager.send(self.front_end, Proceed(saved=False))
            return
        attempt_id = AttemptId(next(self._attempts))
        self._assembly = Assembly(attempt_id, state, None if self._publisher is not None else ())
        self._manager.send(active.address, Snapshot(attempt_id))
        self._manager.send(self._publisher, Prepare(attempt_id, self._manager.address))

    def _snapped(self, assembly: Assembly, part: Snapped, shelf: Shelf) -> None:
        """Note the books as they stand with the live slice; then reading may go on. Where it had retired, ask its successor."""
        assert shelf.active is not None, "where a checkpoint is under way, there is a collector"
        if part.state is None:
            self._manager.send(shelf.active.address, Snapshot(assembly.attempt_id))
            return
        assembly.live, assembly.frame, assembly.aged = part.state, self._frame(), list(shelf.aged)
        for each in assembly.unwritten():
            if not each.coming:
                each.coming = True
                self._manager.send(each.address, Archive())
        self._manager.send(self.front_end, Proceed(saved=None))
        self._save_if_complete()

    def _kept(self, part: Kept, shelf: Shelf) -> None:
        """Note in which file a generation is."""
        each = shelf.find(part.collector_id)
        if each is None or each.version != part.version:
            return
        each.name, each.file_bytes, each.coming = part.name, part.nbytes, False
        if self._assembly is None or each not in self._assembly.aged:
            return
        if part.name is None:
            self.give_up(f"generation {part.collector_id} cannot be written")
        else:
            self._save_if_complete()

    def _save_if_complete(self) -> None:
        assembly = self._assembly
        if assembly is not None and assembly.taken and not assembly.unwritten():
            save = Save(assembly.attempt_id, assembly.state(), assembly.names(), self._manager.address)
            self._manager.send(self._keeper, save)

    def _saved(self, part: Saved) -> None:
        """Let the results be seen, now that nothing can take them back; and allow the next checkpoint."""
        assert part.checkpoint_id is not None, "what is saved has a number"
        self._assembly = None
        self.durability = replace(
            self.durability,
            checkpoint=part.checkpoint_id,
            at=self._manager.system.dispatcher.wall(),
            seconds=part.seconds,
            nbytes=part.nbytes,
            saved=self.durability.saved + 1,
            seconds_in_all=self.durability.seconds_in_all + part.seconds,
            failed=0,
            problem=None,
        )
        self._manager.send(self._publisher, Commit(part.checkpoint_id))
        self._manager.send(self.front_end, Proceed(saved=True))
