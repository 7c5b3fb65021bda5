"""Makes a checkpoint: collects the parts, has the keeper write them, and then has the results committed."""

import itertools
from collections.abc import Callable

from msgspec.structs import replace

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
    """Makes the checkpoints of one stream, one at a time. Belongs to `manager`, and runs on its thread. Never waits.

    `part` returns the manager's part. The front end resumes as soon as the live slice's state has arrived; it begins the next
    checkpoint after the end of this one.
    """

    def __init__(
        self,
        manager: Actor[ManagerMessage],
        *,
        keeper: Address[KeeperMessage],
        publisher: Address[PublisherMessage] | None,
        part: Callable[[], State],
    ) -> None:
        self._manager = manager
        self._keeper = keeper
        self._publisher = publisher
        self._part = part
        self._attempts = itertools.count(1)
        self._assembly: Assembly | None = None
        self.durability = Durability()
        self.front_end: Address[FrontEndMessage] | None = None
        """The front end, which waits for `Proceed`. The manager sets it at `Attached`."""

    def loaded(self, message: Loaded) -> None:
        """Note the checkpoint that was read at the start, and forget the unfinished one."""
        self._assembly = None
        self.durability = replace(
            self.durability,
            loading=None,
            recovered_from=message.checkpoint_id,
            lost=message.lost,
            problem=None,
            doubt=message.doubt or self.durability.doubt,
            refused=message.refused,
        )

    def loading(self, done: int, total: int) -> None:
        """Note that `done` of `total` generations are read."""
        self.durability = replace(self.durability, loading=(done, total))

    def take(self, part: CheckpointPart, shelf: Shelf) -> None:
        """Add a part to the unfinished checkpoint, or begin one. `shelf` has the collectors."""
        assembly = self._assembly
        if isinstance(part, Checkpoint):
            self._begin(part.state, shelf.active)
        elif isinstance(part, Kept):
            self._kept(part, shelf)
        elif assembly is None or assembly.attempt_id != part.attempt_id:
            return  # a part of a checkpoint that was given up
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
        """Give the checkpoint up if it needs the dropped collector's slice and that is in no file yet."""
        if self._assembly is not None and collector in self._assembly.unwritten():
            self.give_up("a generation was dropped before it was written")

    def give_up(self, problem: str) -> None:
        """Give the unfinished checkpoint up; the previous one stays valid."""
        self._assembly = None
        before = self.durability
        self.durability = replace(before, failed=before.failed + 1, failures=before.failures + 1, problem=problem)
        self._manager.send(self._publisher, Commit(None))
        self._manager.send(self.front_end, Proceed(saved=False))

    def _begin(self, state: State, active: Collector | None) -> None:
        """Ask the active collector for its state, and the sinks for their places."""
        if active is None or self._assembly is not None:
            self._manager.send(self.front_end, Proceed(saved=False))
            return
        attempt_id = AttemptId(next(self._attempts))
        self._assembly = Assembly(attempt_id, state, None if self._publisher is not None else ())
        self._manager.send(active.address, Snapshot(attempt_id))
        self._manager.send(self._publisher, Prepare(attempt_id, self._manager.address))

    def _snapped(self, assembly: Assembly, part: Snapped, shelf: Shelf) -> None:
        """Add the states of the live slice and the manager, and resume reading. Ask the successor if the slice is frozen."""
        assert shelf.active is not None, "a checkpoint begins only if there is an active collector"
        if part.state is None:
            self._manager.send(shelf.active.address, Snapshot(assembly.attempt_id))
            return
        assembly.live, assembly.manager, assembly.aged = part.state, self._part(), list(shelf.aged)
        for each in assembly.unwritten():
            if not each.coming:
                each.coming = True
                self._manager.send(each.address, Archive())
        self._manager.send(self.front_end, Proceed(saved=None))
        self._save_if_complete()

    def _kept(self, part: Kept, shelf: Shelf) -> None:
        """Note the file of a generation."""
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
        """Have the results committed, because the checkpoint is on disk, and allow the next checkpoint."""
        assert part.checkpoint_id is not None, "a saved checkpoint has an id"
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
            copy_problem=part.copy_problem,
        )
        self._manager.send(self._publisher, Commit(part.checkpoint_id))
        self._manager.send(self.front_end, Proceed(saved=True))
