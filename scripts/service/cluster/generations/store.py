"""The store of a matcher: that of any stream, whose generations are published too."""

from collections.abc import Iterable

from typing_extensions import override

from actors.columns.snapshot import State
from actors.durability.disk import Disk
from actors.durability.store import Store
from scripts.service.cluster.generations.outbox import Outbox


class ShelvedStore(Store):
    """The files of `inner`. The `outbox` gets each generation that is written to one, or read from one."""

    def __init__(self, inner: Store, outbox: Outbox) -> None:
        super().__init__(inner.folder, Disk(), lasting=inner.lasting)
        self._inner = inner
        self._outbox = outbox

    @override
    def open(self, *, at_least: int = 0) -> None:
        self._inner.open(at_least=at_least)

    @override
    def write_generation(self, state: State) -> tuple[str, int]:
        name, nbytes = self._inner.write_generation(state)
        self._outbox.take(name, state)
        return name, nbytes

    @override
    def write_checkpoint(self, state: State) -> tuple[int, int]:
        number, nbytes = self._inner.write_checkpoint(state)
        self.copy_problem = self._inner.copy_problem
        return number, nbytes

    @override
    def checkpoints(self) -> list[int]:
        return self._inner.checkpoints()

    @override
    def read_checkpoint(self, number: int) -> State:
        return self._inner.read_checkpoint(number)

    @override
    def read_generation(self, name: str) -> State:
        state = self._inner.read_generation(name)
        self._outbox.take(name, state)
        return state

    @override
    def map_generation(self, name: str) -> State:
        return self._inner.map_generation(name)

    @override
    def remove_checkpoint(self, number: int) -> None:
        self._inner.remove_checkpoint(number)

    @override
    def sweep(self, named: Iterable[str]) -> list[str]:
        deleted = self._inner.sweep(named)
        self._outbox.forget(deleted)
        return deleted
