"""The actor that writes a stream's generations and checkpoints, and reads them again: the only one that touches its files.

It runs on a thread of its own, so that a slow disk holds up nothing but the next checkpoint. A disk that fails costs that
checkpoint, never the one before.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never

import msgspec

from actors.columns.snapshot import State, blocks_of, nbytes_of
from actors.durability.store import Store
from actors.messages import Keep, Kept, Load, Loaded, LoadedSlice, Loading, Map, Mapped, Reform, Save, Saved
from actors.protocol import Address
from actors.runtime.actor import Actor, System
from actors.timeline.span import Span
from actors.views.view import View

KeeperMessage = Load | Keep | Map | Save | Reform

_AGAIN_S = 1.0
_MOST_TRIES = 5

_Row = tuple[int, str, int | None, int | None, int, int, bool]
"""A generation in a checkpoint: number, file, start and end of its span, events, bytes, and whether they are there alone."""

_STUB_BYTES = 4_096
_BLOCK_BYTES = 400
"""What Python takes for a slice over a mapped file, and for each piece of it."""


class Keeper(Actor):
    """Keeps the state of one stream in `store`. `on_trouble` is told what people should know about it."""

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
        return f"{self.stream}-disk"

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

    def failed(self, message: KeeperMessage, error: Exception) -> None:
        """Say that it was not written: what is no state cannot be."""
        match message:
            case Keep(number, version, _, manager):
                self.send(manager, Kept(number, version, None))
            case Save(number, _, _, manager):
                self.send(manager, Saved(number, None, 0, 0.0, _told(error)))
            case Load():
                self._on_trouble(f"{self._store.folder} cannot be read: {_told(error)}")
                self.later(_AGAIN_S, self.actor_ref, message)

    # Writing ---------------------------------------------------------------------------------------------------------

    def _keep(self, message: Keep) -> Kept:
        """Write a generation; without a name where the disk would not have it."""
        try:
            name, nbytes = self._store.write_generation(message.state)
        except OSError as error:
            self._on_trouble(f"generation {message.number} cannot be written: {error}")
            return Kept(message.number, message.version, None)
        self._fresh.add(name)
        return Kept(message.number, message.version, name, nbytes)

    def _save(self, message: Save) -> Saved:
        """Write a checkpoint, then delete what none of the last two names.

        A generation that was written since the last checkpoint may be named by the next one.
        """
        began = self.system.dispatcher.now()
        try:
            checkpoint, nbytes = self._store.write_checkpoint(message.state)
        except OSError as error:
            self._on_trouble(f"a checkpoint cannot be written: {error}")
            return Saved(message.number, None, 0, self.system.dispatcher.now() - began, str(error))
        self._named_before, self._named = self._named, message.named
        self._sweep()
        self._fresh.clear()
        return Saved(message.number, checkpoint, nbytes, self.system.dispatcher.now() - began, None)

    def _sweep(self) -> None:
        try:
            self._store.sweep(self._named | self._named_before | self._fresh)
        except OSError as error:
            self._on_trouble(f"old files cannot be deleted: {error}")

    def _map(self, name: str) -> Mapped:
        """Make a slice of a generation whose bytes stay in its file."""
        state = self._store.map_generation(name)
        return Mapped(self._view.thaw(state), _STUB_BYTES + _BLOCK_BYTES * blocks_of(state), nbytes_of(state))

    def _try_to_map(self, name: str) -> Mapped:
        try:
            return self._map(name)
        except Exception as error:  # noqa: BLE001  # whatever it is, the slice stays in memory
            self._on_trouble(f"{name} cannot be read from the disk: {_told(error)}")
            return Mapped(None, 0, 0)

    # Reading ---------------------------------------------------------------------------------------------------------

    def _try_to_load(self, message: Load) -> None:
        """Load, and where the disk does not let us even look, come back: to begin anew would be to forget."""
        try:
            loaded = self._load(message.committed, message.manager)
            self.send(message.manager, replace(loaded, round=message.round))
            self._tries = 0
        except OSError as error:
            self._tries += 1
            self._on_trouble(f"{self._store.folder} cannot be read: {error}")
            self.later(_AGAIN_S, self.actor_ref, message)

    def _raise_if_passing(self, error: Exception) -> None:
        """Raise what may be over in a moment, some times: what cannot be read just now is not damaged."""
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and self._tries < _MOST_TRIES:
            raise error

    def _load(self, committed: int | None, manager: Address) -> Loaded:
        """Read the newest checkpoint that can be read and whose results are out; begin anew where there is none."""
        self._store.open(at_least=committed or 0)
        unread: list[str] = []
        if committed == 0 and len(self._store.checkpoints()) > 1:
            # No second one is written before the first one is committed: the number is forgotten after some days of silence.
            self._on_trouble("Kafka has forgotten which results are out: the newest checkpoint is taken")
            committed = None
        for number in self._store.checkpoints():
            if committed is not None and number > committed:
                unread.append(f"checkpoint {number} is left out: its results are not")
                continue
            try:
                state = self._store.read_checkpoint(number)
                loaded = self._loaded(number, state, manager)
            except Exception as error:  # noqa: BLE001  # whatever it is, the checkpoint before may be better
                self._raise_if_passing(error)
                unread.append(f"checkpoint {number} cannot be read: {_told(error)}")
                continue
            self._tidy(number, loaded)
            lost = tuple(f"generation {each.number} cannot be read" for each in loaded.aged if each.frozen is None)
            return Loaded(number, loaded.state, loaded.live, loaded.aged, (*unread, *lost))
        return Loaded(0, None, None, (), tuple(unread))

    def _loaded(self, number: int, state: State, manager: Address) -> Loaded:
        """Make slices of what a checkpoint says. A generation that cannot be read is lost, and named; the others are not."""
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
            except Exception as error:  # noqa: BLE001  # whatever it is, the other generations are good
                self._raise_if_passing(error)
                self._on_trouble(f"generation {generation} cannot be read from {name}: {_told(error)}")
            span = Span(start, end) if start is not None else None
            aged.append(LoadedSlice(generation, name, frozen, span, events, file_bytes, mapped))
        return Loaded(number, state, live, tuple(aged), ())

    def _tidy(self, number: int, loaded: Loaded) -> None:
        """Delete the checkpoints that were left out, and what nothing names any more."""
        self._named = frozenset(each.name for each in loaded.aged)
        self._fresh.clear()
        for other in self._store.checkpoints():
            if other > number:
                self._store.remove_checkpoint(other)
            elif other < number:
                try:
                    older: list[list[Any]] = self._store.read_checkpoint(other)["aged"]
                    self._named_before = frozenset(str(each[1]) for each in older)
                    break  # the newest one before is the one that stays
                except Exception as error:  # noqa: BLE001  # it will not be needed, most likely
                    self._on_trouble(f"checkpoint {other} cannot be read: {_told(error)}")
        self._sweep()


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
