"""After any loss of power or failure of the disk a folder opens as the last checkpoint or the next one, complete and clean."""

import errno
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.columns import snapshot
from actors.columns.snapshot import DamagedError, State
from actors.durability.disk import Disk, File
from actors.durability.store import Store
from actors.messages import Loaded
from actors.timeline.batch import Batch
from actors.views.kinds import VIEWS
from tests.support.keeping import FOLDER, Keeping, keeping
from tests.support.logged_disk import FailingDisk, Files, LoggedDisk, Mark, PassingDisk, Touched, left_after, nothing

VIEW = VIEWS["sets"](steps="RGB", max_sets=1_000)
ERRORS = [errno.ENOSPC, errno.EIO, errno.EFBIG]


def slice_of(number: int) -> Any:
    """Return a live slice that no other number has."""
    live = VIEW.open(None)
    live.add(Batch(tuple(np.arange(number * 100 + step, number * 100 + 30, 10) for step in range(3))), None)
    return live


def frozen_state(number: int) -> State:
    frozen, _ = slice_of(number).freeze()
    while frozen.settle():
        pass
    return frozen.state()


@dataclass(frozen=True)
class Promise:
    """What a loss of power must not destroy: the checkpoint `saved` and the one `before`. A newer one may be `under_way`."""

    saved: int = 0
    before: int = 0
    under_way: bool = False


@dataclass
class History:
    """The calls of one stream to its keeper. The log of `disk` has a mark with each new `Promise`."""

    disk: LoggedDisk
    wrap: Callable[[LoggedDisk], Disk] = lambda disk: disk
    make: Callable[[Path, Disk], Store] = Store
    checkpoints: dict[int, State] = field(default_factory=dict)
    files: Files = field(default_factory=dict)
    aged: list[list[Any]] = field(default_factory=list)
    number: int = 0
    promise: Promise = Promise()

    def live(self, chance: random.Random, steps: int) -> None:
        """Run one process: write generations, write some of them again, drop some, and write checkpoints."""
        with keeping(self.wrap(self.disk), VIEW, self.make) as keeper:
            loaded = keeper.load()
            if loaded.checkpoint_id != self.promise.saved:  # a checkpoint that was given up after it was complete
                assert loaded.checkpoint_id > self.promise.saved
                self.say(Promise(loaded.checkpoint_id, self.promise.saved))
            self.aged = list(loaded.state["aged"]) if loaded.state else []
            for _ in range(steps):
                self.step(keeper, chance)

    def step(self, keeper: Keeping, chance: random.Random) -> None:
        match chance.choice(["keep", "keep", "again", "drop", "save", "save", "fail"]):
            case "keep":
                self.number += 1
                self.keep(keeper, self.number)
            case "again" if self.aged:  # a generation that was coarsened is written again
                self.keep(keeper, self.aged.pop(chance.randrange(len(self.aged)))[0])
            case "drop" if self.aged:
                self.aged.pop(0)
            case "fail":
                self.fail(keeper, chance)
            case _:
                self.save(keeper)

    def fail(self, keeper: Keeping, chance: random.Random) -> None:
        """Write a generation and a checkpoint while the disk fails, at one operation or from one operation on."""
        left, lasting = chance.randrange(25), chance.random() < 0.5

        def before(what: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left == -1 or (lasting and left < 0):
                raise OSError(chance.choice(ERRORS), f"the disk fails to {what}", str(path))

        self.disk.before = before
        self.number += 1
        self.keep(keeper, self.number)
        self.save(keeper)
        self.disk.before = lambda _what, _path: None

    def keep(self, keeper: Keeping, number: int) -> None:
        self.number += 1
        state = frozen_state(self.number)
        name = keeper.keep(number, state)
        if name is not None:
            assert FOLDER / name not in self.files, "a name is given once"
            self.files[FOLDER / name] = self.disk.read(FOLDER / name)
            nbytes, spilled = len(self.files[FOLDER / name]), self.number % 3 == 0
            self.aged.append([number, name, number * 100, number * 100 + 100, 9, nbytes, spilled])
            self.aged.sort()

    def save(self, keeper: Keeping) -> None:
        self.number += 1
        state = {"live": slice_of(self.number).state(), "aged": list(self.aged), "number": self.number}
        self.say(Promise(self.promise.saved, self.promise.before, under_way=True))
        saved = keeper.save(state, frozenset(each[1] for each in self.aged))
        if saved.checkpoint_id is None:
            assert saved.problem
            assert keeper.troubles
            self.store_attempt(keeper, state)
            return
        self.checkpoints[saved.checkpoint_id] = state
        self.say(Promise(saved.checkpoint_id, self.promise.saved))

    def store_attempt(self, keeper: Keeping, state: State) -> None:
        """Store the state of a failed checkpoint, because it may still be on the disk. Its number is the store's last."""
        self.checkpoints.setdefault(keeper.store._serial, state)

    def say(self, promise: Promise) -> None:
        self.promise = promise
        self.disk.log.append(Mark(promise))


def lived(
    seed: int, wrap: Callable[[LoggedDisk], Disk] = lambda disk: disk, make: Callable[[Path, Disk], Store] = Store
) -> History:
    """Return a history of three processes."""
    chance = random.Random(seed)
    history = History(LoggedDisk.of({}, {FOLDER.parent}), wrap, make)
    for _ in range(3):
        history.live(chance, 8)
    return history


def check_every_prefix(history: History, seed: int) -> int:
    """Lose the power after every operation, in every way. Return the number of different disks that were opened."""
    chance = random.Random(seed)
    promise, opened = Promise(), Opened(history)
    log = history.disk.log
    for place, each in enumerate(log):
        if isinstance(each, Mark):
            promise = each.what
        for model, files in left_after(log[: place + 1], chance):
            opened.check(promise, files, f"{model} after operation {place} of {len(log)}: {promise}")
    return len(opened.found)


@dataclass
class Opened:
    """The checkpoint that each disk was opened at. Disks that differ only in temporary files are opened once."""

    history: History
    found: dict[Any, int] = field(default_factory=dict)

    def check(self, promise: Promise, files: Files, where: str) -> None:
        """Open the folder once for each checkpoint that the sinks may have committed, and assert that nothing is lost."""
        same = frozenset((path.name, b"" if path.suffix == ".tmp" else data) for path, data in files.items())

        def opened(committed: int | None) -> int:
            """Open the folder, assert that the checkpoint is complete, and return its number."""
            if (committed, same) not in self.found:
                self.found[committed, same] = self.open_anew(files, committed, f"{where}; committed: {committed}")
            return self.found[committed, same]

        newest = opened(None)
        begun = {number for number in self.history.checkpoints if number > promise.saved}
        assert newest == promise.saved or newest in begun, where
        assert opened(promise.saved) == promise.saved, where
        if not promise.under_way:  # otherwise its results may already be committed
            assert opened(promise.before) == promise.before, where

    def open_anew(self, files: Files, committed: int | None, where: str) -> int:
        check_no_part(files, where)
        disk = LoggedDisk.of(files, {FOLDER})
        disk.before = touched = Touched()
        with keeping(disk, VIEW) as keeper:
            loaded = keeper.load(committed)
            check_whole(self.history, loaded, files, where)
            check_clean(self.history, disk, keeper.store, loaded, where)
            check_goes_on(keeper, disk, where)
        assert all(path.suffix == ".firn" for what, path in touched.all if what in {"read", "map"}), where
        return loaded.checkpoint_id


def check_no_part(files: Files, where: str) -> None:
    """Assert that every file with a final name is complete."""
    for path, data in files.items():
        if path.suffix != ".tmp":
            try:
                snapshot.read(path.name.partition("-")[0], data)
            except DamagedError as error:
                pytest.fail(f"{path.name}: {error}: {where}")


def check_whole(history: History, loaded: Loaded, files: Files, where: str) -> None:
    """Assert that the loaded state equals the written state, byte for byte."""
    if loaded.checkpoint_id == 0:
        assert (loaded.state, loaded.live, loaded.aged) == (None, None, ()), where
        return
    assert loaded.live is not None, where
    state = history.checkpoints[loaded.checkpoint_id]
    assert loaded.state["number"] == state["number"], where
    assert loaded.state["aged"] == state["aged"], where
    assert [each.name for each in loaded.aged] == [each[1] for each in state["aged"]], where
    for each in loaded.aged:
        assert each.frozen is not None, f"{each.name} is lost: {where}"
        assert files[FOLDER / each.name] == history.files[FOLDER / each.name], where


def check_clean(history: History, disk: LoggedDisk, store: Store, loaded: Loaded, where: str) -> None:
    """Assert that the folder has at most two checkpoints, every file that they name, and no other file."""
    if loaded.checkpoint_id == 0:
        return  # the first checkpoint deletes the other files
    numbers = store.checkpoints()
    assert numbers[0] == loaded.checkpoint_id, where
    assert len(numbers) <= 2, where
    whole = {f"checkpoint-{number:010}.firn" for number in numbers}
    whole |= {each[1] for number in numbers for each in store.read_checkpoint(number)["aged"]}
    assert {path.name for path in disk.files} == whole, where
    assert all(data == history.files[path] for path, data in disk.contents().items() if path in history.files), where


def check_goes_on(keeper: Keeping, disk: LoggedDisk, where: str) -> None:
    """Assert that the next checkpoints can be written, and that only these remain then."""
    for _ in range(2):
        assert keeper.save({"aged": []}, frozenset()).checkpoint_id, where
    assert len(disk.files) == 2, where


@pytest.mark.parametrize("seed", range(2))
def test_after_a_loss_of_power_the_old_or_the_new_checkpoint_is_complete(seed: int):
    history = lived(seed)
    assert history.promise.saved > 0
    assert check_every_prefix(history, seed) > 100


# Without a protection the same test fails ----------------------------------------------------------------------------


class UnsyncedFile:
    """A file whose `sync` does nothing."""

    def __init__(self, file: File) -> None:
        self.write, self.close = file.write, file.close

    def sync(self) -> None:
        pass


class WithoutSync(PassingDisk):
    def create(self, path: Path) -> File:
        return UnsyncedFile(self.disk.create(path))


class WithoutFolderSync(PassingDisk):
    def sync_folder(self, folder: Path) -> None:
        if folder != FOLDER:
            self.disk.sync_folder(folder)


class WithoutParentSync(PassingDisk):
    def sync_folder(self, folder: Path) -> None:
        if folder == FOLDER:
            self.disk.sync_folder(folder)


class InPlace(PassingDisk):
    """Files are written under their final names."""

    def create(self, path: Path) -> File:
        return self.disk.create(path.with_suffix("") if path.suffix == ".tmp" else path)

    def rename(self, old: Path, new: Path) -> None:
        pass

    def remove(self, path: Path) -> None:
        self.disk.remove(path.with_suffix("") if path.suffix == ".tmp" else path)


class OldFirst(Store):
    """The old checkpoints are deleted before the new one is written."""

    def write_checkpoint(self, state: State) -> tuple[int, int]:
        for number in self.checkpoints():
            self.remove_checkpoint(number)
        return super().write_checkpoint(state)


class OneCheckpoint(Store):
    """Only the newest checkpoint is kept, although its results may not be committed."""

    def sweep(self, named: Iterable[str]) -> list[str]:
        for number in self.checkpoints()[1:]:
            self.remove_checkpoint(number)
        return super().sweep(named)


class InAnyOrder(Store):
    """A generation may be deleted before the checkpoint that names it."""

    def _remove(self, names: Iterable[str]) -> None:
        self.waiting: list[str] = [*names, *getattr(self, "waiting", [])]
        if not any(name.startswith("checkpoint") for name in names):
            super()._remove(self.waiting)
            self.waiting = []


@pytest.mark.parametrize("wrap", [WithoutSync, WithoutFolderSync, WithoutParentSync, InPlace])
def test_a_disk_without_a_sync_or_a_rename_fails_the_power_loss_test(wrap: Callable[[Disk], Disk]):
    with pytest.raises((AssertionError, pytest.fail.Exception), match="after operation"):
        check_every_prefix(lived(0, wrap=wrap), 0)


@pytest.mark.parametrize("make", [OldFirst, OneCheckpoint, InAnyOrder])
def test_a_store_that_deletes_too_early_fails_the_power_loss_test(make: Callable[[Path, Disk], Store]):
    with pytest.raises((AssertionError, pytest.fail.Exception), match="after operation"):
        check_every_prefix(lived(0, make=make), 0)


def test_a_generation_written_after_a_checkpoint_is_kept_for_the_next_one():
    """It retired while the checkpoint was written: that checkpoint does not name it, and the next one will."""
    disk = LoggedDisk()
    with keeping(disk, VIEWS["sets"](steps="RGB", max_sets=10)) as keeper:
        keeper.load()
        early = keeper.keep(1, {"any": 1})
        late = keeper.keep(2, {"any": 2})
        for named in ({early}, {early, late}):
            keeper.save({"live": None, "aged": []}, frozenset(named))
            assert {early, late} <= {path.name for path in disk.contents()}
        for _ in range(2):
            keeper.save({"live": None, "aged": []}, frozenset({late}))
        assert early not in {path.name for path in disk.contents()}


def test_the_name_of_a_failed_checkpoint_is_removed_with_its_file():
    disk = FailingDisk(LoggedDisk())
    store = Store(FOLDER, disk)
    store.open()
    for what in ("create", "write", "sync", "rename"):

        def full(operation: str, path: Path, what: str = what) -> None:
            if operation == what:
                raise OSError(errno.ENOSPC, "no room", str(path))

        disk.before = full
        with pytest.raises(OSError, match="no room"):
            store.write_checkpoint({"any": 1})
    disk.before = nothing
    number, _ = store.write_checkpoint({"any": 2})
    store.sweep(())
    assert store.checkpoints() == [number]
    assert not store._void
