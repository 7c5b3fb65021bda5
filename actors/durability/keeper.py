"""The actor that writes a stream's generations and checkpoints, and reads them at a start. No other actor writes its files.

Aged collectors read the files of their spilled slices, which are mapped, on their own thread.

It runs on a thread of its own, so that a slow disk delays the next checkpoint only. A failure of the disk costs that
checkpoint, never the one before.
"""

from collections.abc import Callable
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from actors.columns.snapshot import State, blocks_of, nbytes_of
from actors.durability.choice import choose
from actors.durability.store import Store
from actors.messages import Keep, KeeperMessage, Kept, Load, Loaded, LoadedSlice, Loading, Map, Mapped, Reform, Save, Saved
from actors.protocol import Address, CheckpointId, CollectorId, Home, Message
from actors.runtime.actor import Actor, System
from actors.timeline.span import Span
from actors.views.view import Live, View

_AGAIN_S = 1.0
_MOST_TRIES = 5

_Row = tuple[int, str, int | None, int | None, int, int, bool]
"""A generation in a checkpoint: number, file, start and end of its span, events, bytes, and whether it is on disk only."""

_STUB_BYTES = 4_096
_BLOCK_BYTES = 400
"""Memory of a slice over a mapped file, and of each of its blocks."""


class Keeper(Actor[KeeperMessage]):
    """Keeps the state of one stream in `store`. `on_trouble` gets each problem with it."""

    def __init__(self, system: System, *, stream: str, view: View, store: Store, on_trouble: Callable[[str], None]) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._store = store
        self._on_trouble = on_trouble
        self._named: frozenset[str] = frozenset()
        self._named_before: frozenset[str] = frozenset()
        self._fresh: set[str] = set()
        self._tries = 0

    @property
    def home(self) -> str:
        """Run on a thread of its own."""
        return Home.DISK.of(self.stream)

    def receive(self, message: KeeperMessage) -> None:
        """Handle one message."""
        match message:
            case Load():
                with self.system.trace(f"read the checkpoint of {self.stream}"):
                    self._try_to_load(message)
            case Keep():
                with self.system.trace(f"write a generation of {self.stream}"):
                    kept = self._keep(message)
                self.send(message.manager, kept)
            case Map(name, collector):
                self.send(collector, self._try_to_map(name))
            case Save():
                with self.system.trace(f"write a checkpoint of {self.stream}"):
                    saved = self._save(message)
                self.send(message.manager, saved)
            case Reform(view):
                self._view = view
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Report that the generation or the checkpoint was not written, or load again later."""
        super().failed(message, error)
        match message:
            case Keep(collector_id, version, _, manager):
                self.send(manager, Kept(collector_id, version, None))
            case Save(attempt_id, _, _, manager):
                self.send(manager, Saved(attempt_id, None, 0, 0.0, _described(error)))
            case Load():
                self._on_trouble(f"{self._store.folder} cannot be read: {_described(error)}")
                self.later(_AGAIN_S, self.address, message)

    # Writing ---------------------------------------------------------------------------------------------------------

    def _keep(self, message: Keep) -> Kept:
        """Write a generation. The reply has no name if the disk refused it."""
        try:
            name, nbytes = self._store.write_generation(message.state)
        except OSError as error:
            self._on_trouble(f"generation {message.collector_id} cannot be written: {error}")
            return Kept(message.collector_id, message.version, None)
        self._fresh.add(name)
        return Kept(message.collector_id, message.version, name, nbytes)

    def _save(self, message: Save) -> Saved:
        """Write a checkpoint, then delete the generations that neither of the last two names.

        A generation that was written since the last checkpoint stays: the next one may name it.
        """
        began = self.system.dispatcher.now()
        try:
            checkpoint, nbytes = self._store.write_checkpoint(message.state)
        except OSError as error:
            self._on_trouble(f"a checkpoint cannot be written: {error}")
            return Saved(message.attempt_id, None, 0, self.system.dispatcher.now() - began, str(error))
        self._named_before, self._named = self._named, message.named
        self._sweep()
        self._fresh.clear()
        took_s = self.system.dispatcher.now() - began
        return Saved(message.attempt_id, CheckpointId(checkpoint), nbytes, took_s, None, self._store.copy_problem)

    def _sweep(self) -> None:
        try:
            self._store.sweep(self._named | self._named_before | self._fresh)
        except OSError as error:
            self._on_trouble(f"old files cannot be deleted: {error}")

    def _map(self, name: str) -> Mapped:
        """Return a slice over the mapped file of a generation."""
        state = self._store.map_generation(name)
        return Mapped(self._view.thaw(state), _STUB_BYTES + _BLOCK_BYTES * blocks_of(state), nbytes_of(state))

    def _try_to_map(self, name: str) -> Mapped:
        try:
            return self._map(name)
        except Exception as error:  # noqa: BLE001  # whatever failed, the slice stays in memory
            self._on_trouble(f"{name} cannot be read from the disk: {_described(error)}")
            return Mapped(None, 0, 0)

    # Reading ---------------------------------------------------------------------------------------------------------

    def _try_to_load(self, message: Load) -> None:
        """Load. If the disk cannot be read now, try again later, because a start without the state would lose it."""
        try:
            loaded = self._load(message)
            self.send(message.manager, loaded)
            self._tries = 0
        except OSError as error:
            self._tries += 1
            self._on_trouble(f"{self._store.folder} cannot be read: {error}")
            self.later(_AGAIN_S, self.address, message)

    def _raise_if_passing(self, error: Exception) -> None:
        """Raise an OSError that may pass, for a few tries: a file that cannot be read now is not damaged."""
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and self._tries < _MOST_TRIES:
            raise error

    def _load(self, message: Load) -> Loaded:
        """Read the newest readable checkpoint that fits the results that readers see; without one, as `choose` decides."""
        standing = message.standing
        self._store.open(at_least=standing.checkpoint if standing is not None else 0)
        unread: list[str] = []
        others: list[int] = []
        for number in self._store.checkpoints():
            try:
                state = self._store.read_checkpoint(number)
                if standing is None or standing.fits(number, state.get("places") or ()):
                    return self._loaded(number, state, unread, message)
                others.append(number)
            except Exception as error:  # noqa: BLE001  # whatever failed, the checkpoint before may be readable
                self._note_unread(number, error, unread)
        choice = choose(others, standing, folder=self._store.folder.name, damaged=bool(unread))
        if choice.doubt is not None:
            self._on_trouble(choice.doubt)
        for number in others if choice.newest else ():
            try:
                loaded = self._loaded(number, self._store.read_checkpoint(number), unread, message)
                return replace(loaded, doubt=choice.doubt)
            except Exception as error:  # noqa: BLE001  # as above
                self._note_unread(number, error, unread)
        return Loaded(CheckpointId(0), None, None, (), tuple(unread), message.round, choice.doubt, choice.refused)

    def _note_unread(self, number: int, error: Exception, unread: list[str]) -> None:
        """Add a checkpoint to `unread`, or raise `error` if it may pass."""
        self._raise_if_passing(error)
        unread.append(f"checkpoint {number} cannot be read: {_described(error)}")

    def _loaded(self, number: int, state: State, unread: list[str], message: Load) -> Loaded:
        """Make the slices of a checkpoint, and delete what it does not need."""
        live, aged = self._slices(state, message.manager)
        self._tidy(number, aged)
        lost = tuple(f"generation {each.collector_id} cannot be read" for each in aged if each.frozen is None)
        return Loaded(CheckpointId(number), state, live, aged, (*unread, *lost), message.round)

    def _slices(self, state: State, manager: Address[Loading | Loaded]) -> tuple[Live, tuple[LoadedSlice, ...]]:
        """Make the slices of a checkpoint. A generation that cannot be read is reported as lost; the others are kept."""
        live = self._view.revive(state["live"])
        aged = []
        for done, row in enumerate(state["aged"]):
            generation, name, start, end, events, file_bytes, spilled = msgspec.convert(row, _Row)
            self.send(manager, Loading(done, len(state["aged"])))
            frozen, mapped = None, None
            try:
                if spilled:
                    mapped = self._map(name)
                    frozen = mapped.frozen
                else:
                    frozen = self._view.thaw(self._store.read_generation(name))
            except Exception as error:  # noqa: BLE001  # whatever failed, the other generations may be readable
                self._raise_if_passing(error)
                self._on_trouble(f"generation {generation} cannot be read from {name}: {_described(error)}")
            span = Span(start, end) if start is not None else None
            aged.append(LoadedSlice(CollectorId(generation), name, frozen, span, events, file_bytes, mapped))
        return live, tuple(aged)

    def _tidy(self, number: int, aged: tuple[LoadedSlice, ...]) -> None:
        """Delete the newer checkpoints that were not loaded, and the generations that no checkpoint names."""
        self._named = frozenset(each.name for each in aged)
        self._fresh.clear()
        for other in self._store.checkpoints():
            if other > number:
                self._store.remove_checkpoint(other)
            elif other < number:
                try:
                    older: list[list[Any]] = self._store.read_checkpoint(other)["aged"]
                    self._named_before = frozenset(str(each[1]) for each in older)
                    break  # the newest older checkpoint is kept
                except Exception as error:  # noqa: BLE001  # the loaded one is newer
                    self._on_trouble(f"checkpoint {other} cannot be read: {_described(error)}")
        self._sweep()


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
